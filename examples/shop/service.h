/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the shop's services in C have in common: HTTP/1.1 over the host's sockets, a thread for each
 * connection. Nothing here knows of Z-Stack.
 *
 * Where a service is says the environment of all of them: SHOP_STOCK=10.7.0.2:8103.
 */
#ifndef SHOP_SERVICE_H
#define SHOP_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#define PATH_MAX_LEN 255
#define BODY_MAX     (64 * 1024)

/* Text that grows. */
struct text {
	char *at; /* of malloc, NUL-terminated; NULL while it is empty */
	size_t len, room;
};

/* On no memory the program ends. */
void text_add(struct text *t, const char *from, size_t len);
__attribute__((format(printf, 2, 3))) void text_addf(struct text *t, const char *fmt, ...);
void text_free(struct text *t);

/* A request that came, whole; belongs to serve(). */
struct request {
	const char *method;
	char path[PATH_MAX_LEN + 1];
	struct text body;
};

/* Writes the JSON of an answer and returns its status. Called in a thread of the connection. */
typedef int handler(const struct request *r, struct text *out);

/* {"error": WHY}; returns the status. */
int refuse(struct text *out, int status, const char *why);

/* Answers requests at the address of this name for ever; only an error returns: 1, having said
 * what is wrong. */
int serve(const char *name, handler *answer);

/* Asks another service, over a connection that this thread keeps. Several services can be asked at
 * a time: begin, begin, end, end. */
void ask_begin(const char *name, const char *method, const char *path, const struct text *body);
/* The status, and the body of the answer behind what is in out; 502: it does not answer. */
int ask_end(const char *name, struct text *out);

#endif
