/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Descriptors of ours in messages of the kernel's sockets (SCM_RIGHTS; docs/design/011, 6). In the
 * place of each goes what the service gives for it, one end of a pair; a receiver that finds such
 * an end among what it got hands it in, and has the socket at that number.
 *
 * A receiver without the library is served a connection by the service, as long as the end is open
 * (svc/stranger.c); of any other socket it has an end of a stream that is over.
 */
#include <string.h>
#include <sys/un.h>

#include "chan/attach.h"
#include "client/pass.h"
#include "preload/preload.h"

/* Of a message with descriptors of ours; Linux has 253 of them at most. */
#define CONTROL_MAX 4096
#define ENDS_MAX    256

/* ---- sending ---- */

/* The control messages with ends in them, and the ends. */
struct outgoing {
	_Alignas(struct cmsghdr) char control[CONTROL_MAX];
	int end[ENDS_MAX];
	unsigned n;
};

static bool is_rights(const struct cmsghdr *c)
{
	return c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	       c->cmsg_len >= CMSG_LEN(0);
}

static unsigned count(const struct cmsghdr *c)
{
	return (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
}

static int fd_at(const struct cmsghdr *c, unsigned i)
{
	int fd;

	memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
	return fd;
}

static bool has_ours(const struct msghdr *msg)
{
	struct msghdr m = *msg;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c))
		for (unsigned i = 0; is_rights(c) && i < count(c); i++)
			if (fd_is_ours(fd_at(c, i)))
				return true;
	return false;
}

static long send_fd(int fd)
{
	struct pass_with with = {.fd = -1};
	long end;

	if (fd_kind(fd) == FD_BOTH)
		with = (struct pass_with){twin_of(fd), number_blocks(fd)};
	CALL_ONCE(end, pass_send(fd, &with));
	return end;
}

static int replace(struct outgoing *o, struct cmsghdr *c)
{
	for (unsigned i = 0; i < count(c); i++) {
		long end;

		if (!fd_is_ours(fd_at(c, i)))
			continue;
		if (o->n == ENDS_MAX)
			return -ETOOMANYREFS;
		end = send_fd(fd_at(c, i));
		if (end < 0)
			return (int)end;
		o->end[o->n] = (int)end;
		memcpy(CMSG_DATA(c) + i * sizeof(int), &o->end[o->n++], sizeof(int));
	}
	return 0;
}

static int replace_all(struct outgoing *o, struct msghdr *m)
{
	int r = 0;

	if (m->msg_controllen > sizeof(o->control))
		return -ENOBUFS;
	memcpy(o->control, m->msg_control, m->msg_controllen);
	m->msg_control = o->control;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL && r == 0; c = CMSG_NXTHDR(m, c))
		if (is_rights(c))
			r = replace(o, c);
	return r;
}

void pass_end_close(int end)
{
	if (fd_kind(end) == FD_OWN)
		fd_set_kind(end, FD_KERNEL);
	real.close(end);
}

ssize_t pass_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	struct outgoing o = {.n = 0};
	struct msghdr m = *msg;
	ssize_t r;
	int err;

	if (!has_ours(msg))
		return real.sendmsg(fd, msg, flags);
	err = replace_all(&o, &m);
	r = err == 0 ? real.sendmsg(fd, &m, flags) : result(err);
	err = errno;
	/* If it was not sent, they are the last ends. */
	while (o.n > 0)
		pass_end_close(o.end[--o.n]);
	errno = err;
	return r;
}

/* ---- receiving ---- */

static bool is_kept(int fd)
{
	struct sockaddr_un at = {0};
	socklen_t len = sizeof(at);

	return real.getpeername(fd, (struct sockaddr *)&at, &len) == 0 &&
	       at.sun_family == AF_UNIX && at.sun_path[0] == '\0' &&
	       strncmp(at.sun_path + 1, ATTACH_KEPT, strlen(ATTACH_KEPT)) == 0;
}

static void take(int fd)
{
	struct pass_with with;
	long r;

	if (!is_kept(fd) || start_need() < 0)
		return;
	r = number_room(fd);
	with.fd = -1;
	if (r == 0) {
		number_fresh(fd);
		CALL_ONCE(r, pass_receive(fd, &with));
	}
	if (r == -EALREADY)
		say("a socket that was passed was used without the library before: it stays a "
		    "UNIX socket");
	else if (r < 0)
		say("a socket that was passed is lost: %s", strerror((int)-r));
	if (r == 0) {
		(void)!placeholder_at(fd);
		fd_set_kind(fd, FD_SOCKET);
		number_twin(fd, with.fd, with.blocks);
	} else if (with.fd >= 0) {
		real.close(with.fd);
	}
}

void pass_received(struct msghdr *msg)
{
	int err = errno;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c))
		for (unsigned i = 0; is_rights(c) && i < count(c); i++)
			take(fd_at(c, i));
	errno = err;
}
