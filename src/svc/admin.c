/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See admin.h. Nothing here waits for the other side: what its socket does not take stays in a
 * buffer of one step's size, and the request goes on when there is room again.
 */
#define _GNU_SOURCE
#include "svc/admin.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define ADMINS_MAX	64
#define ADMINS_USER_MAX 8
#define STEPS_AT_ONCE	4 /* then the others' turn */

static const struct admin_op ops[] = {
	{"sockets", ADMIN_OWN, admin_sockets, NULL},
	{"apps", ADMIN_OWN, admin_apps, NULL},
	{"counters", ADMIN_ALL, admin_counters, NULL},
	{"cores", ADMIN_ALL, admin_cores, NULL},
	{"addrs", ADMIN_OWN, admin_addrs, NULL},
	{"routes", ADMIN_ALL, admin_routes, NULL},
	{"neigh", ADMIN_ALL, admin_neigh, NULL},
	{"addr-add", ADMIN_ALL, admin_addr_add, NULL},
	{"addr-del", ADMIN_ALL, admin_addr_del, NULL},
	{"route-add", ADMIN_ALL, admin_route_add, NULL},
	{"route-del", ADMIN_ALL, admin_route_del, NULL},
	{"capture", ADMIN_ALL, admin_capture, admin_capture_end},
	{"ping", ADMIN_ALL, admin_ping, admin_ping_end},
};

/* ---- what is said ---- */

char *admin_room(struct admin *a, size_t len)
{
	size_t size = a->out_size != 0 ? a->out_size : 4096;
	char *grown;

	while (size < a->out_len + len)
		size *= 2;
	if (size != a->out_size) {
		grown = realloc(a->out, size);
		if (grown == NULL)
			return NULL;
		a->out = grown;
		a->out_size = size;
	}
	return a->out + a->out_len;
}

void admin_say(struct admin *a, json_t *object)
{
	const size_t flags = JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9);
	size_t len = json_dumpb(object, NULL, 0, flags);
	char *to = object != NULL ? admin_room(a, len + 1) : NULL;

	if (to != NULL) {
		(void)!json_dumpb(object, to, len, flags);
		to[len] = '\n';
		a->out_len += len + 1;
	}
	json_decref(object);
}

enum admin_step admin_fail(struct admin *a, int rc, const char *fmt, ...)
{
	char text[256];
	json_t *o;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	o = json_pack("{s:s, s:i}", "error", text, "errno", -rc);
	/* What was asked may be cut in the middle of a letter. */
	admin_say(a, o != NULL ? o : json_pack("{s:s, s:i}", "error", strerror(-rc), "errno", -rc));
	return ADMIN_DONE;
}

/* ---- what is asked ---- */

const char *admin_text(const struct admin *a, const char *key, const char *or_else)
{
	const char *text = json_string_value(json_object_get(a->ask, key));

	return text != NULL ? text : or_else;
}

int64_t admin_number(const struct admin *a, const char *key, int64_t or_else)
{
	const json_t *v = json_object_get(a->ask, key);

	return json_is_integer(v) ? json_integer_value(v) : or_else;
}

const struct app *admin_app_of(const struct service *s, unsigned core, const struct chan_map *map)
{
	LIST_EACH (l, &s->apps) {
		const struct app *app = container_of(l, struct app, link);

		if (&app->chan[core].map == map)
			return app;
	}
	return NULL;
}

