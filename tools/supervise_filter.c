/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The filter: which calls of the program the supervisor is told of. All others are let through, and
 * the kernel remembers of most of them, by their number, that it need not ask again. What would
 * pass the supervisor by does not exist: io_uring, and data in the first packet.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#define THIS_ARCH 0 /* not served: filter_install() says so */
#endif

#define LOAD(what)	   BPF_STMT(BPF_LD | BPF_W | BPF_ABS, what)
#define NUMBER		   offsetof(struct seccomp_data, nr)
#define ARG(n)		   (offsetof(struct seccomp_data, args) + (n)*8) /* its lower half */
#define RETURN(what)	   BPF_STMT(BPF_RET | BPF_K, what)
#define SKIP_UNLESS(v, n)  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(v), 0, n)
#define SKIP_WITHOUT(b, n) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)(b), 0, n)
#define TOLD(call)	   SKIP_UNLESS(call, 1), RETURN(SECCOMP_RET_USER_NOTIF)
#define FAILS(call, e)	   SKIP_UNLESS(call, 1), RETURN(SECCOMP_RET_ERRNO | (e))
/* The call with this bit among its flags. */
#define FAILS_WITH(call, n, bit, e)                                                                \
	SKIP_UNLESS(call, 4), LOAD(ARG(n)), SKIP_WITHOUT(bit, 1), RETURN(SECCOMP_RET_ERRNO | (e)), \
		RETURN(SECCOMP_RET_ALLOW)

static const struct sock_filter filter[] = {
	LOAD(offsetof(struct seccomp_data, arch)),
	SKIP_UNLESS(THIS_ARCH, 1),
	BPF_STMT(BPF_JMP | BPF_JA, 1),
	RETURN(SECCOMP_RET_ALLOW),
	LOAD(NUMBER),
	TOLD(SYS_connect),
	TOLD(SYS_bind),
	TOLD(SYS_listen),
#ifdef SYS_accept
	TOLD(SYS_accept),
#endif
	TOLD(SYS_accept4),
	TOLD(SYS_getsockname),
	TOLD(SYS_getpeername),
	FAILS(SYS_io_uring_setup, ENOSYS),
	FAILS_WITH(SYS_sendto, 3, MSG_FASTOPEN, EOPNOTSUPP),
	FAILS_WITH(SYS_sendmsg, 2, MSG_FASTOPEN, EOPNOTSUPP),
	SKIP_UNLESS(SYS_getsockopt, 6),
	LOAD(ARG(1)),
	SKIP_UNLESS(SOL_SOCKET, 3),
	LOAD(ARG(2)),
	SKIP_UNLESS(SO_ERROR, 1),
	RETURN(SECCOMP_RET_USER_NOTIF),
	RETURN(SECCOMP_RET_ALLOW),
	SKIP_UNLESS(SYS_setsockopt, 16),
	LOAD(ARG(1)),
	SKIP_UNLESS(SOL_SOCKET, 3),
	LOAD(ARG(2)),
	TOLD(SO_KEEPALIVE),
	LOAD(ARG(1)),
	SKIP_UNLESS(IPPROTO_TCP, 9),
	LOAD(ARG(2)),
	TOLD(TCP_KEEPIDLE),
	TOLD(TCP_KEEPINTVL),
	TOLD(TCP_KEEPCNT),
	TOLD(TCP_USER_TIMEOUT),
	RETURN(SECCOMP_RET_ALLOW),
};

int filter_install(void)
{
	struct sock_fprog prog = {array_size(filter), (struct sock_filter *)filter};
	long r;

	if (THIS_ARCH == 0)
		return -ENOSYS;
	/* Without the right to filter programs that gain rights, it must give up such programs. */
	r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (r < 0 && errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &prog);
	return r < 0 ? -errno : (int)r;
}
