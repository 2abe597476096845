/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See attach.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "chan/attach.h"

int attach_address(const char *path, struct sockaddr_un *to, socklen_t *len)
{
	size_t n = strlen(path);

	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (n == 0 || n >= sizeof(to->sun_path))
		return -ENAMETOOLONG;
	memcpy(to->sun_path, path, n);
	*len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	if (path[0] == '@') {
		to->sun_path[0] = '\0';
		*len -= 1;
	}
	return 0;
}

int attach_name(const char *path, char name[ATTACH_NAME_MAX])
{
	size_t n = strlen(path);

	name[0] = '\0';
	if (path[0] != '/' || n + 2 > ATTACH_NAME_MAX - 1)
		return -EINVAL;
	name[0] = '@';
	memcpy(name + 1, path, n + 1);
	return 0;
}

int attach_send(int sock, enum attach_type type, void *msg, size_t len, const int *fd,
		unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(ATTACH_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = {msg, len};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	struct attach_head *head = msg;
	struct cmsghdr *c;
	ssize_t n;

	ASSERT(len >= sizeof(*head) && n_fds <= ATTACH_FDS_MAX);
	*head = (struct attach_head){ATTACH_MAGIC, ATTACH_VERSION, (uint16_t)type};
	if (n_fds > 0) {
		memset(&control, 0, sizeof(control));
		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fd, n_fds * sizeof(int));
	}
	do {
		n = sendmsg(sock, &h, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

void attach_close_fds(struct attach_msg *m)
{
	while (m->n_fds > 0) {
		if (m->fd[--m->n_fds] >= 0)
			close(m->fd[m->n_fds]);
	}
	if (m->has_pidfd)
		close(m->pidfd);
	m->has_pidfd = false;
}

/* Alignment, and credentials that did not come, leave room in the buffer for more than we take. */
static void take_fds(struct attach_msg *m, const int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (m->n_fds < ATTACH_FDS_MAX)
			m->fd[m->n_fds++] = fd[i];
		else
			close(fd[i]);
	}
}

static void take_control(struct attach_msg *m, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		size_t bytes = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			take_fds(m, (const int *)CMSG_DATA(c), bytes / sizeof(int));
		} else if (c->cmsg_type == SCM_PIDFD && bytes == sizeof(int)) {
			memcpy(&m->pidfd, CMSG_DATA(c), sizeof(int));
			m->has_pidfd = m->pidfd >= 0;
		} else if (c->cmsg_type == SCM_CREDENTIALS && bytes == sizeof(struct ucred)) {
			struct ucred u;

			memcpy(&u, CMSG_DATA(c), sizeof(u));
			m->has_cred = true;
			m->cred.pid = u.pid;
			m->cred.uid = u.uid;
			m->cred.gid = u.gid;
		}
	}
}

/* What a message of a type has at least; 0: there is no such type. */
static size_t least(uint16_t type)
{
	switch (type) {
	case ATTACH_HELLO:
		return sizeof(struct attach_hello);
	case ATTACH_WELCOME:
		return sizeof(struct attach_welcome);
	case ATTACH_REFUSED:
		return sizeof(struct attach_refused);
	case ATTACH_GRANT:
		return sizeof(struct attach_grant);
	case ATTACH_GRANTED:
		return sizeof(struct attach_granted);
	case ATTACH_PASS:
	case ATTACH_PASSED:
	case ATTACH_REDEEM:
	case ATTACH_REDEEMED:
		return sizeof(struct attach_pass);
	case ATTACH_ENDS:
	case ATTACH_ENDS_ARE:
		return sizeof(struct attach_ends);
	case ATTACH_LINK:
		return sizeof(struct attach_link);
	case ATTACH_LINKED:
	case ATTACH_LINK_END:
	case ATTACH_LINK_BAD:
	case ATTACH_LINK_FREE:
		return sizeof(struct attach_linked);
	case ATTACH_REGION:
	case ATTACH_REGION_IS:
		return sizeof(struct attach_region);
	case ATTACH_DROP:
		return sizeof(struct attach_drop);
	case ATTACH_MAPPED:
	case ATTACH_READY:
	case ATTACH_BYE:
	case ATTACH_FORK:
	case ATTACH_RESUME:
	case ATTACH_ADMIN:
	case ATTACH_ANSWER:
		return sizeof(struct attach_head);
	default:
		return 0;
	}
}

static int check(const struct attach_msg *m, const struct msghdr *h)
{
	if (m->len < sizeof(m->head) || (h->msg_flags & MSG_TRUNC) || m->head.magic != ATTACH_MAGIC)
		return -EPROTO;
	if (m->head.version != ATTACH_VERSION)
		return -EPROTONOSUPPORT;
	if (least(m->head.type) == 0 || m->len < least(m->head.type))
		return -EPROTO;
	/* There was room for them in the message, but no number. */
	if (h->msg_flags & MSG_CTRUNC)
		return m->n_fds < ATTACH_FDS_MAX ? -EMFILE : -EPROTO;
	return 0;
}

int attach_recv(int sock, struct attach_msg *m, int flags)
{
	union {
		char buf[CMSG_SPACE(ATTACH_FDS_MAX * sizeof(int)) +
			 CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec v = {m->bytes, sizeof(m->bytes) - 1};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.buf,
			   .msg_controllen = sizeof(control.buf)};
	ssize_t n;
	int rc;

	m->n_fds = 0;
	m->has_cred = m->has_pidfd = false;
	do {
		n = recvmsg(sock, &h, flags | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	take_control(m, &h);
	m->len = (size_t)n;
	m->bytes[n] = '\0';
	rc = n == 0 && m->n_fds == 0 ? -ECONNRESET : check(m, &h);
	if (rc < 0)
		attach_close_fds(m);
	return rc;
}

ssize_t attach_recv_piece(int sock, struct attach_piece *p)
{
	ssize_t n = recv(sock, p, sizeof(*p), MSG_TRUNC);

	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n < sizeof(p->head) || (size_t)n > sizeof(*p) || p->head.magic != ATTACH_MAGIC)
		return -EPROTO;
	if (p->head.version != ATTACH_VERSION)
		return -EPROTONOSUPPORT;
	return p->head.type == ATTACH_ANSWER ? n - (ssize_t)sizeof(p->head) : -EPROTO;
}
