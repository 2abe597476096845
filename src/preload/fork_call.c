/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ways to make a child that fork's handlers would not see (client/fork.c). A child that shares the
 * parent's memory closes and copies numbers before it executes a program: that would be done to the
 * parent's tables. So vfork is fork here: the parent does not wait, and sees none of the child's
 * writes. What _Fork leaves out, the handlers, is what the child's sockets need.
 *
 * clone() with memory of its own is fork with a function; with the parent's and a place to wait
 * (CLONE_VFORK) it gets its own as well. Threads are as they are.
 */
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "preload/preload.h"

pid_t vfork(void)
{
	return fork();
}

pid_t _Fork(void)
{
	return fork();
}

#define LIKE_FORK (0xff | CLONE_VFORK | CLONE_VM | CLONE_PARENT_SETTID)

/* Namespaces and the like are the kernel's affair, in a child that can be of no use with our
 * sockets: it has none. */
int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
	pid_t *ptid, pid;
	void *tls, *ctid;
	va_list ap;

	va_start(ap, arg);
	ptid = va_arg(ap, pid_t *);
	tls = va_arg(ap, void *);
	ctid = va_arg(ap, void *);
	va_end(ap);
	if ((flags & ~LIKE_FORK) != 0 || (flags & 0xff) != SIGCHLD || fn == NULL ||
	    (flags & (CLONE_VM | CLONE_VFORK)) == CLONE_VM)
		return real.clone(fn, stack, flags, arg, ptid, tls, ctid);
	pid = fork();
	if (pid == 0)
		_exit(fn(arg));
	if (pid > 0 && (flags & CLONE_PARENT_SETTID) != 0)
		*ptid = pid;
	return pid;
}
