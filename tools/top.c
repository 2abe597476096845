/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack top: how busy the cores are, and which programs use them, over the last interval. Busy is
 * the share of time spent in turns of the loop that found work: a core that spins in search of some
 * is not busy.
 */
#include <stdio.h>
#include <unistd.h>

#include "zstack.h"

struct view {
	json_t *cores, *apps;
};

static void take(void *arg, json_t *o)
{
	json_array_append(arg, o);
}

static void view_free(struct view *v)
{
	json_decref(v->cores);
	json_decref(v->apps);
	*v = (struct view){0};
}

static int view(struct tool *t, struct view *v)
{
	int rc;

	v->cores = json_array();
	v->apps = json_array();
	rc = ask(t, json_pack("{s:s}", "do", "cores"), take, v->cores);
	return rc == 0 ? ask(t, json_pack("{s:s}", "do", "apps"), take, v->apps) : rc;
}

/* What o's counter grew by since the object of `was` with the same key. */
static double grown(const json_t *o, json_t *was, const char *id, const char *key)
{
	size_t i;
	json_t *w;

	json_array_foreach(was, i, w) if (number_of(w, id) == number_of(o, id)) return (
		double)(number_of(o, key) - number_of(w, key));
	return 0;
}

/* Adds rates to the objects of the newer view. */
static void compare(const struct view *now, const struct view *was)
{
	static const char *const counts[][2] = {
		{"polls", "polls_s"}, {"idle_polls", "idle_polls_s"}, {"sleeps", "sleeps_s"}};
	double passed_ns = 1;
	size_t i;
	json_t *o;

	json_array_foreach(now->cores, i, o)
	{
		passed_ns = grown(o, was->cores, "core", "now_ns");
		passed_ns = passed_ns > 0 ? passed_ns : 1;
		for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++)
			json_object_set_new(o, counts[k][1],
					    json_real(grown(o, was->cores, "core", counts[k][0]) *
						      1e9 / passed_ns));
		json_object_set_new(o, "busy",
				    json_real(grown(o, was->cores, "core", "busy_ns") / passed_ns));
	}
	json_array_foreach(now->apps, i, o) json_object_set_new(
		o, "commands_s",
		json_real(grown(o, was->apps, "app", "commands") * 1e9 / passed_ns));
}

static double real_of(const json_t *o, const char *key)
{
	return json_real_value(json_object_get(o, key));
}

static void print_tables(const struct view *v)
{
	char user[64];
	size_t i;
	json_t *o;

	printf("%4s %4s %7s %12s %12s %10s\n", "Core", "CPU", "Busy", "Turns/s", "Idle/s",
	       "Sleeps/s");
	json_array_foreach(v->cores, i, o)
	{
		char cpu[24] = "-";

		if (json_object_get(o, "cpu") != NULL)
			snprintf(cpu, sizeof(cpu), "%lld", (long long)number_of(o, "cpu"));
		printf("%4lld %4s %6.1f%% %12.0f %12.0f %10.0f\n", (long long)number_of(o, "core"),
		       cpu, real_of(o, "busy") * 100, real_of(o, "polls_s"),
		       real_of(o, "idle_polls_s"), real_of(o, "sleeps_s"));
	}
	printf("\n%5s %-20s %8s %-12s %-12s %8s %6s %6s %10s %8s\n", "App", "Program", "PID",
	       "User", "Domain", "Sockets", "Lent", "Sends", "Commands/s", "MiB");
	json_array_foreach(v->apps, i, o)
		printf("%5lld %-20s %8lld %-12s %-12s %8lld %6lld %6lld %10.0f %8.1f\n",
		       (long long)number_of(o, "app"), text_of(o, "program"),
		       (long long)number_of(o, "pid"), user_of(o, user), text_of(o, "domain"),
		       (long long)number_of(o, "sockets"), (long long)number_of(o, "lent"),
		       (long long)number_of(o, "sends"), real_of(o, "commands_s"),
		       (double)number_of(o, "memory") / 1048576);
}

static void print(struct tool *t, const struct view *v, bool screen)
{
	if (t->json) {
		json_t *o = json_pack("{s:O, s:O}", "cores", v->cores, "apps", v->apps);

		print_json(o);
		json_decref(o);
		return;
	}
	if (screen)
		fputs("\033[H\033[2J", stdout);
	print_tables(v);
	if (!screen)
		putchar('\n');
}

int cmd_top(struct tool *t, int argc, char **argv)
{
	struct view was = {0}, now = {0};
	double every = 1;
	long n = 0;
	int c, rc;

	while ((c = getopt(argc, argv, "i:n:")) != -1)
		if (c == 'i' ? !seconds(optarg, &every)
			     : c != 'n' || !count_of(optarg, 1000000000, &n))
			return usage("top: -i SECONDS and -n COUNT");
	if (optind != argc)
		return usage("top: %s: what is that", argv[optind]);
	rc = view(t, &was);
	for (long i = 0; rc == 0 && (n == 0 || i < n); i++) {
		wait_s(every);
		rc = view(t, &now);
		if (rc == 0) {
			compare(&now, &was);
			print(t, &now, isatty(STDOUT_FILENO) && n == 0);
		}
		view_free(&was);
		was = now;
		now = (struct view){0};
	}
	view_free(&was);
	return rc < 0 ? 1 : 0;
}
