/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What epoll sets hold. A set is the kernel's until the first member of ours comes; then the client
 * has a set of the same number beside it, and each member is where it is looked after:
 *
 *	a descriptor of the kernel's, undecided	  the kernel's set
 *	a socket of ours			  the client's
 *	one that is both			  both: the twin in the kernel's
 *	an epoll set				  the kernel's; both, once it has members of ours
 *
 * What may move is remembered (struct member), since neither side tells what it holds: undecided
 * sockets, those that are both, and sets.
 *
 * All is under number_lock(), but counters.
 */
#include <stdlib.h>

#include "preload/epoll_set.h"

#define BUCKETS 256u

static struct eset *unused;

/* By number. */
struct member {
	struct member *next;
	struct eset *set;
	int fd;
	struct epoll_event ev;
};
static struct member *members[BUCKETS];
static _Atomic unsigned n_members;

struct eset *eset_of(int epfd)
{
	return atomic_load_explicit(&number_known(epfd)->set, memory_order_acquire);
}

/* ---- sets ---- */

/* In a child of fork only the thread that forked is left. */
static void child(void)
{
	for (int fd = fd_special(0); fd >= 0; fd = fd_special(fd + 1)) {
		if (eset_of(fd) != NULL)
			atomic_store(&eset_of(fd)->asleep, 0);
	}
}

static struct eset *eset_alloc(int epfd)
{
	static bool watched;
	struct eset *e = unused;

	if (number_room(epfd) < 0)
		return NULL;
	if (!watched)
		pthread_atfork(NULL, NULL, child);
	watched = true;
	if (e != NULL)
		unused = e->next_free;
	else
		e = malloc(sizeof(*e));
	if (e == NULL)
		return NULL;
	*e = (struct eset){.fd = epfd, .kick = -1};
	atomic_store(&number_at(epfd)->set, e);
	return e;
}

int eset_new(int epfd)
{
	int r = 0;

	/* One that takes none of ours. */
	if ((unsigned)epfd >= FD_KINDS)
		return 0;
	number_lock();
	number_fresh(epfd);
	if (eset_alloc(epfd) != NULL)
		fd_set_kind(epfd, FD_EVENTS);
	else
		r = -ENOMEM;
	number_unlock();
	return r;
}

void epoll_copied(int from, int to)
{
	atomic_store(&number_at(to)->set, eset_of(from));
}

/* ---- members ---- */

static struct member **member_find(const struct eset *e, int fd)
{
	struct member **m = &members[(unsigned)fd % BUCKETS];

	while (*m != NULL && ((*m)->set != e || (*m)->fd != fd))
		m = &(*m)->next;
	return m;
}

static void member_drop(struct member **at)
{
	struct member *m = *at;

	if (m == NULL)
		return;
	*at = m->next;
	free(m);
	n_members--;
}

static int member_keep(struct eset *e, int fd, const struct epoll_event *ev)
{
	struct member **at = member_find(e, fd), *m = *at;

	if (m == NULL) {
		m = malloc(sizeof(*m));
		if (m == NULL)
			return -ENOMEM;
		*m = (struct member){.set = e, .fd = fd};
		*at = m;
		n_members++;
	}
	m->ev = *ev;
	return 0;
}

static bool is_epoll(enum fd_kind kind)
{
	return kind == FD_EVENTS || kind == FD_EPOLL;
}

/* ---- both sides ---- */

static int kernel_ctl(struct eset *e, int op, int fd, struct epoll_event *ev)
{
	if (real.epoll_ctl(e->fd, op, fd, ev) < 0)
		return -errno;
	eset_kernel_ctl(e, op);
	return 0;
}

void eset_kernel_ctl(struct eset *e, int op)
{
	if (op == EPOLL_CTL_ADD && atomic_fetch_add(&e->kernel, 1) == 0 &&
	    fd_kind(e->fd) == FD_EPOLL)
		(void)host_epoll_kernel(e->fd, true);
	if (op == EPOLL_CTL_DEL && atomic_fetch_sub(&e->kernel, 1) == 1 &&
	    fd_kind(e->fd) == FD_EPOLL)
		(void)host_epoll_kernel(e->fd, false);
}

static int ours_need(struct eset *e);

static int client_ctl(struct eset *e, int op, int fd, struct epoll_event *ev)
{
	int r = op == EPOLL_CTL_ADD ? ours_need(e) : 0;

	if (r < 0)
		return r;
	return fd_kind(e->fd) == FD_EPOLL ? zs_epoll_ctl(e->fd, op, fd, ev) : -ENOENT;
}

