/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The error queue of a socket (MSG_ERRQUEUE, ip(7)). One kind of thing is ever in it: that sends
 * with MSG_ZEROCOPY, of a socket with SO_ZEROCOPY, are complete (Linux,
 * Documentation/networking/msg_zerocopy.rst). They were copied, so they are complete at once, and
 * the notice says so (SO_EE_CODE_ZEROCOPY_COPIED): a program that asks takes that for its answer.
 * Sends are numbered from 0; one notice is for all that have not been told. <zstack/zc.h> has what
 * copies nothing.
 */
#include <time.h>

#include <linux/errqueue.h> /* wants struct timespec */
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>

#include "client/client_priv.h"

void errqueue_sent(struct csock *s)
{
	s->zc_sent++;
	s->zc_untold++;
	s->flags |= CSOCK_ERRQUEUE;
	csock_notify(s, EPOLLERR);
}

/* As ip_recv_error(): the notice, and room for an address that there is none of. */
static void notice_put(const struct csock *s, struct msghdr *m)
{
	struct sock_extended_err e = {
		.ee_origin = SO_EE_ORIGIN_ZEROCOPY,
		.ee_code = SO_EE_CODE_ZEROCOPY_COPIED,
		.ee_info = s->zc_sent - s->zc_untold,
		.ee_data = s->zc_sent - 1,
	};
	bool v4 = s->domain == AF_INET;
	size_t len = sizeof(e) + (v4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(len),
			    .cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6,
			    .cmsg_type = v4 ? IP_RECVERR : IPV6_RECVERR};

	m->msg_flags |= MSG_ERRQUEUE;
	if (m->msg_control == NULL || m->msg_controllen < CMSG_SPACE(len)) {
		m->msg_flags |= MSG_CTRUNC;
		m->msg_controllen = 0;
		return;
	}
	memset(m->msg_control, 0, CMSG_SPACE(len));
	memcpy(m->msg_control, &h, sizeof(h));
	memcpy((char *)m->msg_control + CMSG_LEN(0), &e, sizeof(e));
	m->msg_controllen = CMSG_SPACE(len);
}

int errqueue_recv(struct csock *s, struct msghdr *m)
{
	if ((s->flags & CSOCK_ERRQUEUE) == 0)
		return -EAGAIN;
	if (m != NULL)
		notice_put(s, m);
	s->zc_untold = 0;
	s->flags &= ~(uint32_t)CSOCK_ERRQUEUE;
	return 0;
}
