/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program puts itself into a sandbox by seccomp, and is killed from then on for a system call
 * that it does not expect of itself. What the library needs for sockets that are there is read,
 * write, futex, poll and ppoll, which are what a program with sockets needs. A child of fork that
 * has not used its sockets yet is attached before (client/child.c).
 *
 * A program that changes its root directory does not find the service's socket any more. Who is
 * attached needs no path, and finds the next service by its name (client/rejoin.c); so a program
 * that has not needed the service yet attaches before. Not done: the embedded mode, whose library
 * can't be loaded there either.
 */
#include <sys/prctl.h>
#include <sys/resource.h>

#include "preload/preload.h"

/* Of numbers that it may have from then on there is room to know something. */
static void numbers_room(void)
{
	struct rlimit l;
	bool few = getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < FD_KINDS_LOW;

	for (int fd = 0; fd < (few ? (int)l.rlim_cur : (int)FD_KINDS_LOW); fd++)
		(void)!number_room(fd);
}

static _Atomic bool sandbox;

bool in_sandbox(void)
{
	return atomic_load_explicit(&sandbox, memory_order_relaxed);
}

void sandboxed(void)
{
	atomic_store(&sandbox, true);
	if (!started())
		return;
	numbers_room();
	host_frugal();
}

void uprooted(void)
{
	start_early();
}

int chroot(const char *path)
{
	uprooted();
	return real.chroot(path);
}

#define FEW 64
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one and the same here");

/* Memory and descriptors, which a child of fork needs when it first uses a socket. */
static bool is_needed(int what)
{
	return what == RLIMIT_NOFILE || what == RLIMIT_AS || what == RLIMIT_DATA ||
	       what == RLIMIT_MEMLOCK;
}

static void limited(int what, const struct rlimit *limit)
{
	if (limit != NULL && started() && is_needed(what))
		(void)!host_settle();
	if (what == RLIMIT_NOFILE && limit != NULL && limit->rlim_cur < FEW)
		sandboxed();
}

/* Not while the library looks at the limit to change it (own_dup()). */
#define LIMIT_CHANGE(call)                                                                         \
	({                                                                                         \
		int r_;                                                                            \
		limit_lock();                                                                      \
		r_ = call;                                                                         \
		limit_unlock();                                                                    \
		r_;                                                                                \
	})

int setrlimit(__rlimit_resource_t what, const struct rlimit *limit)
{
	limited((int)what, limit);
	return LIMIT_CHANGE(real.setrlimit(what, limit));
}

int setrlimit64(__rlimit_resource_t what, const struct rlimit64 *limit)
{
	limited((int)what, (const struct rlimit *)limit);
	return LIMIT_CHANGE(real.setrlimit64(what, limit));
}

int prlimit(pid_t pid, enum __rlimit_resource what, const struct rlimit *limit, struct rlimit *old)
{
	if (pid == 0 || pid == getpid())
		limited((int)what, limit);
	return LIMIT_CHANGE(real.prlimit(pid, what, limit, old));
}

int prlimit64(pid_t pid, enum __rlimit_resource what, const struct rlimit64 *limit,
	      struct rlimit64 *old)
{
	if (pid == 0 || pid == getpid())
		limited((int)what, (const struct rlimit *)limit);
	return LIMIT_CHANGE(real.prlimit64(pid, what, limit, old));
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
