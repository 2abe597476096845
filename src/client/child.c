/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The child of a fork (fork.c). Its application is there, with its sockets in it, but most children
 * use none or few of them: they execute another program, write a file, or serve one connection. So
 * it is *born*, as a client of the service, when it first takes the client's lock: it maps its
 * memory, makes tables, gives its sockets their new names in them; MAPPED, READY. Until then it
 * has descriptors, and the parent's tables to look at; it may close (DROP) and copy numbers, and
 * executes another program by handing over what it has itself (exec.c).
 *
 * What being born takes are system calls on descriptors that it has, and memory: it may have
 * changed its user or its root directory before. A host has it born before what would keep it from
 * that, a sandbox or a limit (host_settle()). A program without a host is born at once: it may
 * close all descriptors that it does not know.
 *
 * A service that went away meanwhile is found to be gone when the child is born, and is missed as
 * by every other program (rejoin.c).
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/client_priv.h"

static struct attach_msg welcome;

/* Nothing of it is the parent's any more, and it has no name yet. It keeps its place, so whatever
 * points to it still does. */
void csock_is_childs(struct csock *s)
{
	s->head = s->tail = s->link = s->cookie_head = s->cookie_tail = NIL;
	s->sid = s->unread = s->inflight = s->ticket = 0;
	if (s->state == CSOCK_LISTEN)
		s->taken = 0;
	else
		errqueue_empty(s);
	s->lease = 0;
	s->waiters = NULL;
	s->flags &= ~(uint32_t)(CSOCK_STARVED | CSOCK_NOSPACE | CSOCK_TOCLOSE | CSOCK_URG |
				CSOCK_URG_READ | CSOCK_HINT | CSOCK_COOKIES | CSOCK_ERRQUEUE |
				CSOCK_LINKED | CSOCK_LINK | CSOCK_OFFER | CSOCK_EXCLUSIVE);
}

static bool take_over(struct csock *s)
{
	struct core *c = csock_core(s);

	csock_is_childs(s);
	if (s->child_sid == 0 || csock_name(c, s->child_sid, s) == NULL)
		return false;
	s->flags |= CSOCK_SHARED;
	s->sid = s->child_sid;
	return true;
}

/* A descriptor: the socket, or all of its group, or it is closed in the child: what has no name is
 * freed by rows_sweep(). */
static void inherit_fd(int fd, struct csock *s)
{
	struct group *g = s->group;
	bool whole = g != NULL || take_over(s);

	for (unsigned i = 0; g != NULL && i < g->n; i++)
		whole &= take_over(g->sock[i]);
	if (g != NULL) {
		g->users = 0;
		g->growing = false;
	}
	if (whole) {
		shared_exclusive(s);
		return;
	}
	for (unsigned i = 0; g != NULL && i < g->n; i++) {
		if (g->sock[i]->sid != 0)
			csock_core(g->sock[i])->row[sid_index(g->sock[i]->sid)] = 0;
	}
	epitem_forget(s);
	fd_lose(fd);
}

static void descriptors_inherit(void)
{
	struct csock *s;
	struct epset *e;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		s = fd_csock(fd, &err);
		if (s != NULL) {
			if (s->fd == fd)
				inherit_fd(fd, s);
			continue;
		}
		e = fd_epset(fd, &err);
		if (e != NULL)
			epset_alone(e);
	}
}

static bool has_name(const struct csock *s)
{
	return csock_find(csock_core(s), s->sid) == s;
}

void rows_sweep(bool (*stays)(const struct csock *s))
{
	client.free_sock = NIL;
	for (unsigned z = 0; z < client.n_zones; z++) {
		for (uint32_t i = 0; i < client.top[z]; i++) {
			struct csock *s = &client.sock[z * client.zone_rows + i];

			if (stays(s))
				continue;
			/* One that was closed may still have had something to say over a link. */
			s->flags &= ~(uint32_t)(CSOCK_LINKED | CSOCK_LINK | CSOCK_OFFER);
			s->sid = 0;
			csock_free(s);
		}
	}
}

/* The forking thread is the only one here: whoever waited, waits in the parent. */
static void forget_threads(void)
{
	client_lock_reset();
	client.leader = NULL;
	client.asleep = client.kicked = false;
	client.waiting = 0;
	client.any = client.absent = NULL;
	list_init(&client.followers);
	kwait_forget();
	sleep_changed();
	if (client.kick_fd >= 0)
		close(client.kick_fd);
	client.kick_fd = client.one_fd = -1;
}

static int child_open(struct core *fresh)
{
	struct transport *t = &client.transport;
	int r;

	client.kick_fd = fd_high(bell_open());
	r = attach_child(&t->service, &welcome, t->map);
	for (unsigned i = 0; i < client.n_cores && r == 0; i++) {
		r = core_init(&fresh[i], i, &t->map[i]);
		fresh[i].sock = client.sock;
		if (r == 0)
			r = core_rows_init(&fresh[i]);
	}
	return r;
}

static void child_has_none(void)
{
	if (client.running)
		fd_lose_all();
	client.running = false;
	fd_fini();
}

/* ---- being born ---- */

static void tables_take(const struct core *fresh)
{
	lost_forget();
	links_forget();
	for (unsigned i = 0; i < client.n_tables; i++) {
		core_fini(&client.core[i]);
		if (i < client.n_cores)
			client.core[i] = fresh[i];
	}
	client.n_tables = client.n_cores;
	descriptors_inherit();
	rows_sweep(has_name);
}

void child_born(void)
{
	static struct core fresh[EMBED_CORES_MAX];

	atomic_store(&lock_unborn, false);
	if (child_open(fresh) < 0)
		child_has_none();
	else
		tables_take(fresh);
}

/* What is open in the meantime is out of the program's way, and nothing of the parent's is held. */
static void wait_to_be_born(struct attach_msg *m)
{
	attach_abandon(&client.transport.service, client.transport.map);
	welcome = *m;
	for (unsigned i = 0; i < m->n_fds; i++)
		welcome.fd[i] = fd_take(m, i);
	atomic_store(&lock_unborn, true);
}

void child_orphan(bool refused)
{
	forget_threads();
	if (orphan_begin(refused) < 0)
		child_has_none();
}

void child_begin(struct attach_msg *m)
{
	if (!client.running || !client.transport.attached) {
		client_lock_reset();
		child_has_none();
		return;
	}
	forget_threads();
	if (m == NULL) {
		child_has_none();
		return;
	}
	wait_to_be_born(m);
	if (!fd_is_hosted())
		child_born();
}

/* ---- before ---- */

bool child_unborn(void)
{
	return unlikely(atomic_load_explicit(&lock_unborn, memory_order_relaxed));
}

const struct attach_msg *child_welcome(void)
{
	return &welcome;
}

static void drop(struct attach_drop *d, struct csock *s)
{
	d->sid[s->core] = s->child_sid;
	s->child_sid = 0;
}

/* The row is free when the child is born. */
bool child_close(int fd)
{
	struct attach_drop d = {.pad = 0};
	int err, other;
	struct csock *s = fd_csock(fd, &err);

	if (s == NULL)
		return false;
	other = fd_free(fd);
	if (other >= 0) {
		s->fd = other;
		return true;
	}
	epitem_forget(s);
	for (unsigned i = 0; i < (s->group != NULL ? s->group->n : 1); i++)
		drop(&d, s->group != NULL ? s->group->sock[i] : s);
	(void)!attach_send(welcome.fd[welcome.n_fds - 1], ATTACH_DROP, &d, sizeof(d), NULL, 0);
	return true;
}
