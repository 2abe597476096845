/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack run [OPTION]... [--] PROGRAM [ARGUMENT]...: becomes the program, with libzstack-preload
 * loaded before the C library. What the library is to do is in its environment (preload/run.h);
 * all that can be wrong with it is said here, before the program starts.
 *
 * Exit statuses are those of env(1): 125 an error of zstack run itself, 126 the program can't be
 * run, or not on Z-Stack, 127 there is no such program; else the program's own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/attach.h"
#include "preload/image.h"
#include "preload/rules.h"
#include "supervise.h"
#include "zstack.h"

#define RUN_FAILED 125

/* Options of a stack in the program, as those of zstackd and zs_config_set(). */
static const char *const stack_keys[] = {"vdev", "port",       "addr",	      "gateway", "cores",
					 "mtu",	 "mem",	       "buffers",     "no-huge", "capture",
					 "spin", "congestion", "max-sockets", "linger"};

enum {
	OPT_SERVICE = 256,
	OPT_EMBEDDED,
	OPT_TAKE,
	OPT_LEAVE,
	OPT_RULES,
	OPT_NO_LOOPBACK,
	OPT_NO_LINK,
	OPT_SUPERVISE,
	OPT_HELP,
	OPT_STACK
};

static const struct option plain_options[] = {
	{"service", required_argument, NULL, OPT_SERVICE},
	{"embedded", no_argument, NULL, OPT_EMBEDDED},
	{"take", required_argument, NULL, OPT_TAKE},
	{"leave", required_argument, NULL, OPT_LEAVE},
	{"rules", required_argument, NULL, OPT_RULES},
	{"no-loopback", no_argument, NULL, OPT_NO_LOOPBACK},
	{"no-link", optional_argument, NULL, OPT_NO_LINK},
	{"supervise", no_argument, NULL, OPT_SUPERVISE},
	{"verbose", no_argument, NULL, 'v'},
	{"help", no_argument, NULL, OPT_HELP},
};

struct run {
	const char *service;
	bool embedded, stack, ports, verbose, no_loopback, supervise, help;
	char *config; /* ZSTACK_CONFIG, of malloc; grows */
	char *rules;  /* ZSTACK_RUN, likewise */
	unsigned n_rules;
};