static const struct admin_op *op_find(const char *name)
{
	for (unsigned i = 0; i < array_size(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

static void op_end(struct admin *a)
{
	if (a->op != NULL && a->op->end != NULL)
		a->op->end(a);
	a->op = NULL;
	json_decref(a->ask);
	a->ask = NULL;
}

/* What is to be done; NULL, having said why not. */
static const struct admin_op *op_asked(struct admin *a)
{
	const char *name = admin_text(a, "do", "");
	const struct admin_op *op = op_find(name);

	if (op == NULL) {
		admin_fail(a, -EOPNOTSUPP,
			   a->ask == NULL ? "the request is no JSON"
					  : "this zstackd can't do that");
		return NULL;
	}
	if (op->who == ADMIN_ALL && !a->all) {
		admin_fail(a, -EPERM,
			   "%s is for root and the user who runs the service; "
			   "others see their own sockets and programs",
			   name);
		return NULL;
	}
	return op;
}

static void begin(struct admin *a, const char *text, size_t len)
{
	json_error_t why;

	a->core = a->part = 0;
	a->cursor = 0;
	a->app = 0;
	a->due_ns = 0;
	a->ask = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	a->op = op_asked(a);
	a->ending = a->op == NULL;
	if (a->ending)
		op_end(a);
}

/* ---- the connection ---- */

static void watch(struct admin *a, uint32_t events)
{
	service_rewatch(a->s, &a->source, a->sock, events);
}

static void admin_close(struct admin *a)
{
	op_end(a);
	service_unwatch(a->s, a->sock);
	close(a->sock);
	list_del(&a->link);
	a->s->n_admins--;
	free(a->out);
	free(a);
}

/* 1 all sent, 0 the socket is full, -errno. */
static int flush(struct admin *a)
{
	struct attach_piece p;

	while (a->out_sent < a->out_len || a->ending) {
		size_t n = a->out_len - a->out_sent;
		int rc;

		n = n < sizeof(p.bytes) ? n : sizeof(p.bytes);
		if (n != 0)
			memcpy(p.bytes, a->out + a->out_sent, n);
		rc = attach_send(a->sock, ATTACH_ANSWER, &p, sizeof(p.head) + n, NULL, 0);
		if (rc < 0)
			return rc == -EAGAIN || rc == -ENOBUFS ? 0 : rc;
		a->out_sent += n;
		if (n == 0)
			a->ending = false;
	}
	a->out_len = a->out_sent = 0;
	return 1;
}

void admin_pump(struct admin *a)
{
	for (unsigned i = 0; i < STEPS_AT_ONCE; i++) {
		enum admin_step next;
		int rc = flush(a);

		if (rc < 0) {
			admin_close(a);
			return;
		}
		if (rc == 0)
			break;
		if (a->op == NULL) {
			watch(a, EPOLLIN);
			return;
		}
		a->due_ns = 0;
		next = a->op->step(a);
		if (next == ADMIN_DONE) {
			op_end(a);
			a->ending = true;
		} else if (next == ADMIN_WAIT && a->out_len == 0) {
			watch(a, 0); /* that it hung up is told all the same */
			return;
		}
	}
	watch(a, EPOLLOUT);
}

static bool may_all(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static void take(struct admin *a, const struct attach_msg *m)
{
	size_t head = sizeof(m->head);

	if (m->head.type != ATTACH_ADMIN || !m->has_cred) {
		admin_close(a);
		return;
	}
	a->uid = m->cred.uid;
	a->all = may_all(a->uid);
	if (!a->all && policy_find(&a->s->cfg.policy, a->uid) == NULL) {
		admin_fail(a, -EACCES, "user %u may not attach to this service", (unsigned)a->uid);
		a->ending = true;
	} else {
		begin(a, m->bytes + head, m->len - head);
	}
	admin_pump(a);
}

static void ready(struct service *s, struct source *src, uint32_t events)
{
	struct admin *a = container_of(src, struct admin, source);
	struct attach_msg m;
	int rc;

	(void)s;
	if (a->op != NULL || a->ending || a->out_len != 0) {
		if (events & (EPOLLHUP | EPOLLERR))
			admin_close(a);
		else
			admin_pump(a);
		return;
	}
	rc = attach_recv(a->sock, &m, MSG_DONTWAIT);
	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		admin_close(a);
		return;
	}
	attach_close_fds(&m);
	take(a, &m);
}

static unsigned admins_of(const struct service *s, uid_t uid)
{
	unsigned n = 0;

	LIST_EACH (l, &s->admins)
		n += container_of(l, struct admin, link)->uid == uid;
	return n;
}

void admin_accept(struct service *s, int sock, const struct attach_msg *m)
{
	struct admin *a = NULL;

	if (s->n_admins < ADMINS_MAX && admins_of(s, m->cred.uid) < ADMINS_USER_MAX)
		a = calloc(1, sizeof(*a));
	if (a == NULL) {
		close(sock);
		return;
	}
	a->s = s;
	a->sock = sock;
	a->source.ready = ready;
	list_init(&a->link);
	list_add_tail(&s->admins, &a->link);
	s->n_admins++;
	if (service_watch(s, &a->source, sock) < 0)
		admin_close(a);
	else
		take(a, m);
}

int64_t admins_tick(struct service *s)
{
	int64_t now = node_now_ns(), again = -1;

	for (struct list *l = s->admins.next, *next; l != &s->admins; l = next) {
		struct admin *a = container_of(l, struct admin, link);

		next = l->next;
		if (a->due_ns != 0 && a->due_ns <= now)
			admin_pump(a);
	}
	LIST_EACH (l, &s->admins) {
		const struct admin *a = container_of(l, struct admin, link);
		int64_t left = a->due_ns > now ? a->due_ns - now : 0;

		if (a->due_ns != 0 && (again < 0 || left < again))
			again = left;
	}
	return again;
}

void admins_close(struct service *s)
{
	while (!list_empty(&s->admins))
		admin_close(container_of(s->admins.next, struct admin, link));
}
