/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An attached program. Its connection brings requests (attach.h); that it is gone is told by its
 * pidfd. A connection that ends alone is no proof: a program may close descriptors that it does not
 * know. Then its mappings decide, looked at every second (H31): a process that no longer maps our
 * memory, because it executed another program, has left.
 *
 * What it can write is shared memory and messages; each is checked where it is read. Its regions
 * are of fixed length (H35). Nothing here waits for it.
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
#include "svc/service.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

#define HANDSHAKE_NS  10000000000 /* for the program to map its memory */
#define LOOK_AGAIN_NS 1000000000
#define REAP_NS	      20000000
#define LAST_TURNS    16 /* of the stack, for commands of a program that is gone */
#define PENDING_MAX   16 /* connections of one user that have not got further */
#define ARENA_DEFAULT (64u << 20)

/* ---- what it gets ---- */

static void chan_free_memory(struct app_chan *c)
{
	region_destroy(&c->rings);
	region_destroy(&c->arena);
	if (c->shared_bell >= 0)
		close(c->shared_bell);
	if (c->map.app_bell_fd >= 0)
		close(c->map.app_bell_fd);
	if (c->map.stack_bell_fd >= 0)
		close(c->map.stack_bell_fd);
}

static int bells_open(struct app_chan *c)
{
	c->map.app_bell_fd = bell_open();
	c->map.stack_bell_fd = bell_open();
	if (c->map.app_bell_fd < 0 || c->map.stack_bell_fd < 0)
		return -EMFILE;
	c->shared_bell = bell_share(c->map.app_bell_fd);
	return c->shared_bell < 0 ? -EMFILE : 0;
}

/* arena: what the program brought, or -1. */
static int chan_make(struct app_chan *c, const struct chan_geometry *g,
		     const struct region *packets, int arena)
{
	int rc = region_create(&c->rings, "zstack-rings", chan_bytes(g), PROT_READ | PROT_WRITE);

	if (rc == 0)
		rc = arena >= 0
			     ? region_adopt(&c->arena, arena, g->arena_bytes)
			     : region_create(&c->arena, "zstack-arena", g->arena_bytes, PROT_READ);
	if (rc == 0)
		rc = bells_open(c);
	if (rc < 0)
		return rc;
	chan_format(c->rings.base, g);
	rc = chan_check(c->rings.base, c->rings.bytes, &c->hdr);
	if (rc < 0)
		return rc;
	c->map.base = c->rings.base;
	c->map.arena = c->arena.base;
	c->map.arena_bytes = g->arena_bytes;
	c->map.region[CHAN_REGION_ARENA].base = c->arena.base;
	c->map.region[CHAN_REGION_ARENA].bytes = g->arena_bytes;
	c->map.region[CHAN_REGION_PKT].base = packets->base;
	c->map.region[CHAN_REGION_PKT].bytes = packets->bytes;
	return 0;
}

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

int app_welcome(struct service *s, struct app *a, int sock, int control)
{
	const struct region *packets = domain_region(s, a->domain);
	struct attach_welcome w = {
		.n_cores = s->node.n,
		.free_ports_from = policy_free_ports_from(&s->cfg.policy.domain[a->domain]),
		.app = (uint32_t)a->id,
		.pkt_bytes = packets->bytes,
		.rings_bytes = a->chan[0].rings.bytes,
		.arena_bytes = a->chan[0].hdr.arena_bytes,
	};
	int fd[ATTACH_FDS_MAX];
	unsigned n = 0;

	fd[n++] = packets->fd;
	for (unsigned i = 0; i < s->node.n; i++) {
		struct app_chan *c = &a->chan[i];

		fd[n++] = c->rings.fd;
		fd[n++] = c->arena.fd;
		fd[n++] = c->shared_bell;
		fd[n++] = c->map.stack_bell_fd;
	}
	if (control >= 0)
		fd[n++] = control;
	return attach_send(sock, ATTACH_WELCOME, &w, sizeof(w), fd, n);
}

int app_make_channels(struct service *s, struct app *a, const struct chan_geometry *g,
		      const int *arena, unsigned n)
{
	int rc = 0;

	for (unsigned i = 0; i < s->node.n && rc == 0; i++)
		rc = chan_make(&a->chan[i], g, domain_region(s, a->domain), i < n ? arena[i] : -1);
	return rc;
}

/* ---- coming ---- */

void app_free(struct service *s, struct app *a)
{
	for (unsigned i = 0; i < s->node.n; i++)
		chan_free_memory(&a->chan[i]);
	if (a->sock >= 0)
		close(a->sock);
	if (a->pidfd >= 0)
		close(a->pidfd);
	list_del(&a->link);
	s->n_apps--;
	free(a);
}