__attribute__((format(printf, 1, 2))) static int failed(const char *fmt, ...)
{
	va_list ap;

	fputs("zstack run: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return -RUN_FAILED;
}

/* ---- what the environment is to say ---- */

/* Adds "KEY=VALUE" or "KEY" behind a semicolon. These return 0 or -RUN_FAILED, having said why. */
static int add(char **list, const char *key, const char *value)
{
	char *longer;

	if (value != NULL && strchr(value, ';') != NULL)
		return failed("%s: there may be no ; in it", value);
	if (asprintf(&longer, "%s%s%s%s%s", *list != NULL ? *list : "", *list != NULL ? ";" : "",
		     key, value != NULL ? "=" : "", value != NULL ? value : "") < 0)
		return failed("out of memory");
	free(*list);
	*list = longer;
	return 0;
}

static const char *const rule_names[] = {NULL, "take", "leave", "no-link"};

static int add_rule(struct run *r, enum rule_answer answer, const char *text, const char *where)
{
	struct rule parsed;
	const char *wrong = rule_parse(&parsed, answer, text);

	if (wrong != NULL)
		return failed("%s%s: %s", where, text, wrong);
	if (++r->n_rules > RUN_RULES_MAX)
		return failed("more than %d rules", RUN_RULES_MAX);
	return add(&r->rules, rule_names[answer], text);
}

/* One line of a file: take RULE, leave RULE, no-link RULE, empty, or a comment. */
static int rule_line(struct run *r, const char *where, char *line)
{
	char *p = line + strspn(line, " \t"), *end;
	enum rule_answer answer = RULE_NONE;
	size_t len;

	p[strcspn(p, "#\n")] = '\0';
	for (end = p + strlen(p); end > p && strchr(" \t\r", end[-1]) != NULL; end--)
		end[-1] = '\0';
	if (*p == '\0')
		return 0;
	len = strcspn(p, " \t");
	for (enum rule_answer a = RULE_TAKE; a <= RULE_NO_LINK; a++)
		if (strlen(rule_names[a]) == len && strncmp(p, rule_names[a], len) == 0)
			answer = a;
	if (answer == RULE_NONE)
		return failed("%s%s: a line is take RULE, leave RULE or no-link RULE", where, p);
	p += len;
	return add_rule(r, answer, p + strspn(p, " \t"), where);
}

static int rule_file(struct run *r, const char *name)
{
	char line[RUN_RULE_MAX * 4], where[PATH_MAX + 32];
	FILE *f = fopen(name, "re");
	int rc = 0;

	if (f == NULL)
		return failed("%s: %s", name, strerror(errno));
	for (unsigned n = 1; rc == 0 && fgets(line, sizeof(line), f) != NULL; n++) {
		snprintf(where, sizeof(where), "%s, line %u: ", name, n);
		rc = rule_line(r, where, line);
	}
	if (rc == 0 && ferror(f))
		rc = failed("%s: can't be read", name);
	fclose(f);
	return rc;
}

static int stack_option(struct run *r, const char *key, const char *value)
{
	r->stack = true;
	if (strcmp(key, "vdev") == 0 || strcmp(key, "port") == 0)
		r->ports = true;
	return add(&r->config, key, value);
}

/* ---- the command line ---- */

/* word is what was read last. */
static int one_option(struct run *r, int opt, const char *value, const char *word)
{
	switch (opt) {
	case 'v':
		r->verbose = true;
		return 0;
	case OPT_SERVICE:
		r->service = value;
		return 0;
	case OPT_EMBEDDED:
		r->embedded = true;
		return 0;
	case OPT_TAKE:
		return add_rule(r, RULE_TAKE, value, "--take ");
	case OPT_LEAVE:
		return add_rule(r, RULE_LEAVE, value, "--leave ");
	case OPT_NO_LINK:
		return add_rule(r, RULE_NO_LINK, value != NULL ? value : "", "--no-link=");
	case OPT_RULES:
		return rule_file(r, value);
	case OPT_NO_LOOPBACK:
		r->no_loopback = true;
		return 0;
	case OPT_SUPERVISE:
		r->supervise = true;
		return 0;
	case OPT_HELP:
		r->help = true;
		return 0;
	}
	if (opt >= OPT_STACK)
		return stack_option(r, stack_keys[opt - OPT_STACK], value);
	return failed("%s: no such option, or its value is missing; --help tells more", word);
}

/* The index of the program in argv, or -RUN_FAILED. */
static int options(struct run *r, int argc, char **argv)
{
	struct option o[array_size(plain_options) + array_size(stack_keys) + 1] = {{NULL}};
	int opt, rc = 0;

	memcpy(o, plain_options, sizeof(plain_options));
	for (unsigned k = 0; k < array_size(stack_keys); k++)
		o[array_size(plain_options) + k] = (struct option){
			stack_keys[k],
			strcmp(stack_keys[k], "no-huge") == 0 ? no_argument : required_argument,
			NULL, OPT_STACK + (int)k};
	while (rc == 0 && (opt = getopt_long(argc, argv, "+v", o, NULL)) != -1)
		rc = one_option(r, opt, optarg, argv[optind - 1]);
	return rc < 0 ? rc : optind;
}

static int help(void)
{
	puts("usage: zstack run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	     "Starts a program whose TCP and UDP sockets are Z-Stack's.\n\n"
	     "  --service PATH     where zstackd answers (ZSTACK_SOCKET, else " ATTACH_PATH ")\n"
	     "  --embedded         no service: a stack in the program, with --vdev or --port,\n"
	     "                     --addr and the other options of zstackd: --gateway, --cores,\n"
	     "                     --mtu, --mem, --buffers, --no-huge, --capture, --congestion,\n"
	     "                     --max-sockets, --spin, --linger\n"
	     "  --take RULE        sockets that are to be Z-Stack's\n"
	     "  --leave RULE       sockets that are to be the kernel's\n"
	     "  --rules FILE       a file with lines: take RULE, leave RULE, no-link RULE,\n"
	     "                     # comment\n"
	     "  --no-loopback      127.0.0.1 and ::1 are the kernel's alone\n"
	     "  --no-link[=RULE]   connections, all or what fits, that are not to go by shared\n"
	     "                     memory to programs of this node, but by TCP\n"
	     "  --supervise        by a supervisor, as programs that can't load a library:\n"
	     "                     static ones, Go's\n"
	     "  -v, --verbose      one line on standard error for each socket: whose it is\n\n"
	     "RULE: [tcp|udp] [bind|connect] [ADDR[/LEN]][:PORT[-PORT]], or gateway. The first\n"
	     "that fits decides; without one it is Z-Stack's what is bound to one of its\n"
	     "addresses, to all addresses, or connected to a network of its own; and TCP of\n"
	     "loopback between programs that are run so.");
	return 0;
}

/* ---- what must be there ---- */

/* The library: beside the tool, where the build puts it, or where it is installed. */
static int library(char out[PATH_MAX])
{
	static const char *const places[] = {"", "../src/preload/", ZS_LIBDIR};
	char self[PATH_MAX], tried[PATH_MAX + 128];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	*(strrchr(self, '/') != NULL ? strrchr(self, '/') + 1 : self) = '\0';
	for (unsigned i = 0; i < array_size(places); i++) {
		snprintf(tried, sizeof(tried), "%s%s" RUN_LIBRARY, *places[i] == '/' ? "" : self,
			 places[i]);
		if (realpath(tried, out) != NULL)
			return strpbrk(out, ": \t\n") == NULL
				       ? 0
				       : failed("%s: LD_PRELOAD can't say that: there is a blank "
						"or a colon in it",
						out);
	}
	return failed("%s: %s", tried, strerror(errno));
}

static int set(const char *name, const char *value)
{
	if ((value != NULL ? setenv(name, value, 1) : unsetenv(name)) == 0)
		return 0;
	return failed("%s: %s", name, strerror(errno));
}

static int set_known(int fd)
{
	char *list = known_addresses(fd);
	int rc = set(RUN_ENV_ADDRS, list);

	free(list);
	return rc;
}

/* Nobody there is said now, not by the first socket. */
static int service_answers(const char *path)
{
	struct sockaddr_un to;
	socklen_t len;
	int rc = attach_address(path, &to, &len), fd = -1;

	if (rc == 0) {
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		rc = fd < 0 || connect(fd, (struct sockaddr *)&to, len) < 0 ? -errno : 0;
	}
	if (rc < 0)
		rc = failed("%s: no zstackd answers there: %s; --embedded needs none", path,
			    strerror(-rc));
	else
		rc = set_known(fd);
	if (fd >= 0)
		close(fd);
	return rc;
}

static int set_preload(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	char *list;
	int rc;

	if (old == NULL || *old == '\0')
		return set("LD_PRELOAD", path);
	if (asprintf(&list, "%s:%s", path, old) < 0)
		return failed("out of memory");
	rc = set("LD_PRELOAD", list);
	free(list);
	return rc;
}

/* A name that stays right when the program changes its folder. */
static int set_service(const char *path)
{
	char cwd[PATH_MAX], *whole;
	int rc;

	if (*path == '/' || *path == '@')
		return set(RUN_ENV_SOCKET, path);
	if (getcwd(cwd, sizeof(cwd)) == NULL || asprintf(&whole, "%s/%s", cwd, path) < 0)
		return failed("%s: %s", path, strerror(errno));
	rc = set(RUN_ENV_SOCKET, whole);
	free(whole);
	return rc;
}

/* Where this tool is, for programs that can't load the library; without it they are not served. */
static int set_tool(void)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n <= 0)
		return 0;
	self[n] = '\0';
	return set(RUN_ENV_TOOL, self);
}

