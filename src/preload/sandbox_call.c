/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program puts itself into a sandbox by seccomp, and is killed from then on for a system call
 * that it does not expect of itself. What the library needs for sockets that are there is read,
 * write, futex, poll and ppoll, which are what a program with sockets needs.
 */
#include <sys/prctl.h>
#include <sys/resource.h>

#include "preload/preload.h"

void sandboxed(void)
{
	if (started())
		host_frugal();
}

#define FEW 64
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one and the same here");

static void limited(int what, const struct rlimit *limit)
{
	if (what == RLIMIT_NOFILE && limit != NULL && limit->rlim_cur < FEW)
		sandboxed();
}

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
	int r;

	limited((int)what, limit);
	limit_lock();
	r = real.setrlimit(what, limit);
	limit_unlock();
	return r;
}

int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *limit)
{
	int r;

	limited((int)what, (const struct rlimit *)limit);
	limit_lock();
	r = real.setrlimit64(what, limit);
	limit_unlock();
	return r;
}

int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *limit, struct rlimit *old)
{
	int r;

	if (pid == 0 || pid == getpid())
		limited((int)what, limit);
	limit_lock();
	r = real.prlimit(pid, what, limit, old);
	limit_unlock();
	return r;
}

int prlimit64(pid_t pid, enum __rlimit_resource what, const struct rlimit64 *limit,
	      struct rlimit64 *old)
{
	int r;

	if (pid == 0 || pid == getpid())
		limited((int)what, (const struct rlimit *)limit);
	limit_lock();
	r = real.prlimit64(pid, what, limit, old);
	limit_unlock();
	return r;
}

int prctl(int option, ...)
{
	va_list ap;
	long a[4];

	va_start(ap, option);
	for (unsigned i = 0; i < array_size(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (option == PR_SET_SECCOMP)
		sandboxed();
	return real.prctl(option, a[0], a[1], a[2], a[3]);
}
