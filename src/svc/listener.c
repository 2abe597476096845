/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The socket that programs and managers connect to. One service answers at a path, however many are
 * started at once: looking whether somebody does, removing what a killed one left behind, and
 * binding are done under a lock, a file beside the socket that exists for that moment only.
 *
 * It listens at the path's name in the abstract namespace as well, where programs that don't see the
 * path any more find it (client/rejoin.c): only if everybody could reach the path, since permissions
 * of folders are none there; and if nobody was there before, which anybody may be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "svc/service.h"

#define LOCK_WAIT_NS 5000000000 /* for others that start */
#define LOCK_LOOK_NS 5000000

/* Without a descriptor the connection could not even be closed, and would be announced for ever:
 * one is kept for this. */
static void turn_away(struct service *s, int listener)
{
	if (s->spare >= 0)
		close(s->spare);
	s->spare = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (s->spare >= 0)
		close(s->spare);
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	s->n.refused++;
	if (service_may_log(s))
		svc_log("no descriptors left: raise LimitNOFILE (ulimit -n)");
}

static void listener_ready(struct service *s, struct source *src, uint32_t events)
{
	int listener = src == &s->on_named ? s->named : s->listener;
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		app_accept(s, fd);
	else if (errno == EMFILE || errno == ENFILE)
		turn_away(s, listener);
}

/* ---- the lock ---- */

struct lock {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
	int fd;
};

/* Is what was locked still the file of that name? Who had it before may have removed it. */
static bool lock_is_current(const struct lock *l)
{
	struct stat mine, there;

	return fstat(l->fd, &mine) == 0 && lstat(l->path, &there) == 0 &&
	       mine.st_ino == there.st_ino && mine.st_dev == there.st_dev;
}

/* 0, -EWOULDBLOCK: somebody else has it, other -errno. Nobody but our user can open it, so none
 * else can keep it. */
static int lock_try(struct lock *l)
{
	int rc = 0;

	l->fd = open(l->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (l->fd < 0)
		return -errno;
	if (flock(l->fd, LOCK_EX | LOCK_NB) < 0)
		rc = -errno;
	else if (!lock_is_current(l))
		rc = -EWOULDBLOCK;
	if (rc < 0)
		close(l->fd);
	return rc;
}

static int lock_take(struct lock *l, const char *path, const struct svc_err *err)
{
	int64_t end = node_now_ns() + LOCK_WAIT_NS;
	int rc;

	snprintf(l->path, sizeof(l->path), "%s.lock", path);
	while ((rc = lock_try(l)) == -EWOULDBLOCK && node_now_ns() < end)
		nanosleep(&(struct timespec){.tv_nsec = LOCK_LOOK_NS}, NULL);
	if (rc == -EWOULDBLOCK)
		return svc_fail(err, -EADDRINUSE,
				"another zstackd is starting at %s and does not get on", path);
	return rc < 0 ? svc_fail(err, rc, "--socket %s: %s: %s", path, l->path, strerror(-rc)) : 0;
}

/* Removed while it is held: whoever opened it before finds out. */
static void lock_drop(struct lock *l)
{
	(void)!unlink(l->path);
	close(l->fd);
}

/* ---- the socket ---- */

/* A socket file that nobody answers at is what a killed service left behind. */
static int stale_remove(const struct service *s, const struct sockaddr_un *at, socklen_t len,
			const struct svc_err *err)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)at, len) < 0 ? -errno : 0;
	close(fd);
	if (rc == 0 || rc == -EAGAIN) /* one that is stopped has a full queue */
		return svc_fail(
			err, -EADDRINUSE,
			"another zstackd answers at %s; stop it, or choose another --socket",
			s->cfg.socket);
	if (rc != -ECONNREFUSED)
		return svc_fail(err, rc, "--socket %s: %s", s->cfg.socket, strerror(-rc));
	return unlink(at->sun_path) < 0 ? -errno : 0;
}

/* The directory of the usual path is made where it is missing; another may be a mistake. */
static int directory_make(const char *path, const struct svc_err *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;
	struct stat st;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir)
		return 0;
	*slash = '\0';
	if (strcmp(path, ATTACH_PATH) == 0)
		(void)!mkdir(dir, 0755);
	if (stat(dir, &st) == 0 || errno != ENOENT)
		return 0;
	return svc_fail(err, -ENOENT, "--socket %s: there is no directory %s: make it first", path,
			dir);
}