static int both_del(struct eset *e, int fd, int kernel_fd)
{
	int kernel = kernel_ctl(e, EPOLL_CTL_DEL, kernel_fd, NULL);
	int client = client_ctl(e, EPOLL_CTL_DEL, fd, NULL);

	if (client < 0)
		return kernel;
	e->doubles--;
	return 0;
}

/* A member of both: in one or in none. */
static int both_ctl(struct eset *e, int op, int fd, int kernel_fd, struct epoll_event *ev)
{
	int r;

	if (op == EPOLL_CTL_DEL)
		return both_del(e, fd, kernel_fd);
	r = kernel_ctl(e, op, kernel_fd, ev);
	if (r < 0)
		return r;
	r = client_ctl(e, op, fd, ev);
	if (op != EPOLL_CTL_ADD)
		return r;
	if (r == 0)
		e->doubles++;
	else
		(void)!kernel_ctl(e, EPOLL_CTL_DEL, kernel_fd, NULL);
	return r;
}

/* Where a member of this kind belongs. */
static int member_ctl(struct eset *e, int op, int fd, struct epoll_event *ev)
{
	switch (fd_kind(fd)) {
	case FD_SOCKET:
		return client_ctl(e, op, fd, ev);
	case FD_BOTH:
		return both_ctl(e, op, fd, twin_of(fd), ev);
	case FD_EPOLL:
		return both_ctl(e, op, fd, fd, ev);
	case FD_OWN:
		return -EBADF;
	default:
		return kernel_ctl(e, op, fd, ev);
	}
}

/* ---- the first member of ours ---- */

static int set_at(int epfd)
{
	int r = host_epoll_at(epfd);

	if (r == -EBUSY) {
		/* What had the number was closed past the hooks. */
		zs_close(epfd);
		r = host_epoll_at(epfd);
	}
	return r;
}

/* Sets that hold this one get their item of it on our side, too. */
static int outer_tell(int fd)
{
	int r = 0;

	for (struct member *m = members[(unsigned)fd % BUCKETS]; m != NULL && r == 0; m = m->next) {
		if (m->fd != fd)
			continue;
		r = client_ctl(m->set, EPOLL_CTL_ADD, fd, &m->ev);
		m->set->doubles += r == 0;
	}
	return r;
}

static int ours_need(struct eset *e)
{
	int n = e->fd, r;

	if (fd_kind(e->fd) == FD_EPOLL)
		return 0;
	r = set_at(e->fd);
	if (r < 0)
		return r;
	do {
		if (n != e->fd)
			(void)!host_dup(e->fd, n);
		fd_set_kind(n, FD_EPOLL);
		n = number_next(n);
	} while (n != e->fd);
	(void)host_epoll_kernel(e->fd, e->kernel > 0);
	atomic_thread_fence(memory_order_seq_cst);
	if (e->asleep > 0)
		eset_kick(e);
	if (e->asleep == 0)
		eset_unkick(e);
	r = 0;
	do {
		r = r == 0 ? outer_tell(n) : r;
		n = number_next(n);
	} while (n != e->fd);
	return r;
}

/* A set that came in another way (exec, SCM_RIGHTS): is it one? -ENOMEM: it is. */
static int eset_adopt(int epfd, int placeholder)
{
	struct epoll_event ev = {.events = 0};
	struct eset *e;

	if ((unsigned)epfd >= FD_KINDS || fd_kind(epfd) != FD_KERNEL)
		return 0;
	/* No set of the kernel's has a placeholder. EINVAL: it is none. */
	if (real.epoll_ctl(epfd, EPOLL_CTL_MOD, placeholder, &ev) == 0 || errno != ENOENT)
		return 0;
	e = eset_alloc(epfd);
	if (e == NULL)
		return -ENOMEM;
	/* What it has is not known. */
	e->kernel = 1;
	number_fresh(epfd);
	fd_set_kind(epfd, FD_EVENTS);
	return 0;
}

/* ---- epoll_ctl ---- */

static bool is_remembered(enum fd_kind kind)
{
	return kind == FD_UNDECIDED || kind == FD_BOTH || is_epoll(kind);
}

