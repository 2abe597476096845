/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What each number stands for, and the placeholders: what the kernel holds for a socket of ours is
 * a duplicate of one unconnected AF_UNIX datagram socket of the process (docs/design/011, 3). A raw
 * read of it says EAGAIN, a raw write ENOTCONN.
 */
#include <pthread.h>
#include <sys/resource.h>

#include "preload/preload.h"

#define OWN_MIN                                                                                    \
	900 /* at least: few programs have so many, and with 1024 allowed all of ours fit          \
	     */
#define OWN_ROOM   100
#define OWN_BELOW  4096 /* of what a program may have, the end that is looked at */
#define OWN_BEYOND 4096 /* numbers of the library's beyond the program's */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Who changes the limit of descriptors, or looks at it to change it. */
static pthread_mutex_t limit = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static unsigned wide;	     /* how often it was put up; under the lock */
static struct rlimit narrow; /* as the program has it, meanwhile */
static int original = -1;
static struct {
	uint64_t dev, ino;
} original_id;

/* Where the library's own begin that the program can't have. */
static rlim_t own_beyond(const struct rlimit *l)
{
	return l->rlim_cur < OWN_MIN && l->rlim_max > OWN_MIN ? OWN_MIN : l->rlim_cur;
}

void limit_lock(void)
{
	enter();
	pthread_mutex_lock(&limit);
}

void limit_unlock(void)
{
	pthread_mutex_unlock(&limit);
	leave(0);
}

/* ---- the library's own numbers ---- */

/* The limit is put up, to its hard limit at most, for a number that the program can't have. */
void limit_widen(void)
{
	struct rlimit more;

	limit_lock();
	if (wide++ > 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &narrow) != 0)
		narrow = (struct rlimit){0, 0};
	more = narrow;
	more.rlim_cur = own_beyond(&narrow) + OWN_BEYOND;
	if (more.rlim_cur > more.rlim_max)
		more.rlim_cur = more.rlim_max;
	if (more.rlim_cur > narrow.rlim_cur)
		real.setrlimit(RLIMIT_NOFILE, &more);
}

void limit_narrow(void)
{
	if (--wide == 0 && narrow.rlim_cur < narrow.rlim_max)
		real.setrlimit(RLIMIT_NOFILE, &narrow);
	limit_unlock();
}

/* Near the end of what the program may have, so that it meets none of them by counting up. */
static int own_below(const struct rlimit *l)
{
	if (l->rlim_cur < OWN_MIN + OWN_ROOM)
		return (int)(l->rlim_cur - l->rlim_cur / 4);
	return l->rlim_cur > OWN_BELOW ? OWN_BELOW - OWN_ROOM : (int)l->rlim_cur - OWN_ROOM;
}

/* Beyond what the program may have; else near its end; else where there is one. Large tables are
 * left as they are as long as possible: each fork copies them. */
static int dup_somewhere(int fd)
{
	struct rlimit l;
	bool large = getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur > OWN_BELOW && wide == 0;
	int high = large ? real.fcntl(fd, F_DUPFD_CLOEXEC, own_below(&l)) : -1;

	if (high >= 0)
		return high;
	limit_widen();
	high = real.fcntl(fd, F_DUPFD_CLOEXEC, (int)own_beyond(&narrow));
	if (high < 0)
		high = real.fcntl(fd, F_DUPFD_CLOEXEC, own_below(&narrow));
	if (high < 0)
		high = real.fcntl(fd, F_DUPFD_CLOEXEC, 0);
	limit_narrow();
	return high;
}

int own_dup(int fd)
{
	int high;

	limit_lock();
	high = dup_somewhere(fd);
	limit_unlock();
	if (high < 0)
		return -1;
	if (number_room(high) < 0) {
		real.close(high);
		errno = ENOMEM;
		return -1;
	}
	fd_set_kind(high, FD_OWN);
	return high;
}

static int original_make(void)
{
	struct stat st;
	int fd = real.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int high = fd >= 0 ? own_dup(fd) : -1;
	int err = errno;

	if (fd >= 0)
		real.close(fd);
	if (high < 0)
		return -err;
	if (fstat(high, &st) == 0) {
		original_id.dev = st.st_dev;
		original_id.ino = st.st_ino;
	}
	original = high;
	return high;
}

static int original_get(void)
{
	int fd;

	enter();
	pthread_mutex_lock(&lock);
	fd = original >= 0 ? original : original_make();
	pthread_mutex_unlock(&lock);
	leave(0);
	return fd;
}

int placeholder_make(void)
{
	int fd = original_get();

	return fd < 0 ? fd : 0;
}

int placeholder_new(int min, int flags)
{
	int fd = original_get();

	if (fd < 0)
		return fd;
	fd = real.fcntl(fd, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, min);
	return fd < 0 ? -errno : fd;
}

int placeholder_at(int fd)
{
	int from = original_get(), flags = real.fcntl(fd, F_GETFD);

	if (from < 0)
		return from;
	if (flags < 0 || real.dup3(from, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0) < 0)
		return -errno;
	return 0;
}

bool placeholder_is(int fd)
{
	struct stat st;

	return original >= 0 && fstat(fd, &st) == 0 && st.st_ino == original_id.ino &&
	       st.st_dev == original_id.dev;
}

/* ---- what the client asks its host for ---- */

static int host_fd_new(int flags)
{
	int fd = placeholder_new(0, flags);
	int r = fd >= 0 ? number_room(fd) : fd;

	if (r < 0) {
		if (fd >= 0)
			real.close(fd);
		return r;
	}
	fd_set_kind(fd, FD_SOCKET);
	return fd;
}

static void host_fd_back(int fd)
{
	fd_set_kind(fd, FD_KERNEL);
	real.close(fd);
}

/* One end of a pair whose other end is closed: what reads it sees an end, what writes it EPIPE. */
static int dead_end(int fd)
{
	int pair[2], flags = real.fcntl(fd, F_GETFD);

	if (flags < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	real.close(pair[1]);
	real.dup3(pair[0], fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	return real.close(pair[0]);
}

static void host_fd_gone(int fd)
{
	enum fd_kind kind = fd_kind(fd);

	/* The kernel's set is what it was. */
	fd_set_kind(fd, kind == FD_EPOLL ? FD_EVENTS : FD_KERNEL);
	if (kind != FD_EPOLL)
		(void)dead_end(fd);
}

void fd_host(void)
{
	static const struct host_ops ops = {.fd_new = host_fd_new,
					    .fd_back = host_fd_back,
					    .fd_gone = host_fd_gone,
					    .interrupted = signal_waits};

	host_set(&ops);
}

void fd_unlock_child(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	limit = (pthread_mutex_t)PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
}
