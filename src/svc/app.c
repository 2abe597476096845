/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program comes: who it is, whether it may, what it gets. What it says is app_message.c's; that
 * it is gone is told by its pidfd (app_leave.c). What it can write is shared memory and messages;
 * each is checked where it is read. Nothing here waits for it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "chan/bell.h"
#include "chan/voucher.h"
#include "svc/service.h"
#include "svc/shared.h"

#define HANDSHAKE_NS  10000000000 /* for the program to map its memory */
#define PENDING_MAX   16	  /* connections of one user that have not got further */
#define ARENA_DEFAULT (64u << 20)

/* What was asked for, within what its domain allows. */
static int geometry(const struct policy_domain *d, const struct attach_hello *h,
		    struct chan_geometry *g)
{
	uint64_t span = 64u << 10;

	chan_geometry_defaults(g);
	g->arena_bytes = h->arena_bytes != 0 ? h->arena_bytes : ARENA_DEFAULT;
	if (g->arena_bytes > d->memory_bytes)
		g->arena_bytes = d->memory_bytes;
	g->arena_bytes = g->arena_bytes / span * span;
	g->max_sockets = h->max_sockets != 0 ? h->max_sockets : d->max_sockets;
	if (g->max_sockets > d->max_sockets)
		g->max_sockets = d->max_sockets;
	if (h->max_loans != 0 && h->max_loans < g->max_loans)
		g->max_loans = h->max_loans;
	if (h->max_tokens != 0 && h->max_tokens < g->max_tokens)
		g->max_tokens = h->max_tokens;
	return chan_geometry_check(g);
}

/* ---- coming ---- */

void app_free(struct service *s, struct app *a)
{
	for (unsigned i = 0; i < s->node.n; i++)
		app_chan_free(&a->chan[i]);
	if (a->sock >= 0)
		close(a->sock);
	if (a->pidfd >= 0)
		close(a->pidfd);
	list_del(&a->link);
	s->n_apps--;
	free(a);
}

void app_refuse(struct service *s, struct app *a, int err, const char *fmt, ...)
{
	struct attach_refused r = {.err = err};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r.text, sizeof(r.text), fmt, ap);
	va_end(ap);
	s->n.refused++;
	if (service_may_log(s))
		svc_log("refused process %d of user %u: %s", (int)a->pid, (unsigned)a->uid, r.text);
	(void)!attach_send(a->sock, ATTACH_REFUSED, &r, sizeof(r), NULL, 0);
	/* Closing with something unread would be a reset, which hides the answer. */
	(void)!recv(a->sock, &r, sizeof(r), MSG_DONTWAIT);
	app_free(s, a);
}

/* Programs of a user in states from first to last. One that is gone, and whose memory a neighbour
 * holds, is the neighbour's. */
unsigned app_programs(const struct service *s, uid_t uid, enum app_state first, enum app_state last)
{
	unsigned n = 0;

	LIST_EACH (l, &s->apps) {
		const struct app *a = container_of(l, struct app, link);

		n += a->uid == uid && a->state >= first && a->state <= last &&
		     (a->state != APP_LEAVING || a->n_links == 0);
	}
	return last == APP_LEAVING ? n + links_of_dead(s, uid) : n;
}

/* Who attached before it became another user, at another service, is still who it was then. */
static int believe(struct app *a, struct attach_msg *m)
{
	int fd, rc;

	if ((m->hello.flags & ATTACH_VOUCHER) == 0)
		return 0;
	fd = m->n_fds > 0 ? m->fd[--m->n_fds] : -1;
	if (fd < 0)
		return -EINVAL;
	rc = voucher_read(fd, VOUCHER_ATTACH, &a->uid);
	close(fd);
	return rc;
}

