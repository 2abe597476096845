/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the examples share: start with the arguments, listen, end on SIGINT or SIGTERM with
 * counters.
 */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstack/stats.h>
#include <zstack/zc.h>
#include <zstack/zstack.h>

union example_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Takes the options of zs_config_usage() out of the arguments. Exits with one line when they are
 * wrong, or when not `least` to `most` arguments remain. --help prints `usage`. */
void example_options(int *argc, char **argv, const char *usage, int least, int most);
/* Starts the stack with those options; exits with one line when it can't. */
void example_start(void);
/* "80" is 80; exits with one line for what is no port. */
uint16_t example_port(const char *text);
/* A number within limits; exits with one line that names it otherwise. */
long example_number(const char *what, const char *text, long least, long most);
/* IPv4 or IPv6 address in digits; the length of the address, or exits with one line. */
socklen_t example_addr(const char *ip, uint16_t port, union example_addr *out);
/* Binds both families to a port, and listens when type is SOCK_STREAM; adds both to the set (level,
 * EPOLLIN, data.fd). Exits with one line when it can't. Says "NAME: listening on port N". */
void example_listen(int set, int type, uint16_t port, int listener[2]);
/* zs_epoll_wait(), for at most timeout_ms; 0 also when a signal ended it. Exits with one line when
 * the port is gone. */
int example_wait(int set, struct epoll_event *e, int n, int timeout_ms);
/* True from the first SIGINT or SIGTERM on. */
bool example_stopping(void);
/* True once for each SIGUSR1. */
bool example_asked(void);
/* Prints the counters of payload. */
void example_counters(FILE *out);
/* Counters, then stops the stack: what main() returns. */
int example_end(void);
uint64_t example_now_ns(void);
/* Exits with "NAME: what: why" for a negative result; else returns it. */
int example_must(int result, const char *what);

#endif