/* Nobody answers at path, or -errno. Under the lock. */
static int path_clear(struct service *s, const struct sockaddr_un *at, socklen_t len,
		      const struct svc_err *err)
{
	struct stat st;

	if (lstat(s->cfg.socket, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return svc_fail(err, -EEXIST, "--socket %s: a file is in the way", s->cfg.socket);
	return stale_remove(s, at, len, err);
}

static int listener_bind(struct service *s, const struct sockaddr_un *at, socklen_t len,
			 const struct svc_err *err)
{
	struct stat st;

	if (bind(s->listener, (const struct sockaddr *)at, len) < 0 || listen(s->listener, 128) < 0)
		return svc_fail(err, -errno,
				errno == EADDRINUSE
					? "another zstackd answers at %s; stop it, or choose "
					  "another --socket"
					: "--socket %s: %s",
				s->cfg.socket, strerror(errno));
	if (at->sun_path[0] == '\0')
		return 0;
	/* Everybody may connect; who may attach is the policy's affair, by the kernel's word. */
	if (lstat(s->cfg.socket, &st) < 0 || chmod(s->cfg.socket, 0666) < 0)
		return svc_fail(err, -errno, "--socket %s: %s", s->cfg.socket, strerror(errno));
	s->socket_made = true;
	s->socket_ino = st.st_ino;
	return 0;
}

static int listener_bind_locked(struct service *s, const struct sockaddr_un *at, socklen_t len,
				const struct svc_err *err)
{
	struct lock lock;
	int rc;

	rc = directory_make(s->cfg.socket, err);
	if (rc < 0)
		return rc;
	rc = lock_take(&lock, s->cfg.socket, err);
	if (rc < 0)
		return rc;
	rc = path_clear(s, at, len, err);
	if (rc == 0)
		rc = listener_bind(s, at, len, err);
	lock_drop(&lock);
	return rc;
}

/* Connections inherit it: what is sent between accept() and the option of its own would come from
 * nobody. */
static int listener_new(void)
{
	int fd = name_socket(), one = 1;

	if (fd >= 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	return fd;
}

/* ---- its name ---- */

/* May everybody go through all folders on the way there? */
static bool path_is_open(const char *path)
{
	char at[PATH_MAX], *slash;
	struct stat st;

	if (realpath(path, at) == NULL)
		return false;
	while ((slash = strrchr(at, '/')) != NULL) {
		slash[slash == at] = '\0';
		if (stat(at, &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
		if (slash == at)
			break;
	}
	return true;
}

/* Without it, it is a service all the same. */
static void name_open(struct service *s)
{
	struct ucred who = {.pid = 0};
	char name[ATTACH_NAME_MAX];
	struct sockaddr_un at;
	socklen_t len;
	int rc;

	if (attach_name(s->cfg.socket, name) < 0 || attach_address(name, &at, &len) < 0 ||
	    !path_is_open(s->cfg.socket))
		return;
	s->named = listener_new();
	rc = s->named >= 0 ? name_take(s->named, &at, len, NAME_WAIT_NS, &who) : -errno;
	s->on_named.ready = listener_ready;
	if (rc == 0)
		rc = service_watch(s, &s->on_named, s->named);
	if (rc == 0)
		return;
	if (who.pid != 0)
		svc_log("process %d of user %u has taken the name %s: programs that change their "
			"root directory will not find the next service",
			(int)who.pid, (unsigned)who.uid, name);
	else
		svc_log("the name %s is not to be had (%s): programs that change their root "
			"directory will not find the next service",
			name, strerror(-rc));
	if (s->named >= 0)
		close(s->named);
	s->named = -1;
}

/* ---- all ---- */

int listener_open(struct service *s, const struct svc_err *err)
{
	const char *path = s->cfg.socket;
	struct sockaddr_un at;
	socklen_t len;
	int rc = attach_address(path, &at, &len);

	if (rc < 0)
		return svc_fail(err, rc, "--socket %s: too long", path);
	s->listener = listener_new();
	if (s->listener < 0)
		return svc_fail(err, -errno, "no socket: %s", strerror(errno));
	rc = path[0] == '@' ? listener_bind(s, &at, len, err)
			    : listener_bind_locked(s, &at, len, err);
	if (rc < 0)
		return rc;
	name_open(s);
	s->on_listener.ready = listener_ready;
	return service_watch(s, &s->on_listener, s->listener);
}

/* The names go first: as long as the path is there somebody answers, so a next service removes it
 * only when we did not. */
void listener_close(struct service *s)
{
	struct stat st;

	if (s->named >= 0)
		close(s->named);
	if (s->socket_made && lstat(s->cfg.socket, &st) == 0 && st.st_ino == s->socket_ino)
		(void)!unlink(s->cfg.socket);
	if (s->listener >= 0)
		close(s->listener);
}
