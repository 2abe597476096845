/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleeping (DESIGN §3.12). Everything that can make work is armed first, then all rings are looked
 * at once more, and only then does the thread sleep: so nothing that comes in between is missed.
 *
 *	a frame         the port's interrupt or socket, else a timer of at most 1 ms
 *	the kernel      the descriptor of its side of a shared port
 *	a command       the doorbell of each application
 *	another core    the eventfd of stack_wake
 *	a deadline      the earliest of the protocols'
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "chan/bell.h"
#include "stack/stack_priv.h"

#define BLIND_NS 1000000 /* longest sleep when a port can't wake us */

enum { WAKE_PORT, WAKE_DRAIN };

static int64_t least(int64_t a, uint64_t deadline, uint64_t now)
{
	int64_t left;

	if (deadline == UINT64_MAX)
		return a;
	left = deadline > now ? (int64_t)(deadline - now) : 0;
	return a < 0 || left < a ? left : a;
}

static int64_t time_left(struct stack *s, int64_t limit_ns)
{
	limit_ns = least(limit_ns, tcp_deadline(s->tcp), s->now);
	limit_ns = least(limit_ns, eth_deadline(s->eth), s->now);
	limit_ns = least(limit_ns, ip_deadline(s->ip), s->now);
	limit_ns = least(limit_ns, socks_deadline(s->socks), s->now);
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		if (dev_wake_kind(s->cfg.port[i].dev, s->cfg.port[i].queue) == DEV_WAKE_TIMER &&
		    (limit_ns < 0 || limit_ns > BLIND_NS))
			limit_ns = BLIND_NS;
	return limit_ns;
}

static int watch(struct stack *s, int op, int fd, unsigned kind)
{
	struct epoll_event ev = {.events = EPOLLIN};

	ev.data.u64 = (uint64_t)kind << 32 | (uint32_t)fd;
	return epoll_ctl(s->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

/* A port's descriptor may be another one after its peer went and came back, and may have the number
 * of one that was closed: so it is entered anew before each sleep. */
static void port_watch(struct stack *s, unsigned port, int fd)
{
	int *was = &s->port_fd[port];

	if (*was >= 0 && *was != fd)
		(void)watch(s, EPOLL_CTL_DEL, *was, WAKE_PORT);
	*was = fd;
	if (fd >= 0 && watch(s, EPOLL_CTL_MOD, fd, WAKE_PORT) == -ENOENT)
		(void)watch(s, EPOLL_CTL_ADD, fd, WAKE_PORT);
}

static void ports_arm(struct stack *s)
{
	for (unsigned i = 0; i < s->cfg.n_ports; i++) {
		const struct stack_port *p = &s->cfg.port[i];

		dev_wake_arm(p->dev, p->queue);
		port_watch(s, i, dev_wake_fd(p->dev, p->queue));
	}
}

static void ports_disarm(struct stack *s)
{
	for (unsigned i = 0; i < s->cfg.n_ports; i++)
		dev_wake_disarm(s->cfg.port[i].dev, s->cfg.port[i].queue);
}

/* Level-triggered wake-ups of ours are emptied; ports' are the PMD's to read. A port in trouble is
 * looked at when it is next asked for its buffers. */
static void woken(struct stack *s, const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		if ((ev[i].data.u64 >> 32) == WAKE_DRAIN)
			bell_drain((int)(uint32_t)ev[i].data.u64);
		else if (ev[i].events & (EPOLLERR | EPOLLHUP))
			s->reclaim = true;
	}
}

/* The caller's descriptor stays entered from one sleep to the next: a stack that looks at its ports
 * a thousand times a second has no system call to spare. */
static int extra_watch(struct stack *s, int fd)
{
	int rc = 0;

	if (fd == s->extra_fd)
		return 0;
	if (s->extra_fd >= 0)
		(void)watch(s, EPOLL_CTL_DEL, s->extra_fd, WAKE_PORT);
	s->extra_fd = -1;
	if (fd >= 0)
		rc = watch(s, EPOLL_CTL_ADD, fd, WAKE_PORT);
	if (rc == 0)
		s->extra_fd = fd;
	return rc;
}

static int sleep_on(struct stack *s, int64_t ns, int extra_fd)
{
	struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
	struct epoll_event ev[16];
	int n, rc = extra_watch(s, extra_fd);

	if (rc < 0)
		return rc;
	n = epoll_pwait2(s->epoll_fd, ev, array_size(ev), ns < 0 ? NULL : &ts, NULL);
	rc = n < 0 ? -errno : 0;
	if (n > 0)
		woken(s, ev, n);
	return rc;
}

int stack_wait(struct stack *s, int64_t timeout_ns, int extra_fd)
{
	int rc = 0;
	int64_t ns;

	ports_arm(s);
	group_arm(s);
	/* socks_arm looks at the applications' rings itself. */
	if (!socks_arm(s->socks) && stack_poll(s) == 0 && !group_pending(s)) {
		ns = time_left(s, timeout_ns);
		/* Neither room in a full port nor buffers that it has sent are announced. */
		if ((stack_tx_pending(s) || s->reclaim) && (ns < 0 || ns > BLIND_NS))
			ns = BLIND_NS;
		s->sleeps++;
		if (ns != 0)
			rc = sleep_on(s, ns, extra_fd);
	}
	socks_disarm(s->socks);
	ports_disarm(s);
	return rc;
}

void stack_wake(struct stack *s)
{
	bell_wake(s->wake_fd);
}

int stack_wait_init(struct stack *s)
{
	for (unsigned i = 0; i < STACK_PORTS_MAX; i++)
		s->port_fd[i] = -1;
	s->extra_fd = -1;
	s->wake_fd = bell_open();
	if (s->wake_fd < 0)
		return s->wake_fd;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return -errno;
	return watch(s, EPOLL_CTL_ADD, s->wake_fd, WAKE_DRAIN);
}

void stack_wait_fini(struct stack *s)
{
	if (s->epoll_fd >= 0)
		close(s->epoll_fd);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
}

int stack_wait_bell(struct stack *s, int fd)
{
	return watch(s, EPOLL_CTL_ADD, fd, WAKE_DRAIN);
}

void stack_unwait_bell(struct stack *s, int fd)
{
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int stack_wait_kernel(struct stack *s, int fd)
{
	return watch(s, EPOLL_CTL_ADD, fd, WAKE_PORT);
}
