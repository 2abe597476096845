/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Threads that the library itself needs: those of the stack of --embedded and of DPDK, which are
 * made while a thread of the program is inside. They are inside for good: what they call are the
 * C library's own functions, not the hooks, and they see none of the program's signals.
 */
#include <stdlib.h>

#include "preload/preload.h"

struct begin {
	void *(*run)(void *arg);
	void *arg;
};

static void *run_inside(void *arg)
{
	struct begin b = *(struct begin *)arg;

	free(arg);
	enter();
	return b.run(b.arg);
}

static int create_inside(pthread_t *t, const pthread_attr_t *attr, const struct begin *want)
{
	struct begin *b = malloc(sizeof(*b));
	sigset_t all, old;
	int r;

	if (b == NULL)
		return EAGAIN;
	*b = *want;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = real.pthread_create(t, attr, run_inside, b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		free(b);
	return r;
}

int pthread_create(pthread_t *t, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	if (likely(!is_inside()))
		return real.pthread_create(t, attr, run, arg);
	return create_inside(t, attr, &(struct begin){run, arg});
}
