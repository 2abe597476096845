/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How the leader (wait.c) sleeps where the stack has threads of its own: on the bells of all
 * channels and neighbours, on that of the others of this process, and on what tells that the
 * service goes or comes.
 *
 * All of these stand in an epoll set, which is slept on by one call; no bell is read afterwards,
 * since the set tells of each ringing once (EPOLLET). The set is made by the first sleep after
 * something of it changed. Where there is none (no descriptor was left, a sandbox leaves only
 * poll(2) and read(2), or there is no service), they are slept on one by one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "client/client_priv.h"

/* Each arming is answered by one ringing, and a bell has room for 512. bell_empty() reads 32. */
#define READ_EACH 32
#define TOLD_MAX  8 /* what one call tells; the rest is told by the next */
#define EVER_S	  (1 << 30)

enum told {
	BELL,
	NEWS, /* of the service, perhaps */
};

static bool rings_empty(void)
{
	for (unsigned i = 0; i < client.n_cores; i++) {
		struct chan_end *e = &client.core[i].end;

		if (chan_ready(&e->cq, sizeof(struct chan_cqe)) ||
		    chan_ready(&e->done, sizeof(uint32_t)))
			return false;
	}
	return links_idle();
}

static void bells_empty(void)
{
	for (unsigned i = 0; i < client.n_cores; i++)
		bell_empty(client.core[i].map->app_bell_fd);
	if (client.kick_fd >= 0)
		bell_empty(client.kick_fd);
}

struct timespec sleep_time(int64_t timeout_ns)
{
	if (timeout_ns < 0)
		return (struct timespec){.tv_sec = EVER_S};
	return (struct timespec){timeout_ns / 1000000000, timeout_ns % 1000000000};
}

/* ---- the set ---- */

static bool watch(int set, int fd, uint32_t events, enum told what)
{
	struct epoll_event e = {.events = events, .data.u32 = what};

	return fd < 0 || epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) == 0;
}

static bool watch_all(int set)
{
	struct pollfd news[REJOIN_FDS];
	unsigned n = client.transport.attached ? rejoin_poll(news) : 0;
	bool ok = watch(set, client.kick_fd, EPOLLIN | EPOLLET, BELL) && links_watch(set, BELL);

	for (unsigned i = 0; i < client.n_cores; i++)
		ok = ok && watch(set, client.core[i].map->app_bell_fd, EPOLLIN | EPOLLET, BELL);
	for (unsigned i = 0; i < n; i++)
		ok = ok && watch(set, news[i].fd, (uint32_t)news[i].events, NEWS);
	return ok;
}

void sleep_changed(void)
{
	if (client.sleep.set >= 0)
		close(client.sleep.set);
	client.sleep.set = -1;
}

void sleep_forget(void)
{
	client.sleep.set = -1;
}

/* Is there one, after all? */
static bool set_ready(void)
{
	if (client.frugal || client.lost || rejoin_resuming() || client.sleep.no_set)
		return false;
	if (likely(client.sleep.set >= 0))
		return true;
	client.sleep.set = fd_high(epoll_create1(EPOLL_CLOEXEC));
	if (client.sleep.set >= 0 && !watch_all(client.sleep.set))
		sleep_changed();
	return client.sleep.set >= 0;
}

/* 1 if there may be news of the service, 0, -errno. */
static int set_ask(const struct timespec *ts)
{
	struct epoll_event e[TOLD_MAX];
	int n = epoll_pwait2(client.sleep.set, e, TOLD_MAX, ts, NULL), news = 0;

	for (int i = 0; i < n; i++)
		news |= e[i].data.u32 == NEWS;
	return n < 0 ? -errno : news;
}

static int set_alone(int64_t timeout_ns, bool deaf)
{
	struct timespec ts = sleep_time(timeout_ns);
	int r;

	if (!deaf)
		interrupt_sleep(&ts);
	r = set_ask(&ts);
	if (!deaf && interrupt_woke() && r == 0)
		r = -EINTR;
	return r;
}

/* Beside what the waiter brings. */
static int set_beside(int64_t timeout_ns, struct waiter *w)
{
	static const struct timespec now = {0, 0};
	struct pollfd *set = &w->kernel->fd[w->kernel->n];
	int n;

	*set = (struct pollfd){.fd = client.sleep.set, .events = POLLIN};
	n = kwait_sleep(w->kernel, 1, timeout_ns, w->deaf);
	if (n > 0 && set->revents != 0)
		return set_ask(&now);
	return n < 0 ? n : 0;
}

static int sleep_on_set(int64_t timeout_ns, struct waiter *w)
{
	int r = w->kernel == NULL ? set_alone(timeout_ns, w->deaf) : set_beside(timeout_ns, w);

	if (likely(r >= 0 || r == -EINTR))
		return r;
	/* An old kernel; or the program closed our descriptors, and perhaps this is its own. */
	client.sleep.no_set = r == -ENOSYS;
	sleep_forget();
	return 1;
}