/* ZSTACK_CONFIG of a service is left as it is: it may have sizes in it. */
static int set_environment(struct tool *t, struct run *r)
{
	char path[PATH_MAX];
	int rc = library(path);

	if (rc == 0 && r->embedded)
		rc = add(&r->config, "mode", "thread");
	if (rc == 0 && r->verbose)
		rc = add(&r->rules, "verbose", NULL);
	if (rc == 0 && r->no_loopback)
		rc = add(&r->rules, "no-loopback", NULL);
	if (rc == 0 && r->embedded)
		rc = set(RUN_ENV_CONFIG, r->config);
	else if (rc == 0)
		rc = service_answers(t->socket);
	if (rc == 0)
		rc = set_service(t->socket);
	if (rc == 0)
		rc = set(RUN_ENV, r->rules);
	if (rc == 0)
		rc = set_tool();
	return rc < 0 ? rc : set_preload(path);
}

/* Of malloc; setenv() and unsetenv() leave it alone. */
static char **environ_copy(void)
{
	size_t n = 0;
	char **copy;

	while (environ[n] != NULL)
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy != NULL && i < n; i++)
		copy[i] = strdup(environ[i]);
	return copy;
}

static int check(struct tool *t, const struct run *r)
{
	if (r->service != NULL)
		t->socket = r->service;
	if (r->embedded && r->service != NULL)
		return failed("either --embedded or --service");
	if (r->embedded && !r->ports)
		return failed("--embedded needs a --vdev or a --port");
	if (!r->embedded && r->stack)
		return failed("--vdev, --port, --addr and the like are for a stack in the program: "
			      "say --embedded");
	return 0;
}