static int ctl_locked(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct eset *e = eset_of(epfd);
	enum fd_kind kind = fd_kind(fd);
	int r = e == NULL && fd_is_ours(fd) ? eset_adopt(epfd, fd) : 0;

	if (r < 0)
		return r;
	e = eset_of(epfd);
	if (e == NULL)
		return real.epoll_ctl(epfd, op, fd, ev) < 0 ? -errno : 0;
	if (e == eset_of(fd))
		return -EINVAL;
	/* In no set without room to remember it. */
	if (op == EPOLL_CTL_ADD && is_remembered(kind) && *member_find(e, fd) != NULL)
		return -EEXIST;
	if (op == EPOLL_CTL_ADD && is_remembered(kind) && member_keep(e, fd, ev) < 0)
		return -ENOMEM;
	r = member_ctl(e, op, fd, ev);
	e->oneshots |= is_remembered(kind) && ev != NULL && (ev->events & EPOLLONESHOT) != 0;
	if (is_remembered(kind) &&
	    ((op == EPOLL_CTL_ADD && r < 0) || (op == EPOLL_CTL_DEL && r == 0)))
		member_drop(member_find(e, fd));
	if (op == EPOLL_CTL_MOD && r == 0 && is_remembered(kind) && *member_find(e, fd) != NULL)
		(*member_find(e, fd))->ev = *ev;
	return r;
}

int eset_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	int r;

	if (op != EPOLL_CTL_DEL && ev == NULL)
		return -EFAULT;
	if (fd_kind(epfd) == FD_OWN || fd_kind(fd) == FD_OWN)
		return -EBADF;
	number_lock();
	r = ctl_locked(epfd, op, fd, ev);
	number_unlock();
	return r;
}

/* ---- what moves ---- */

void epoll_moving(int fd)
{
	for (struct member *m = members[(unsigned)fd % BUCKETS]; m != NULL; m = m->next)
		if (m->fd == fd)
			(void)!member_ctl(m->set, EPOLL_CTL_DEL, fd, NULL);
}

void epoll_moved(int fd)
{
	struct member **at = &members[(unsigned)fd % BUCKETS];

	while (*at != NULL) {
		struct member *m = *at;

		if (m->fd == fd && member_ctl(m->set, EPOLL_CTL_ADD, fd, &m->ev) < 0)
			say("fd %d left epoll set %d: no room for it", fd, m->set->fd);
		if (m->fd == fd && !is_remembered(fd_kind(fd)))
			member_drop(at);
		else
			at = &m->next;
	}
}

/* The number is closed. Its items go with it where no other number stands for the same. */
static void members_forget(int fd)
{
	struct member **at = &members[(unsigned)fd % BUCKETS];
	bool alone = number_alone(fd), both = fd_kind(fd) == FD_BOTH || fd_kind(fd) == FD_EPOLL;

	while (*at != NULL) {
		struct member *m = *at;

		if (m->fd != fd) {
			at = &m->next;
			continue;
		}
		if (alone && both)
			m->set->doubles--;
		member_drop(at);
	}
}

static void set_forget(struct eset *e, int epfd)
{
	atomic_store(&number_at(epfd)->set, NULL);
	if (!number_alone(epfd)) {
		if (e->fd == epfd)
			e->fd = number_next(epfd);
		return;
	}
	for (unsigned b = 0; b < BUCKETS && n_members > 0; b++) {
		struct member **at = &members[b];

		while (*at != NULL) {
			if ((*at)->set == e)
				member_drop(at);
			else
				at = &(*at)->next;
		}
	}
	eset_unkick(e);
	/* A thread that still sleeps in it keeps it for good. */
	if (e->asleep > 0)
		return;
	e->next_free = unused;
	unused = e;
}

void epoll_forget(int fd)
{
	struct eset *e = eset_of(fd);

	if (n_members > 0)
		members_forget(fd);
	if (e != NULL)
		set_forget(e, fd);
}

/* ---- events of what is on both sides ---- */

static void disarm(struct eset *e, const struct epoll_event *ev)
{
	struct epoll_event off = {.data = ev->data};

	number_lock();
	for (unsigned b = 0; b < BUCKETS; b++) {
		for (struct member *m = members[b]; m != NULL; m = m->next) {
			if (m->set == e && m->ev.data.u64 == ev->data.u64 &&
			    (m->ev.events & EPOLLONESHOT))
				(void)!member_ctl(e, EPOLL_CTL_MOD, m->fd, &off);
		}
	}
	number_unlock();
}

int eset_join(struct eset *e, struct epoll_event *ev, int ours, int n)
{
	int kept = ours;

	if (likely(atomic_load_explicit(&e->doubles, memory_order_relaxed) == 0))
		return n;
	for (int i = ours; i < n; i++) {
		int k = 0;

		/* What has the same data is the same for the program. */
		while (k < ours && ev[k].data.u64 != ev[i].data.u64)
			k++;
		if (k < ours)
			ev[k].events |= ev[i].events;
		else
			ev[kept++] = ev[i];
	}
	for (int i = 0; i < kept && e->oneshots; i++)
		disarm(e, &ev[i]);
	return kept;
}
