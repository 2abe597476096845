/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tool's side door. A connection whose first message is ATTACH_ADMIN is a manager's, not a
 * program's. A request is a JSON object, {"do": NAME, ...}. Its answer is a stream, cut into pieces
 * anywhere: JSON objects, one a line; of a capture, pcapng. An error is an object with the key
 * "error". The next request may follow the answer's end.
 *
 * Who may: root and the user who runs the service see all and may change it; others who may attach
 * see what is theirs, and addresses, which the stack tells every program. The user is that of the request, by the kernel's word.
 *
 *   admin.c          connections, rights, sending
 *   admin_look.c     sockets, apps, counters, cores, addrs, routes, neigh
 *   admin_change.c   addr-add, addr-del, route-add, route-del
 *   admin_capture.c  capture
 *   admin_ping.c     ping
 *
 * A request is carried out in steps, each short, and only when what the steps before it said was
 * sent: so an answer takes little memory however long it is, and a reader that doesn't read keeps
 * nobody waiting. The stacks are asked by node_call(), a bounded piece each time.
 */
#ifndef ZS_SVC_ADMIN_H
#define ZS_SVC_ADMIN_H

#include <jansson.h>

#include "stack/look.h"
#include "svc/service.h"

enum admin_step {
	ADMIN_MORE, /* call again when what was said is sent */
	ADMIN_WAIT, /* the same, when more is to be had: due_ns, or the step's own source */
	ADMIN_DONE,
};

struct admin;

struct admin_op {
	const char *name;
	enum { ADMIN_OWN, ADMIN_ALL } who; /* OWN: anybody, of what is his */
	enum admin_step (*step)(struct admin *a);
	void (*end)(struct admin *a); /* NULL, or gives back what the steps took */
};

/* A manager's connection. */
struct admin {
	struct list link;
	struct source source;
	struct service *s;
	int sock;
	uid_t uid;
	bool all; /* may see all, and change */
	json_t *ask;
	const struct admin_op *op; /* NULL: waits for a request */
	bool ending;		   /* the answer is complete, its end not yet sent */
	char *out;		   /* what was said and not yet sent */
	size_t out_len, out_sent, out_size;
	/* of the steps; zero at the first */
	int64_t due_ns; /* 0: none */
	unsigned core, part;
	uint32_t cursor;
	uint64_t app;
	struct source on_capture;
	struct capture *capture;
	struct ip_ping ping;
	uint64_t ping_ns;
	int64_t ping_end_ns;
};

/* ---- admin.c ---- */
/* Adds an object to the answer, as a line. Takes it; NULL (no memory) ends the connection. */
void admin_say(struct admin *a, json_t *object);
/* An answer that is an error: ADMIN_DONE. */
__attribute__((format(printf, 3, 4))) enum admin_step admin_fail(struct admin *a, int rc,
								 const char *fmt, ...);
/* Room for len bytes more; NULL: no memory. */
char *admin_room(struct admin *a, size_t len);
/* A text, a number of the request; `or` where there is none. */
const char *admin_text(const struct admin *a, const char *key, const char *or_else);
int64_t admin_number(const struct admin *a, const char *key, int64_t or_else);
/* Goes on with the request, until it waits for somebody. */
void admin_pump(struct admin *a);
const struct app *admin_app_of(const struct service *s, unsigned core, const struct chan_map *map);

/* ---- the operations ---- */
enum admin_step admin_sockets(struct admin *a);
enum admin_step admin_apps(struct admin *a);
enum admin_step admin_counters(struct admin *a);
enum admin_step admin_cores(struct admin *a);
enum admin_step admin_addrs(struct admin *a);
enum admin_step admin_routes(struct admin *a);
enum admin_step admin_neigh(struct admin *a);
enum admin_step admin_addr_add(struct admin *a);
enum admin_step admin_addr_del(struct admin *a);
enum admin_step admin_route_add(struct admin *a);
enum admin_step admin_route_del(struct admin *a);
enum admin_step admin_capture(struct admin *a);
void admin_capture_end(struct admin *a);
enum admin_step admin_ping(struct admin *a);
void admin_ping_end(struct admin *a);

#endif
