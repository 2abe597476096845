/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that makes calls on sockets and prints what came of them; test_calls.py runs it on the
 * kernel and under libzstack-preload, and compares. `calls CASE` runs one case, `calls` lists them.
 * The peer (peer_services.py) is Linux in both.
 */
#ifndef CALLS_H
#define CALLS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PEER "10.7.0.1"
#define OWN  "10.7.0.2"
#define ALL  "10.7.0.255"

/* Ports of the peer. */
enum {
	ECHO = 9001,   /* TCP: what it gets; closes after the end */
	GREET = 9002,  /* TCP: "hello world", then waits for the end */
	RESET = 9003,  /* TCP: resets when it gets a byte */
	LAST = 9004,   /* TCP: "goodbye", then the end; waits for ours */
	CALLER = 9005, /* TCP: gets "PORT\n", connects to it, sends "from peer", echoes;
			* then says how much it got */
	UECHO = 9006,  /* UDP: what it gets */
	URGENT = 9007, /* TCP: "abc", "D" urgent, "ef"; waits for the end */
	NOBODY = 9008, /* refuses */
	SINK = 9009,   /* TCP: reads nothing for 0.3 s, then all; sends how many bytes it got */
	SLOW = 9010,   /* TCP: "one", 0.2 s, "two", then the end */
	USEND = 9011,  /* UDP: gets "PORT\n", sends "to you" to it */
	UALL = 9012,   /* UDP: gets "PORT\n", sends "to all" to it, of everybody */
	UGROUP = 9013, /* UDP, a member of 239.7.7.8: says who spoke to it */
};

struct call_case {
	const char *name;
	void (*run)(void);
};
extern const struct call_case stream_cases[], dgram_cases[], number_cases[], option_cases[],
	copy_cases[], ready_cases[], event_cases[], family_cases[], share_cases[], error_cases[],
	multicast_cases[], interface_cases[];

/* Prints "TEXT = RESULT", and the name of errno for -1. Gives the result back. */
long show_result(const char *text, long r);
#define show(call) show_result(#call, (long)(call))
/* "NAME: BYTES" */
void show_bytes(const char *name, const void *p, long n);

static inline struct sockaddr_in at(const char *ip, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

/* The same as a pointer and a length, for calls. */
#define AT(ip, port)                                                                               \
	(struct sockaddr *)&(struct sockaddr_in[]){at(ip, port)}, sizeof(struct sockaddr_in)
/* Connected to a service of the peer. */
int tcp_to(int port);
/* A listener at the own address, with its port. */
int listener(int *port);
/* The peer connects to it: the control connection, to be closed by the caller. */
int call_me(int port);
/* Until fd has something; false after two seconds. */
int readable(int fd);
/* Reads until n bytes or the end. */
long read_full(int fd, void *buf, long n);

#endif
