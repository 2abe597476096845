/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack addr, route, neigh, apps: lists, and changes of the first two.
 */
#include <stdio.h>
#include <string.h>

#include "zstack.h"

struct list {
	struct tool *t;
	void (*print)(const json_t *o);
	const char *head;
	bool begun;
};

static void line(void *arg, json_t *o)
{
	struct list *l = arg;

	if (l->t->json) {
		print_json(o);
		return;
	}
	if (!l->begun)
		puts(l->head);
	l->begun = true;
	l->print(o);
}

static int list(struct tool *t, const char *what, const char *head, void (*print)(const json_t *o))
{
	struct list l = {t, print, head, false};

	return ask(t, json_pack("{s:s}", "do", what), line, &l) < 0 ? 1 : 0;
}

static void nothing(void *arg, json_t *o)
{
	if (((struct tool *)arg)->json)
		print_json(o);
}

/* "0", or "0.100" */
static const char *link_of(const json_t *o, char out[24])
{
	long long vlan = number_of(o, "vlan");
	int n = snprintf(out, 24, "%lld", (long long)number_of(o, "port"));

	if (vlan != 0)
		snprintf(out + n, 24 - (size_t)n, ".%lld", vlan);
	return out;
}

static void print_addr(const json_t *o)
{
	bool shared = json_object_get(o, "shared") != NULL;
	char link[24];

	printf("%-44s %-8s %6lld %s%s%s\n", text_of(o, "addr"), link_of(o, link),
	       (long long)number_of(o, "mtu"), text_of(o, "state"),
	       shared ? ", the kernel's at " : "", shared ? text_of(o, "shared") : "");
}

int cmd_addr(struct tool *t, int argc, char **argv)
{
	bool add = argc > 1 && strcmp(argv[1], "add") == 0;
	json_t *ask_for;

	if (argc == 1)
		return list(t, "addrs",
			    "Address                                      Port        MTU State",
			    print_addr);
	if (argc != 3 || (!add && strcmp(argv[1], "del") != 0))
		return usage("addr: write addr, addr add IP/LEN[@PORT[.VLAN]] or addr del "
			     "IP[/LEN[@PORT[.VLAN]]]");
	ask_for = json_pack("{s:s, s:s}", "do", add ? "addr-add" : "addr-del", "addr", argv[2]);
	return ask(t, ask_for, nothing, t) < 0 ? 1 : 0;
}

static void print_route(const json_t *o)
{
	char link[24];

	printf("%-44s %-40s %-8s %6lld\n", text_of(o, "prefix"),
	       json_object_get(o, "via") != NULL ? text_of(o, "via") : "-", link_of(o, link),
	       (long long)number_of(o, "metric"));
}

int cmd_route(struct tool *t, int argc, char **argv)
{
	bool add = argc > 1 && strcmp(argv[1], "add") == 0;
	json_t *ask_for;

	if (argc == 1)
		return list(t, "routes",
			    "Prefix                                       Via                      "
			    "                Port     Metric",
			    print_route);
	if (argc != 5 || strcmp(argv[3], "via") != 0 || (!add && strcmp(argv[1], "del") != 0))
		return usage("route: write route, route add PREFIX via IP or route del PREFIX via "
			     "IP; PREFIX is IP/LEN or default");
	ask_for = json_pack("{s:s, s:s, s:s}", "do", add ? "route-add" : "route-del", "prefix",
			    argv[2], "via", argv[4]);
	return ask(t, ask_for, nothing, t) < 0 ? 1 : 0;
}

static void print_neigh(const json_t *o)
{
	char link[24];

	printf("%-40s %-18s %-8s %-12s %8.1f %4lld\n", text_of(o, "addr"), text_of(o, "mac"),
	       link_of(o, link), text_of(o, "state"), json_real_value(json_object_get(o, "age_s")),
	       (long long)number_of(o, "core"));
}

int cmd_neigh(struct tool *t, int argc, char **argv)
{
	if (argc != 1)
		return usage("neigh: %s: what is that", argv[1]);
	return list(t, "neigh",
		    "Address                                  MAC                Port     State    "
		    "       Age/s Core",
		    print_neigh);
}

/* How many sockets went there, whatever for. */
static int64_t told(const json_t *o, const char *whose)
{
	const json_t *why = json_object_get(json_object_get(o, "told"), whose), *n;
	const char *key;
	int64_t sum = 0;

	json_object_foreach((json_t *)why, key, n) sum += json_integer_value(n);
	return sum;
}

static void print_app(const json_t *o)
{
	char user[64];

	printf("%5lld %-20s %8lld %-12s %-12s %-9s %7lld/%-7lld %5lld/%-5lld %6lld %8.1f",
	       (long long)number_of(o, "app"), text_of(o, "program"),
	       (long long)number_of(o, "pid"), user_of(o, user), text_of(o, "domain"),
	       text_of(o, "state"), (long long)number_of(o, "sockets"),
	       (long long)number_of(o, "sockets_max"), (long long)number_of(o, "lent"),
	       (long long)number_of(o, "lent_max"), (long long)number_of(o, "sends"),
	       (double)number_of(o, "memory") / 1048576);
	printf(" %7lld %7lld\n", (long long)(told(o, "taken") + told(o, "both")),
	       (long long)told(o, "kernel"));
}

/* "        kernel: 3 loopback, 1 unix" */
static void print_whose(const json_t *o, const char *whose, const char *text)
{
	const json_t *why = json_object_get(json_object_get(o, "told"), whose), *n;
	bool any = false;
	const char *key;

	json_object_foreach((json_t *)why, key, n)
	{
		if (json_integer_value(n) == 0)
			continue;
		if (!any)
			printf("        %s: ", text);
		printf("%s%lld ", any ? ", " : "", (long long)json_integer_value(n));
		for (const char *c = key; *c != '\0'; c++)
			putchar(*c == '_' ? ' ' : *c);
		any = true;
	}
	if (any)
		putchar('\n');
}

static void print_app_reasons(const json_t *o)
{
	print_app(o);
	print_whose(o, "taken", "taken");
	print_whose(o, "both", "taken and the kernel's");
	print_whose(o, "kernel", "the kernel's");
	print_whose(o, "failed", "refused");
}

int cmd_apps(struct tool *t, int argc, char **argv)
{
	bool reasons = argc == 2 && strcmp(argv[1], "-r") == 0;

	if (argc != 1 && !reasons)
		return usage("apps: %s: what is that", argv[argc - 1]);
	return list(t, "apps",
		    "  App Program                   PID User         Domain       State     "
		    "Sockets/max        Lent/max   Sends      MiB   Taken  Kernel",
		    reasons ? print_app_reasons : print_app);
}
