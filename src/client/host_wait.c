/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Waiting for the client's things and the kernel's at once, for a host (host.h): links a waiter to
 * the first, as poll(2) does (poll.c), and hands it the second (kwait.c).
 */
#include <stdlib.h>

#include "client/client_priv.h"
#include "client/host.h"

#define FEW 32u /* of each that fit on the stack */

struct call {
	const struct host_wait *w;
	struct pollfd named[2]; /* w->epfd, w->fd */
	struct poll_link named_link[2], *link;
	struct kwait *kernel; /* NULL: nothing of the kernel's, and no mask */
};

static int ours_ready(struct call *c)
{
	return poll_look(c->named, 2, 0) + poll_look(c->w->pfd, c->w->n_pfd, 0);
}

/* -EBADF, when what was named is not there (any more). */
static int named_check(const struct host_wait *w)
{
	int err = 0;

	if (unlikely(client_ready() < 0))
		return -ENXIO;
	if ((w->epfd >= 0 && fd_epset(w->epfd, &err) == NULL) ||
	    (w->fd >= 0 && fd_csock(w->fd, &err) == NULL))
		return -EBADF;
	return 0;
}

/* Does the set have members in the kernel, which the caller did not know? */
static bool kernel_missed(const struct host_wait *w)
{
	int err;

	return w->epfd >= 0 && w->n_kernel == 0 && fd_epset(w->epfd, &err)->kernel;
}

static int look_at_kernel(struct call *c, const sigset_t *mask)
{
	struct waiter w;
	int r;

	waiter_init(&w);
	w.kernel = c->kernel;
	c->kernel->mask = mask;
	client.waiting++;
	r = kwait_look(&w);
	client.waiting--;
	c->kernel->mask = c->w->sigmask;
	return r;
}

static int sleep_once(struct call *c)
{
	struct waiter w;
	int r;

	waiter_init(&w);
	w.interruptible = true;
	w.kernel = c->kernel;
	poll_link(c->named, 2, c->named_link, &w, c->w->exclusive);
	poll_link(c->w->pfd, c->w->n_pfd, c->link, &w, false);
	r = client_wait(&w, c->w->deadline_ns);
	poll_unlink(c->w->n_pfd, c->link);
	poll_unlink(2, c->named_link);
	return r;
}

static int answer(const struct call *c, int ours, int r)
{
	int got = (ours > 0 ? HOST_OURS : 0) |
		  (c->kernel != NULL && c->kernel->ready ? HOST_KERNEL : 0);

	return got != 0 ? got : r == -ETIMEDOUT ? 0 : r;
}

/* A sleep begins with a look. */
static bool looks_first(const struct call *c, int ours)
{
	if (c->kernel == NULL)
		return false;
	return c->w->n_pfd > 0 || (ours == 0 && c->w->deadline_ns == 0);
}

static int wait_inside(struct call *c)
{
	int ours, r = named_check(c->w);

	if (r < 0)
		return r;
	client_turn();
	ours = ours_ready(c);
	if (looks_first(c, ours)) {
		r = look_at_kernel(c, ours == 0 ? c->w->sigmask : NULL);
		/* Meanwhile another thread may have taken what came for this one, who was not yet
		 * waiting. */
		if (ours == 0)
			ours = ours_ready(c);
	}
	while (ours == 0 && r == 0 && c->w->deadline_ns != 0) {
		r = named_check(c->w);
		if (r < 0)
			return r;
		if (kernel_missed(c->w))
			return HOST_AGAIN;
		if (c->kernel != NULL && c->kernel->ready)
			break;
		r = sleep_once(c);
		ours = ours_ready(c);
		/* Of poll(2) all that is so is told. */
		if (ours > 0 && c->kernel != NULL && !c->kernel->ready && c->w->n_pfd > 0)
			(void)!look_at_kernel(c, NULL);
	}
	return answer(c, ours, r);
}

/* Room for what the wait needs: on the stack, or allocated. */
static int wait_with(struct call *c, struct kwait *k, struct pollfd *few)
{
	const struct host_wait *w = c->w;
	struct pollfd *fds = few;
	int r = -ENOMEM;

	if (w->n_kernel > FEW)
		fds = malloc((w->n_kernel + KWAIT_ROOM) * sizeof(*fds));
	if (fds != NULL && c->link != NULL) {
		*k = (struct kwait){.fd = fds,
				    .n = w->n_kernel,
				    .mask = w->sigmask,
				    .looked_ns = w->looked_ns != NULL ? *w->looked_ns : now_ns()};
		for (unsigned i = 0; i < k->n; i++)
			fds[i] = (struct pollfd){w->kernel[i].fd, w->kernel[i].events, 0};
		client_lock();
		r = wait_inside(c);
		client_unlock();
		for (unsigned i = 0; i < k->n; i++)
			w->kernel[i].revents = fds[i].revents;
		if (w->looked_ns != NULL)
			*w->looked_ns = k->looked_ns;
	}
	if (fds != few)
		free(fds);
	return r;
}

int host_wait(const struct host_wait *w)
{
	struct pollfd few[FEW + KWAIT_ROOM];
	struct poll_link few_links[FEW];
	struct kwait k;
	struct call c = {
		.w = w,
		.named = {{.fd = w->epfd, .events = POLLIN}, {.fd = w->fd, .events = POLLIN}},
		.link = few_links,
		.kernel = w->n_kernel > 0 || w->sigmask != NULL ? &k : NULL,
	};
	int r;

	/* A stack that the program runs itself is slept on in another way (wait.c). */
	if (c.kernel != NULL && client.running && !client.threaded)
		return -EOPNOTSUPP;
	if (w->n_pfd > FEW)
		c.link = malloc(w->n_pfd * sizeof(*c.link));
	r = wait_with(&c, &k, few);
	if (c.link != few_links)
		free(c.link);
	return r;
}

void host_accept_left(int fd)
{
	struct csock *s;
	int err;

	client_lock();
	s = fd_csock(fd, &err);
	if (s != NULL)
		shared_exclusive_left(s);
	client_unlock();
}

int host_epoll_kernel(int epfd, bool has)
{
	struct epset *e;
	int r = 0;

	client_lock();
	e = fd_epset(epfd, &r);
	if (e != NULL) {
		e->kernel = has;
		if (has)
			wlink_wake(e->waiters);
	}
	client_unlock();
	return r;
}