__attribute__((format(printf, 4, 5))) static void refuse(struct service *s, struct app *a, int err,
							 const char *fmt, ...)
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

/* Programs of a user in states from first to last. */
unsigned app_programs(const struct service *s, uid_t uid, enum app_state first, enum app_state last)
{
	unsigned n = 0;

	LIST_EACH (l, &s->apps) {
		const struct app *a = container_of(l, struct app, link);

		n += a->uid == uid && a->state >= first && a->state <= last;
	}
	return n;
}

static void take_hello(struct service *s, struct app *a, struct attach_msg *m)
{
	const struct policy_domain *d = policy_find(&s->cfg.policy, a->uid);
	struct chan_geometry g;
	int rc = 0;

	if (d == NULL) {
		refuse(s, a, -EACCES, "user %u may not attach to this service", (unsigned)a->uid);
		return;
	}
	if (app_programs(s, a->uid, APP_MAPPING, APP_LEAVING) >= d->max_programs) {
		refuse(s, a, -EAGAIN, "user %u has %u programs attached, which is the limit",
		       (unsigned)a->uid, d->max_programs);
		return;
	}
	a->domain = (unsigned)(d - s->cfg.policy.domain);
	m->hello.program[sizeof(m->hello.program) - 1] = '\0';
	for (char *p = m->hello.program; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	strcpy(a->program, m->hello.program);
	if (geometry(d, &m->hello, &g) < 0) {
		refuse(s, a, -EINVAL, "%llu bytes of memory and %u sockets make no sense",
		       (unsigned long long)m->hello.arena_bytes, m->hello.max_sockets);
		return;
	}
	if (m->n_fds > 0 && g.arena_bytes != m->hello.arena_bytes) {
		refuse(s, a, -EPERM,
		       "the program has %llu MB of memory on each core from another service, and "
		       "may have %llu MB here: start it again",
		       (unsigned long long)m->hello.arena_bytes >> 20,
		       (unsigned long long)g.arena_bytes >> 20);
		return;
	}
	rc = app_make_channels(s, a, &g, m->fd, m->n_fds);
	if (rc == -EPERM) {
		refuse(s, a, rc, "the memory that the program brings is not a service's");
		return;
	}
	if (rc < 0) {
		refuse(s, a, rc, "no memory for another program: %s", strerror(-rc));
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

static void attach(struct node_core *core, void *arg)
{
	struct attach_call *call = arg;
	struct app_chan *c = &call->a->chan[call->core];
	struct rte_mempool *own = call->s->domain[call->a->domain].pool[call->core];
	struct sock_app_cfg cfg = {
		.map = &c->map,
		.hdr = &c->hdr,
		.own = own,
		.own_max = own != NULL ? pkt_pool_size(own) / 2 : 0,
		.owner = call->a->uid,
		.free_ports_from =
			policy_free_ports_from(&call->s->cfg.policy.domain[call->a->domain]),
		.alone = true,
		.id = (uint32_t)call->a->id,
		.parent = call->parent != NULL ? call->parent->chan[call->core].app : NULL,
	};

	call->rc = stack_attach(core->stack, &cfg, &c->app);
}

/* The program has mapped everything: nobody else will, writable. */
int app_seal(struct service *s, struct app *a)
{
	int rc = 0;

	for (unsigned i = 0; i < s->node.n && rc == 0; i++) {
		rc = region_seal(&a->chan[i].rings);
		if (rc == 0)
			rc = region_seal(&a->chan[i].arena);
	}
	return rc;
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

static void take_mapped(struct service *s, struct app *a)
{
	struct attach_head ready;
	int rc = app_seal(s, a);

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

/* ---- asking ---- */

struct grant_call {
	struct app_chan *chan;
	struct ip_addr addr;
	uint16_t port;
	int rc;
};

static void grant(struct node_core *core, void *arg)
{
	struct grant_call *g = arg;
	int rc = socks_grant(g->chan->app, &g->addr, g->port);

	(void)core;
	if (rc < 0)
		g->rc = rc;
}

/* The user is that of the message, as the kernel says it: programs change theirs after attaching.
 * Who has left the domain's users asks for nothing of theirs. */
static void take_grant(struct service *s, struct app *a, const struct attach_msg *m)
{
	const struct policy_domain *d = &s->cfg.policy.domain[a->domain];
	struct attach_granted out = {.id = m->grant.id, .res = -EACCES};
	struct grant_call g = {.port = m->grant.port};

	memcpy(&g.addr, m->grant.addr, sizeof(g.addr));
	if (m->has_cred && (m->cred.uid == 0 || policy_find(&s->cfg.policy, m->cred.uid) == d) &&
	    policy_may_bind(d, m->cred.uid, &g.addr, g.port)) {
		for (unsigned i = 0; i < s->node.n; i++) {
			g.chan = &a->chan[i];
			node_call(&s->node.core[i], grant, &g);
		}
		out.res = g.rc;
	}
	if (out.res < 0)
		s->n.grants_refused++;
	(void)!attach_send(a->sock, ATTACH_GRANTED, &out, sizeof(out), NULL, 0);
}

/* No program: a manager's connection, which begins with its first request. */
static void become_admin(struct service *s, struct app *a, const struct attach_msg *m)
{
	int sock = a->sock;

	service_unwatch(s, sock);
	a->sock = -1;
	app_free(s, a);
	admin_accept(s, sock, m);
}

static void take_message(struct service *s, struct app *a, struct attach_msg *m)
{
	switch (m->head.type) {
	case ATTACH_ADMIN:
		if (a->state == APP_NEW) {
			become_admin(s, a, m);
			return;
		}
		break;
	case ATTACH_RESUME:
		if (a->state == APP_NEW) {
			app_take_resume(s, a);
			return;
		}
		break;
	case ATTACH_HELLO:
		if (a->state == APP_NEW) {
			take_hello(s, a, m);
			return;
		}
		break;
	case ATTACH_MAPPED:
		if (a->state == APP_MAPPING) {
			take_mapped(s, a);
			return;
		}
		if (a->state == APP_FORKED) {
			app_take_child(s, a, m);
			return;
		}
		break;
	case ATTACH_GRANT:
		if (a->state == APP_READY) {
			take_grant(s, a, m);
			return;
		}
		break;
	case ATTACH_FORK:
		if (a->state == APP_READY) {
			app_take_fork(s, a);
			return;
		}
		break;
	case ATTACH_BYE:
		app_detach(s, a, true, "left");
		return;
	}
	app_detach(s, a, false, "made no sense and was detached");
}

/* Its connection ended, or brought nonsense. */
static void control_lost(struct service *s, struct app *a, int err)
{
	if (err == -EPROTONOSUPPORT && a->state == APP_NEW) {
		refuse(s, a, err,
		       "the program's libzstack and this zstackd (version %d) are of different "
		       "versions: update both",
		       ATTACH_VERSION);
		return;
	}
	if (a->state == APP_FORKED && err == -ECONNRESET) {
		app_detach(s, a, true, NULL); /* there is no child */
		return;
	}
	if (a->state != APP_READY || err != -ECONNRESET) {
		app_detach(s, a, false, "made no sense and was detached");
		return;
	}
	/* A process that ends closes its descriptors before its pidfd says so: see apps_reap(). */
	service_unwatch(s, a->sock);
	close(a->sock);
	a->sock = -1;
	a->lost = true;
}

static void control_ready(struct service *s, struct source *src, uint32_t events)
{
	struct app *a = container_of(src, struct app, control);
	struct attach_msg m;
	int rc = attach_recv(a->sock, &m, MSG_DONTWAIT);

	(void)events;
	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		control_lost(s, a, rc);
		return;
	}
	take_message(s, a, &m);
	attach_close_fds(&m); /* what is kept of them is a duplicate */
}

static void process_ready(struct service *s, struct source *src, uint32_t events)
{
	struct app *a = container_of(src, struct app, process);

	(void)events;
	s->n.died++;
	/* As the kernel closes the sockets of a process that ends: what it sent still arrives. */
	app_detach(s, a, true, "is gone");
}

/* ---- going ---- */

struct detach_call {
	struct app_chan *chan;
	bool orderly;
};

static void detach(struct node_core *core, void *arg)
{
	struct detach_call *d = arg;

	/* What it said last is still in the ring. */
	for (unsigned i = 0; d->orderly && i < LAST_TURNS && stack_poll(core->stack) != 0; i++)
		;
	stack_detach(core->stack, d->chan->app, d->chan->map.stack_bell_fd, d->orderly);
}

void app_detach(struct service *s, struct app *a, bool orderly, const char *why)
{
	if (a->state == APP_READY) {
		s->domain[a->domain].n_apps--;
		if (why != NULL)
			svc_log("%s (process %d, user %u) %s", a->program, (int)a->pid,
				(unsigned)a->uid, why);
	}
	if (a->sock >= 0) {
		service_unwatch(s, a->sock);
		close(a->sock);
		a->sock = -1;
	}
	if (a->pidfd >= 0) {
		service_unwatch(s, a->pidfd);
		close(a->pidfd);
		a->pidfd = -1;
	}
	a->state = APP_LEAVING;
	for (unsigned i = 0; i < s->node.n; i++) {
		struct detach_call d = {&a->chan[i], orderly};

		a->chan[i].home = a->chan[i].app == NULL;
		if (!a->chan[i].home)
			node_call(&s->node.core[i], detach, &d);
		a->chan[i].app = NULL;
	}
}

struct reap_call {
	struct service *s;
	unsigned core;
};

static void chan_home(struct service *s, unsigned core, const struct chan_map *map)
{
	LIST_EACH (l, &s->apps) {
		struct app_chan *c = &container_of(l, struct app, link)->chan[core];

		if (&c->map == map)
			c->home = true;
	}
}

static void reap(struct node_core *core, void *arg)
{
	struct reap_call *r = arg;
	const struct chan_map *map;

	while ((map = stack_reaped(core->stack)) != NULL)
		chan_home(r->s, r->core, map);
}

static bool all_home(const struct service *s, const struct app *a)
{
	for (unsigned i = 0; i < s->node.n; i++)
		if (!a->chan[i].home)
			return false;
	return true;
}

/* Does the process still map our memory? /proc says which files, by device and inode. */
bool app_still_maps(const struct app *a)
{
	char path[64], line[512], dev[16];
	unsigned long inode;
	struct stat st;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)a->pid);
	f = fopen(path, "re");
	if (f == NULL || fstat(a->chan[0].rings.fd, &st) < 0) {
		if (f != NULL)
			fclose(f);
		return f == NULL && errno != ENOENT && errno != ESRCH;
	}
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%*s %*s %*s %15s %lu", dev, &inode) == 2 &&
			inode == (unsigned long)st.st_ino && strstr(line, "zstack-rings") != NULL;
	fclose(f);
	return found;
}

static void look_after(struct service *s, struct app *a, int64_t now)
{
	if (a->state == APP_LEAVING && all_home(s, a)) {
		app_free(s, a);
		return;
	}
	if (a->state < APP_READY && now > a->deadline_ns)
		app_detach(s, a, false, NULL);
	else if (a->lost && a->state == APP_READY && !app_still_maps(a))
		app_detach(s, a, true, "is gone");
}

int64_t apps_reap(struct service *s)
{
	int64_t again = -1, now = node_now_ns();
	bool leaving = false;

	LIST_EACH (l, &s->apps)
		leaving |= container_of(l, struct app, link)->state == APP_LEAVING;
	for (unsigned i = 0; leaving && i < s->node.n; i++)
		node_call(&s->node.core[i], reap, &(struct reap_call){s, i});
	for (struct list *l = s->apps.next, *next; l != &s->apps; l = next) {
		next = l->next;
		look_after(s, container_of(l, struct app, link), now);
	}
	LIST_EACH (l, &s->apps) {
		const struct app *a = container_of(l, struct app, link);
		int64_t wait = a->state == APP_LEAVING		  ? REAP_NS
			       : a->state != APP_READY || a->lost ? LOOK_AGAIN_NS
								  : -1;

		if (wait >= 0 && (again < 0 || wait < again))
			again = wait;
	}
	return again;
}

void apps_free(struct service *s)
{
	while (!list_empty(&s->apps))
		app_free(s, container_of(s->apps.next, struct app, link));
}

/* ---- the first moment ---- */

static int who(struct app *a)
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
	len = sizeof(a->pidfd);
	if (getsockopt(a->sock, SOL_SOCKET, SO_PEERPIDFD, &a->pidfd, &len) < 0)
		a->pidfd = pidfd_open(a->pid, 0); /* before Linux 6.5 */
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
			  .control = {control_ready},
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
	rc = who(a);
	if (rc == 0 && app_programs(s, a->uid, APP_NEW, APP_MAPPING) > PENDING_MAX) {
		refuse(s, a, -EAGAIN, "user %u attaches more than %d programs at once",
		       (unsigned)a->uid, PENDING_MAX);
		return;
	}
	if (rc == 0)
		rc = service_watch(s, &a->control, a->sock);
	if (rc == 0)
		rc = service_watch(s, &a->process, a->pidfd);
	if (rc < 0)
		refuse(s, a, rc, "the process can't be watched: %s", strerror(-rc));
}