void app_take_hello(struct service *s, struct app *a, struct attach_msg *m)
{
	const struct policy_domain *d;
	struct chan_geometry g;
	int rc = believe(a, m);

	if (rc < 0) {
		app_refuse(s, a, -EPERM, "the program's voucher is none for attaching");
		return;
	}
	d = policy_find(&s->cfg.policy, a->uid);
	if (d == NULL) {
		app_refuse(s, a, -EACCES, "user %u may not attach to this service",
			   (unsigned)a->uid);
		return;
	}
	if (app_programs(s, a->uid, APP_MAPPING, APP_LEAVING) >= d->max_programs) {
		app_refuse(s, a, -EAGAIN, "user %u has %u programs attached, which is the limit",
			   (unsigned)a->uid, d->max_programs);
		return;
	}
	a->domain = (unsigned)(d - s->cfg.policy.domain);
	m->hello.program[sizeof(m->hello.program) - 1] = '\0';
	for (char *p = m->hello.program; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	strcpy(a->program, m->hello.program);
	a->no_links = (m->hello.flags & ATTACH_NO_LINKS) != 0;
	if (geometry(d, &m->hello, &g) < 0) {
		app_refuse(s, a, -EINVAL, "%llu bytes of memory and %u sockets make no sense",
			   (unsigned long long)m->hello.arena_bytes, m->hello.max_sockets);
		return;
	}
	if (m->n_fds > 0 && g.arena_bytes != m->hello.arena_bytes) {
		app_refuse(
			s, a, -EPERM,
			"the program has %llu MB of memory on each core from another service, and "
			"may have %llu MB here: start it again",
			(unsigned long long)m->hello.arena_bytes >> 20,
			(unsigned long long)g.arena_bytes >> 20);
		return;
	}
	rc = app_make_channels(s, a, &g, m->fd, m->n_fds);
	if (rc == -EPERM) {
		app_refuse(s, a, rc, "the memory that the program brings is not a service's");
		return;
	}
	if (rc < 0) {
		app_refuse(s, a, rc, "no memory for another program: %s", strerror(-rc));
		return;
	}
	a->state = APP_MAPPING;
	if (app_welcome(s, a, a->sock, -1) < 0)
		app_free(s, a);
}

struct attach_call {
	struct service *s;
	struct app *a;
	const struct app *parent;
	unsigned core;
	int rc;
};

static bool may_link(const struct service *s, const struct app *a)
{
	return s->cfg.same_node && !a->no_links && a != s->keeper;
}

static void attach(struct node_core *core, void *arg)
{
	struct attach_call *call = arg;
	struct app_chan *c = &call->a->chan[call->core];
	struct rte_mempool *own = call->s->domain[call->a->domain].pool[call->core];
	struct sock_app_cfg cfg = {
		.map = &c->map,
		.hdr = &c->hdr,
		.own = own,
		.own_max = own != NULL ? pkt_pool_size(own) : 0,
		.owner = call->a->uid,
		.free_ports_from = shared_free_ports_from(
			call->s, &call->s->cfg.policy.domain[call->a->domain]),
		.alone = true,
		.keeps = call->a == call->s->keeper,
		.unborn = call->a->state == APP_FORKED,
		.domain = may_link(call->s, call->a) ? call->a->domain + 1 : 0,
		.zone = call->a->zone,
		.id = (uint32_t)call->a->id,
		.parent = call->parent != NULL ? call->parent->chan[call->core].app : NULL,
	};

	call->rc = stack_attach(core->stack, &cfg, &c->app);
}

int app_attach(struct service *s, struct app *a, const struct app *parent)
{
	struct attach_call call = {.s = s, .a = a, .parent = parent};

	for (unsigned i = 0; i < s->node.n && call.rc == 0; i++) {
		call.core = i;
		node_call(&s->node.core[i], attach, &call);
	}
	return call.rc;
}

void app_take_mapped(struct service *s, struct app *a, struct attach_msg *m)
{
	struct attach_head ready;
	int rc = app_is_watched(a) ? app_seal(s, a) : -ESRCH;

	(void)m;
	if (rc == 0)
		rc = app_attach(s, a, NULL);
	if (rc < 0) {
		svc_log("process %d of user %u: not attached: %s", (int)a->pid, (unsigned)a->uid,
			strerror(-rc));
		app_detach(s, a, false, NULL);
		return;
	}
	a->state = APP_READY;
	s->domain[a->domain].n_apps++;
	s->n.attached++;
	svc_log("%s (process %d, user %u) attached, domain %s", a->program, (int)a->pid,
		(unsigned)a->uid, s->cfg.policy.domain[a->domain].name);
	(void)!attach_send(a->sock, ATTACH_READY, &ready, sizeof(ready), NULL, 0);
}

static void process_ready(struct service *s, struct source *src, uint32_t events)
{
	struct app *a = container_of(src, struct app, process);

	(void)events;
	s->n.died++;
	/* As the kernel closes the sockets of a process that ends: what it sent still arrives. */
	app_detach(s, a, true, "is gone");
}

/* ---- the first moment ---- */

/* The number of its network namespace. One is not given again soon: a socket that is on its way to
 * another program may have it. */
static uint16_t zone_number(struct service *s, const struct app *a)
{
	bool used;

	LIST_EACH (l, &s->apps) {
		const struct app *o = container_of(l, struct app, link);

		if (o->zone != 0 && o->netns == a->netns)
			return o->zone;
	}
	do {
		used = ++s->last_zone == 0;
		LIST_EACH (l, &s->apps)
			used |= container_of(l, struct app, link)->zone == s->last_zone;
	} while (used);
	return s->last_zone;
}

static int who(struct service *s, struct app *a)
{
	struct ucred u;
	socklen_t len = sizeof(u);
	int one = 1;

	if (getsockopt(a->sock, SOL_SOCKET, SO_PEERCRED, &u, &len) < 0)
		return -errno;
	a->pid = u.pid;
	a->uid = u.uid;
	len = sizeof(a->netns);
	if (getsockopt(a->sock, SOL_SOCKET, SO_NETNS_COOKIE, &a->netns, &len) < 0)
		a->netns = 0;
	a->zone = zone_number(s, a);
	len = sizeof(a->pidfd);
	if (getsockopt(a->sock, SOL_SOCKET, SO_PEERPIDFD, &a->pidfd, &len) < 0) {
		a->pidfd = pidfd_open(a->pid, 0);
		a->by_number = true;
	}
	if (a->pidfd < 0 || setsockopt(a->sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		return -errno;
	return 0;
}

struct app *app_new(struct service *s, int sock)
{
	struct app *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	*a = (struct app){.sock = sock,
			  .pidfd = -1,
			  .id = ++s->next_app,
			  .control = {app_control_ready},
			  .process = {process_ready},
			  .deadline_ns = node_now_ns() + HANDSHAKE_NS};
	for (unsigned i = 0; i < EMBED_CORES_MAX; i++) {
		struct app_chan *c = &a->chan[i];

		c->rings.fd = c->arena.fd = c->shared_bell = -1;
		c->map.app_bell_fd = c->map.stack_bell_fd = -1;
	}
	list_init(&a->link);
	list_add_tail(&s->apps, &a->link);
	s->n_apps++;
	return a;
}

void app_accept(struct service *s, int sock)
{
	struct app *a = app_new(s, sock);
	int rc;

	if (a == NULL) {
		close(sock);
		return;
	}
	rc = who(s, a);
	if (rc == 0 && app_programs(s, a->uid, APP_NEW, APP_MAPPING) > PENDING_MAX) {
		app_refuse(s, a, -EAGAIN, "user %u attaches more than %d programs at once",
			   (unsigned)a->uid, PENDING_MAX);
		return;
	}
	if (rc == 0)
		rc = service_watch(s, &a->control, a->sock);
	if (rc == 0)
		rc = service_watch(s, &a->process, a->pidfd);
	if (rc < 0)
		app_refuse(s, a, rc, "the process can't be watched: %s", strerror(-rc));
}