/* The environment is the supervisor's: the program and its children are served by the filter, which
 * they all have, and not by the library as well. */
static int supervised(struct tool *t, struct run *r, const char *program, const char *what)
{
	char **before = environ_copy(), why[256];
	int rc;

	if (before == NULL)
		return failed("out of memory");
	rc = set_environment(t, r);
	if (rc == 0 && supervise_start(program, r->verbose, why, sizeof(why)) < 0) {
		failed("%s; and what serves such programs can't: %s", what, why);
		rc = -IMAGE_REFUSED;
	}
	environ = before;
	if (rc == 0 && r->verbose)
		fprintf(stderr, "zstack: %s; it is served by a supervisor (zstack apps)\n", what);
	return rc;
}

int cmd_run(struct tool *t, int argc, char **argv)
{
	struct run r = {0};
	char why[PATH_MAX + 512];
	int at = options(&r, argc, argv), rc;

	if (at >= 0 && r.help)
		return help();
	if (at >= 0 && at == argc)
		at = failed("which program? --help tells more");
	if (at < 0)
		return -at;
	rc = check(t, &r);
	if (rc < 0)
		return -rc;
	rc = image_check(argv[at], why, sizeof(why));
	if (rc != 0 && rc != IMAGE_SUPERVISED) {
		failed("%s", why);
		return rc;
	}
	if (rc == 0 && r.supervise) {
		rc = IMAGE_SUPERVISED;
		snprintf(why, sizeof(why), "%s", argv[at]);
	}
	rc = rc == IMAGE_SUPERVISED ? supervised(t, &r, argv[at], why) : set_environment(t, &r);
	if (rc < 0)
		return -rc;
	execvp(argv[at], argv + at);
	rc = errno == ENOENT ? IMAGE_NOT_FOUND : IMAGE_REFUSED;
	failed("%s: %s", argv[at], strerror(errno));
	return rc;
}
