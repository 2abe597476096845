/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack: what a person asks the service. One file for each group of commands:
 *
 *   zstack.c   main, options, help: start reading here
 *   ask.c      requests and answers (svc/admin.h says what they look like)
 *   ss.c       sockets
 *   stat.c     counters and their rates
 *   top.c      cores and programs
 *   list.c     addr, route, neigh, apps
 *   ping.c     echo
 *   capture.c  frames, to a file or as lines; frame.c says a frame in words
 *   relay.c    serves programs that can't load libzstack-preload
 *   run.c      starts a program with libzstack-preload; image.c says whether it can be served
 *   supervise.h  serves programs that can't load it, from their start on
 *
 * Output is a table, or with --json one JSON object a line. Names are not looked up.
 */
#ifndef ZS_TOOLS_ZSTACK_H
#define ZS_TOOLS_ZSTACK_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of the command line, before the command. */
struct tool {
	const char *socket;
	bool json;
	int fd;		/* -1: not connected */
	double takes_s; /* an answer may take so long, beside what is waited for any */
};

/* ---- ask.c: all say on standard error what went wrong, and return -1 then ---- */
typedef void (*ask_line)(void *arg, json_t *object);
/* Calls line for each object of the answer. Takes the request. */
int ask(struct tool *t, json_t *request, ask_line line, void *arg);
/* An answer that is no text: the next bytes of it, at most ATTACH_PIECE_MAX, 0 at its end. An error
 * may come instead. */
int ask_begin(struct tool *t, json_t *request);
ssize_t ask_bytes(struct tool *t, char *out);

/* ---- what the commands share (zstack.c) ---- */
const char *text_of(const json_t *o, const char *key); /* "" where there is none */
int64_t number_of(const json_t *o, const char *key);
void print_json(json_t *o);
/* "10.0.0.2:80", "[fd00::2]:80", "*:80" */
const char *end_of(const json_t *o, const char *addr_key, const char *port_key, char out[64]);
const char *user_of(const json_t *o, char out[64]);
__attribute__((format(printf, 1, 2))) int usage(const char *fmt, ...); /* exit status 2 */
/* A number of seconds, of things; false: text is none, or not above 0. */
bool seconds(const char *text, double *out);
bool count_of(const char *text, long max, long *out);
/* ^C ends what would go on for ever, in order. */
extern volatile sig_atomic_t interrupted;
void catch_interrupt(void);
void wait_s(double s);
double now_s(void);

/* ---- known.c ---- */
/* "10.0.0.2/24 fd00::2/64", of malloc: the addresses of the stack whose service is at the other end
 * of fd. NULL: there are none, or it does not say. */
char *known_addresses(int fd);

/* ---- commands: argv[0] is the command's name; the exit status ---- */
int cmd_ss(struct tool *t, int argc, char **argv);
int cmd_stat(struct tool *t, int argc, char **argv);
int cmd_top(struct tool *t, int argc, char **argv);
int cmd_addr(struct tool *t, int argc, char **argv);
int cmd_route(struct tool *t, int argc, char **argv);
int cmd_neigh(struct tool *t, int argc, char **argv);
int cmd_apps(struct tool *t, int argc, char **argv);
int cmd_ping(struct tool *t, int argc, char **argv);
int cmd_capture(struct tool *t, int argc, char **argv);
int cmd_run(struct tool *t, int argc, char **argv);
int cmd_relay(struct tool *t, int argc, char **argv);
int cmd_supervise(struct tool *t, int argc, char **argv);

/* ---- frame.c ---- */
/* A frame of len bytes in words: {"proto": .., "src": .., "dst": .., "info": ..} */
json_t *frame_json(const uint8_t *f, size_t len);

#endif
