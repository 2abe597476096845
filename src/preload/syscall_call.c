/* SPDX-License-Identifier: BSD-3-Clause
 *
 * syscall(): programs that make a system call by its number, as libuv closes descriptors. What is
 * about a descriptor of ours, or could make one, goes the way of the function of that name; the
 * rest is passed as it is. io_uring would read and write descriptors where nobody sees it: a
 * program is told that this kernel has none, and does without.
 *
 * Not done: clone and clone3 with namespaces or the like: the child has none of our sockets; and
 * what programs write as instructions.
 */
#include <dlfcn.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/preload.h"

typedef long (*call_fn)(long, long, long, long, long, long);

/* The functions take these arguments, and more of them do no harm. */
static struct call {
	long number;
	const char *name;
	bool always; /* not only when the first argument is a number of ours */
	bool is_int; /* its result has 32 bits */
	_Atomic(call_fn) fn;
} calls[] = {
	{SYS_read, "read", false, false},
	{SYS_write, "write", false, false},
	{SYS_close, "close", false, true},
	{SYS_readv, "readv", false, false},
	{SYS_writev, "writev", false, false},
	{SYS_pread64, "pread64", false, false},
	{SYS_pwrite64, "pwrite64", false, false},
	{SYS_preadv2, "preadv2", false, false},
	{SYS_pwritev2, "pwritev2", false, false},
	{SYS_recvfrom, "recvfrom", false, false},
	{SYS_sendto, "sendto", false, false},
	{SYS_recvmsg, "recvmsg", false, false},
	{SYS_sendmsg, "sendmsg", false, false},
	{SYS_recvmmsg, "recvmmsg", false, true},
	{SYS_sendmmsg, "sendmmsg", false, true},
	{SYS_socket, "socket", true, true},
	{SYS_bind, "bind", false, true},
	{SYS_listen, "listen", false, true},
	{SYS_accept, "accept", false, true},
	{SYS_accept4, "accept4", false, true},
	{SYS_connect, "connect", false, true},
	{SYS_shutdown, "shutdown", false, true},
	{SYS_getsockname, "getsockname", false, true},
	{SYS_getpeername, "getpeername", false, true},
	{SYS_getsockopt, "getsockopt", false, true},
	{SYS_setsockopt, "setsockopt", false, true},
	{SYS_ioctl, "ioctl", false, true},
	{SYS_fcntl, "fcntl", false, true},
	{SYS_dup, "dup", false, true},
#ifdef SYS_dup2
	{SYS_dup2, "dup2", true, true},
#endif
	{SYS_dup3, "dup3", true, true},
	{SYS_close_range, "close_range", true, true},
	{SYS_sendfile, "sendfile64", true, false},
	{SYS_splice, "splice", true, false},
#ifdef SYS_poll
	{SYS_poll, "poll", true, true},
	{SYS_select, "select", true, true},
	{SYS_epoll_wait, "epoll_wait", true, true},
	{SYS_fork, "fork", true, true},
	{SYS_vfork, "fork", true, true},
#endif
	{SYS_ppoll, "ppoll", true, true},
	{SYS_pselect6, "pselect", true, true},
	{SYS_epoll_ctl, "epoll_ctl", true, true},
	{SYS_epoll_pwait, "epoll_pwait", true, true},
	{SYS_epoll_pwait2, "epoll_pwait2", true, true},
	{SYS_prctl, "prctl", true, true},
	{SYS_chroot, "chroot", true, true},
	{SYS_prlimit64, "prlimit64", true, true},
	{SYS_setrlimit, "setrlimit", true, true},
	{SYS_execve, "execve", true, true},
	{SYS_execveat, "execveat", true, true},
};

/* Ours, where there is one: the library is the first that is asked for names. */
static call_fn function(struct call *c)
{
	call_fn fn = atomic_load_explicit(&c->fn, memory_order_relaxed);
	void *p;

	if (fn != NULL)
		return fn;
	p = dlsym(RTLD_DEFAULT, c->name);
	memcpy(&fn, &p, sizeof(fn));
	atomic_store_explicit(&c->fn, fn, memory_order_relaxed);
	return fn;
}

#define NUMBERS 512
static uint8_t row[NUMBERS]; /* of calls, and 1 */

__attribute__((constructor)) static void rows_fill(void)
{
	for (unsigned i = 0; i < array_size(calls); i++)
		row[calls[i].number] = (uint8_t)(i + 1);
}

static struct call *find(long number)
{
	return number >= 0 && number < NUMBERS && row[number] != 0 ? &calls[row[number] - 1] : NULL;
}

/* The kernel's has a mask and its length, the function a mask. */
static long pselect_mask(long arg)
{
	const struct {
		const sigset_t *set;
		size_t bytes;
	} *mask = (const void *)arg;

	return mask != NULL ? (long)mask->set : 0;
}

/* Where a function takes other arguments than the call: flags stand behind both halves of an
 * offset, which is one argument of the function's. */
static void to_function(long number, long a[6])
{
	if (number == SYS_pselect6)
		a[5] = pselect_mask(a[5]);
	else if (number == SYS_preadv2 || number == SYS_pwritev2)
		a[4] = a[5];
}

/* Its child goes on behind it, with memory of its own: as fork's. */
static bool clone_is_fork(const long a[6])
{
	return (a[0] & ~(long)(CLONE_VM | CLONE_VFORK)) == SIGCHLD && a[1] == 0 &&
	       (a[0] & (CLONE_VM | CLONE_VFORK)) != CLONE_VM;
}

static long relay(struct call *c, const long a[6])
{
	long r = function(c)(a[0], a[1], a[2], a[3], a[4], a[5]);

	return c->is_int ? (int)r : r;
}

long syscall(long number, ...)
{
	struct call *c;
	va_list ap;
	long a[6];

	va_start(ap, number);
	for (unsigned i = 0; i < array_size(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (is_inside())
		return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (number == SYS_io_uring_setup)
		return result(-ENOSYS);
	if (number == SYS_clone && clone_is_fork(a))
		return fork();
	if (number == SYS_seccomp)
		sandboxed();
	if (number == SYS_pivot_root)
		uprooted();
	c = find(number);
	if (c != NULL && (c->always || fd_kind((int)a[0]) != FD_KERNEL)) {
		to_function(number, a);
		return relay(c, a);
	}
	return real.syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
