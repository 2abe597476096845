/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack [--json] [--socket PATH] COMMAND ...: see zstack.h, and zstack(1).
 */
#include "zstack.h"

#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chan/attach.h"

static const struct command {
	const char *name;
	int (*run)(struct tool *t, int argc, char **argv);
	const char *args, *help;
} commands[] = {
	{"ss", cmd_ss, "[-tulai] [FILTER]", "sockets"},
	{"stat", cmd_stat, "[-z] [-i SECONDS] [-n COUNT]", "counters, with rates"},
	{"top", cmd_top, "[-i SECONDS] [-n COUNT]", "cores and programs"},
	{"addr", cmd_addr, "[add|del IP/LEN[@PORT[.VLAN]]]", "addresses"},
	{"route", cmd_route, "[add|del PREFIX via IP]", "routes"},
	{"neigh", cmd_neigh, "", "neighbours"},
	{"apps", cmd_apps, "[-r]", "attached programs"},
	{"capture", cmd_capture, "[-w FILE|-] [-c COUNT] [-s BYTES] [FILTER]", "frames (pcapng)"},
	{"ping", cmd_ping, "[-c COUNT] [-i SECONDS] [-s BYTES] [-W SECONDS] IP", "echo"},
	{"run", cmd_run, "[-v] [OPTION]... -- PROGRAM [ARGUMENT]...", "a program on Z-Stack"},
	{"relay", cmd_relay, NULL, NULL},	    /* the library starts it */
	{"supervise", cmd_supervise, NULL, NULL}, /* run starts it */
};

/* ---- what the commands share ---- */

const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text != NULL ? text : "";
}

int64_t number_of(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

void print_json(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
	putchar('\n');
}

const char *end_of(const json_t *o, const char *addr_key, const char *port_key, char out[64])
{
	const char *addr = text_of(o, addr_key);
	long long port = number_of(o, port_key);
	bool v6 = strchr(addr, ':') != NULL;
	char text[16] = "*";

	if (port != 0)
		snprintf(text, sizeof(text), "%lld", port);
	snprintf(out, 64, "%s%.46s%s:%s", v6 ? "[" : "", addr, v6 ? "]" : "", text);
	return out;
}

const char *user_of(const json_t *o, char out[64])
{
	struct passwd *pw = getpwuid((uid_t)number_of(o, "user"));

	if (pw != NULL)
		snprintf(out, 64, "%s", pw->pw_name);
	else
		snprintf(out, 64, "%lld", (long long)number_of(o, "user"));
	return out;
}

int usage(const char *fmt, ...)
{
	va_list ap;

	fputs("zstack: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputs("; zstack --help tells more\n", stderr);
	return 2;
}

bool seconds(const char *text, double *out)
{
	char *end;

	*out = strtod(text, &end);
	return end != text && *end == '\0' && *out >= 0.01 && *out <= 86400;
}

bool count_of(const char *text, long max, long *out)
{
	char *end;

	*out = strtol(text, &end, 10);
	return end != text && *end == '\0' && *out >= 1 && *out <= max;
}

volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

void catch_interrupt(void)
{
	struct sigaction a = {.sa_handler = on_interrupt};

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
}

void wait_s(double s)
{
	struct timespec ts = {(time_t)s, (long)((s - (double)(time_t)s) * 1e9)};

	fflush(stdout);
	nanosleep(&ts, NULL);
}

double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- main ---- */

#define FILTER_OF_SS                                                                               \
	"words of state NAME, src IP, dst IP, host IP, sport N, dport N, port N, program NAME"
#define FILTER_OF_CAPTURE "words of any, arp, ip, ip6, icmp, icmp6, tcp, udp, host IP, port N"

/* Of one command; run says more, of itself. */
static int help_of(const struct command *c)
{
	printf("usage: zstack [--json] [--socket PATH] %s%s%s\n"
	       "%s; zstack(1) says more, zstack --help names the other commands\n",
	       c->name, *c->args != '\0' ? " " : "", c->args, c->help);
	if (c->run == cmd_ss)
		puts("FILTER: " FILTER_OF_SS);
	if (c->run == cmd_capture)
		puts("FILTER: " FILTER_OF_CAPTURE);
	return 0;
}

static bool asks_for_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0 || (i == 1 && strcmp(argv[i], "-h") == 0))
			return true;
	return false;
}

static int help(void)
{
	puts("usage: zstack [--json] [--socket PATH] COMMAND [ARGUMENT]...\n"
	     "Shows and changes what zstackd does.\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		char left[80];

		if (commands[i].help == NULL)
			continue;
		snprintf(left, sizeof(left), "%s %s", commands[i].name, commands[i].args);
		printf("  %-56s %s\n", left, commands[i].help);
	}
	puts("\nFILTER of ss: " FILTER_OF_SS "\n"
	     "FILTER of capture: " FILTER_OF_CAPTURE "\n"
	     "run --help tells its options\n"
	     "--json: one JSON object a line. --socket: where zstackd answers (ZSTACK_SOCKET, "
	     "else " ATTACH_PATH "). --version: of this tool.");
	return 0;
}

/* Options before the command; the index of the command, or -1 with *status. */
static int options(struct tool *t, int argc, char **argv, int *status)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-'; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			t->json = true;
		} else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc) {
			t->socket = argv[++i];
		} else if (strncmp(argv[i], "--socket=", 9) == 0) {
			t->socket = argv[i] + 9;
		} else if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			*status = help();
			return -1;
		} else if (strcmp(argv[i], "--version") == 0) {
			*status = puts("zstack " ZS_VERSION) < 0;
			return -1;
		} else {
			*status = usage("%s: no such option, or its value is missing", argv[i]);
			return -1;
		}
	}
	if (i < argc)
		return i;
	*status = usage("a command is missing");
	return -1;
}

/* --json may also stand at the end: zstack ss --json. */
static int json_anywhere(struct tool *t, int argc, char **argv)
{
	int n = 0;

	for (int i = 0; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			t->json = true;
		else
			argv[n++] = argv[i];
	}
	argv[n] = NULL;
	return n;
}

static int command(const struct command *c, struct tool *t, int argc, char **argv)
{
	int status;

	if (c->run != cmd_run) { /* what stands behind it is another program's */
		argc = json_anywhere(t, argc, argv);
		if (c->help != NULL && asks_for_help(argc, argv))
			return help_of(c);
	}
	status = c->run(t, argc, argv);
	if (t->fd >= 0)
		close(t->fd);
	return status;
}

int main(int argc, char **argv)
{
	const char *env = getenv("ZSTACK_SOCKET");
	struct tool t = {.socket = env != NULL && *env != '\0' ? env : ATTACH_PATH, .fd = -1};
	int status = 2, at;

	opterr = 0; /* the commands say it themselves */
	at = options(&t, argc, argv, &status);
	if (at < 0)
		return status;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, argv[at]) == 0)
			return command(&commands[i], &t, argc - at, argv + at);
	return usage("%s: no such command", argv[at]);
}