/* ---- one by one ---- */

struct sleep_on {
	struct pollfd own[KWAIT_ROOM];
	struct pollfd *fd; /* own, or behind those that the waiter brings */
	unsigned bells, n;
	bool one;	/* fd[0] stands for all */
	unsigned links; /* which is the neighbours', past the last: none */
	bool rung;	/* by them, perhaps */
};

static void sleep_on_each(struct sleep_on *o)
{
	o->bells = client.lost || rejoin_resuming() ? 0 : client.n_cores;
	for (unsigned i = 0; i < o->bells; i++)
		o->fd[i] = (struct pollfd){.fd = client.core[i].map->app_bell_fd, .events = POLLIN};
	if (client.kick_fd >= 0)
		o->fd[o->bells++] = (struct pollfd){.fd = client.kick_fd, .events = POLLIN};
	o->links = links_fd() >= 0 ? o->bells : KWAIT_ROOM;
	if (links_fd() >= 0)
		o->fd[o->bells++] = (struct pollfd){.fd = links_fd(), .events = POLLIN};
	o->n = o->bells;
	if (client.transport.attached)
		o->n += rejoin_poll(&o->fd[o->n]);
}

/* In a sandbox the limit of descriptors may be one, which is also that of poll(2): then an epoll
 * set, made before, is slept on in the place of all. */
static void sleep_on(struct sleep_on *o, struct kwait *k)
{
	o->fd = k != NULL ? &k->fd[k->n] : o->own;
	o->one = client.frugal && client.one_fd >= 0;
	if (!o->one) {
		sleep_on_each(o);
		return;
	}
	o->fd[0] = (struct pollfd){.fd = client.one_fd, .events = POLLIN};
	o->bells = o->n = 1;
}

int sleep_on_one(void)
{
	struct sleep_on o = {.fd = o.own};
	int set = fd_high(epoll_create1(EPOLL_CLOEXEC));

	sleep_on_each(&o);
	for (unsigned i = 0; set >= 0 && i < o.n; i++)
		(void)watch(set, o.fd[i].fd, (uint32_t)o.fd[i].events, BELL);
	return set;
}

/* 0; 1 if there may be news of the service; -EINTR. Outside. */
static int bells_sleep(struct sleep_on *o, int64_t timeout_ns, struct waiter *w)
{
	struct kwait none = {.fd = o->own}, *k = w->kernel != NULL ? w->kernel : &none;
	int n = kwait_sleep(k, o->n, timeout_ns, w->deaf), news = 0;

	if (n < 0)
		return n;
	if (o->one && n > 0) {
		bells_empty();
		o->rung = true;
		return 1;
	}
	for (unsigned i = 0; n > 0 && i < o->n; i++) {
		if (o->fd[i].revents == 0)
			continue;
		if (i >= o->bells || (o->fd[i].revents & POLLNVAL))
			news = 1;
		else if (i == o->links)
			o->rung = true;
		else
			bell_empty(o->fd[i].fd);
	}
	return news;
}

/* ---- both ---- */

/* Are tokens alone worth waking for? (chan.h, "Trifles") */
static uint32_t how_armed(bool wanted, const struct waiter *w)
{
	return wanted || w->anything || client.any != NULL ? BELL_ARMED : BELL_ARMED_NO_TRIFLES;
}

static int sleep_armed(int64_t timeout_ns, struct waiter *w)
{
	struct sleep_on o = {.rung = false};
	bool set = set_ready();
	int r;

	if (!set)
		sleep_on(&o, w->kernel);
	client_unlock();
	r = set ? sleep_on_set(timeout_ns, w) : bells_sleep(&o, timeout_ns, w);
	client_lock();
	w->woken |= w->kernel != NULL && w->kernel->ready;
	if (o.rung)
		links_empty();
	return r;
}

int sleep_on_bells(int64_t timeout_ns, struct waiter *w)
{
	bool any = false;
	int r = 0;

	if (++client.sleep.armed % READ_EACH == 0)
		bells_empty();
	for (unsigned i = 0; i < client.n_cores; i++) {
		struct core *c = &client.core[i];

		any |= c->wants_tokens;
		bell_arm_as(&c->end.sh->bells.app_armed, how_armed(c->wants_tokens, w));
	}
	/* A neighbour gives back to whichever core. */
	links_arm(how_armed(any, w));
	if (rings_empty())
		r = sleep_armed(timeout_ns, w);
	for (unsigned i = 0; i < client.n_cores; i++)
		bell_disarm(&client.core[i].end.sh->bells.app_armed);
	links_disarm();
	return r;
}
