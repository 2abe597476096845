/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Control messages of sendmsg(2) and recvmsg(2), as ip(7), ipv6(7), socket(7) and RFC 3542 have
 * them: those of a datagram. What a level knows and we don't is refused; of another level it is
 * passed over, as Linux does.
 *
 * Not done: SO_MARK, SO_TXTIME; the interface of IP_PKTINFO is not looked at; a time stamp is that
 * of the library, which takes datagrams out of the channel when the program waits or asks.
 */
#define _GNU_SOURCE
#include <linux/net_tstamp.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "client/client_priv.h"

int64_t real_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}

/* ---- received ---- */

/* As Linux: what there is no place for is cut, or left out if there is none for its head. */
void cmsg_put(struct msghdr *m, size_t *used, int level, int type, const void *data, size_t len)
{
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type};
	char *at = (char *)m->msg_control + *used;
	size_t room = m->msg_controllen - *used;

	if (room < CMSG_LEN(len))
		m->msg_flags |= MSG_CTRUNC;
	if (room < sizeof(h))
		return;
	h.cmsg_len = room < h.cmsg_len ? room : h.cmsg_len;
	memcpy(at, &h, sizeof(h));
	memcpy(at + CMSG_LEN(0), data, h.cmsg_len - CMSG_LEN(0));
	*used += room < CMSG_SPACE(len) ? room : CMSG_SPACE(len);
}

/* The first of three is that of software. */
static void cmsg_stamping(const struct csock *s, const int64_t t[2], struct msghdr *m, size_t *used)
{
	int64_t three[3][2] = {{t[0], t[1]}};

	cmsg_put(m, used, SOL_SOCKET,
		 s->stamps & STAMPS_NEW ? SO_TIMESTAMPING_NEW : SO_TIMESTAMPING_OLD, three,
		 sizeof(three));
}

void cmsg_stamp(const struct csock *s, int64_t ns, bool sent, struct msghdr *m, size_t *used)
{
	uint32_t option = s->stamps & STAMPS_OPTION;
	uint32_t flags = (s->stamps & STAMPS_FLAGS) >> STAMPS_FLAG_SHIFT;
	int64_t t[2] = {ns / 1000000000, ns % 1000000000}, us[2] = {t[0], t[1] / 1000};
	bool micro = option == SO_TIMESTAMP || option == SO_TIMESTAMP_NEW;

	if (likely(s->stamps == 0) || ns == 0)
		return;
	if (option != 0)
		cmsg_put(m, used, SOL_SOCKET, (int)option, micro ? us : t, sizeof(t));
	if ((flags & SOF_TIMESTAMPING_SOFTWARE) && (sent || (flags & SOF_TIMESTAMPING_RX_SOFTWARE)))
		cmsg_stamping(s, t, m, used);
}

/* As the kernel calls it; 0: not known. */
static uint32_t arrived_at(const struct csock *s, const struct dgram *d)
{
	return csock_core(s)->end.hdr.kernel_if[(d->aux & 0xffff) % CHAN_IFS_MAX];
}

/* Where that is not known it is called as the service calls it, from 1. */
uint32_t dgram_scope(const struct csock *s, const struct dgram *d)
{
	uint32_t kernel = arrived_at(s, d);

	return kernel != 0 ? kernel : (d->aux & 0xffff) + 1;
}

static void cmsg_v4(const struct csock *s, const struct dgram *d, struct msghdr *m, size_t *used)
{
	struct in_pktinfo pi = {.ipi_ifindex = (int)arrived_at(s, d)};
	int ttl = d->aux >> 16 & 0xff;
	uint8_t tos = d->aux >> 24;

	memcpy(&pi.ipi_addr, d->laddr + 12, 4);
	memcpy(&pi.ipi_spec_dst, d->laddr + 12, 4);
	if (s->flags & CSOCK_PKTINFO)
		cmsg_put(m, used, IPPROTO_IP, IP_PKTINFO, &pi, sizeof(pi));
	if (s->flags & CSOCK_RECVTTL)
		cmsg_put(m, used, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (s->flags & CSOCK_RECVTOS)
		cmsg_put(m, used, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
}

static void cmsg_v6(const struct csock *s, const struct dgram *d, struct msghdr *m, size_t *used)
{
	struct in6_pktinfo pi = {.ipi6_ifindex = arrived_at(s, d)};
	int ttl = d->aux >> 16 & 0xff, tos = d->aux >> 24;

	memcpy(&pi.ipi6_addr, d->laddr, 16);
	if (s->flags & CSOCK_PKTINFO)
		cmsg_put(m, used, IPPROTO_IPV6, IPV6_PKTINFO, &pi, sizeof(pi));
	if (s->flags & CSOCK_RECVTTL)
		cmsg_put(m, used, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl, sizeof(ttl));
	if (s->flags & CSOCK_RECVTOS)
		cmsg_put(m, used, IPPROTO_IPV6, IPV6_TCLASS, &tos, sizeof(tos));
}

void cmsgs_put(const struct csock *s, const struct dgram *d, struct msghdr *m)
{
	size_t used = 0;

	/* What there is no place for is told of, also where there is none at all. */
	if (m->msg_control == NULL)
		m->msg_controllen = 0;
	/* When it was taken out of the channel; or, if nobody asked for that then, now. */
	if (unlikely(s->stamps != 0))
		cmsg_stamp(s, d->stamp_ns != 0 ? d->stamp_ns : real_ns(), false, m, &used);
	if (s->domain == AF_INET)
		cmsg_v4(s, d, m, &used);
	else
		cmsg_v6(s, d, m, &used);
	m->msg_controllen = used;
}

/* ---- to be sent ---- */

/* Two of the system's 64-bit ABI, whose headers have one name for both. */
_Static_assert(sizeof(struct timeval) == 16 && sizeof(struct timespec) == 16, "two words");

static bool has(const struct cmsghdr *h, void *to, size_t len)
{
	if (h->cmsg_len != CMSG_LEN(len))
		return false;
	memcpy(to, CMSG_DATA(h), len);
	return true;
}

/* An int from min to 255, into 8 bits; -1, if min is that: as if it were not there. */
static int byte(const struct cmsghdr *h, int min, uint32_t flag, unsigned shift, struct send_ctl *c)
{
	int v;

	if (!has(h, &v, sizeof(v)) || v < min || v > 255)
		return -EINVAL;
	c->ip &= ~(flag | 0xffu << shift);
	if (v >= 0)
		c->ip |= flag | (uint32_t)v << shift;
	return 0;
}

static int of_ip(const struct cmsghdr *h, struct send_ctl *c)
{
	struct in_pktinfo pi;

	switch (h->cmsg_type) {
	case IP_PKTINFO:
		if (!has(h, &pi, sizeof(pi)))
			return -EINVAL;
		c->has_from = pi.ipi_spec_dst.s_addr != 0;
		c->from[10] = c->from[11] = 0xff;
		memcpy(c->from + 12, &pi.ipi_spec_dst, 4);
		return 0;
	case IP_TTL:
		return byte(h, 1, CHAN_IP_TTL, CHAN_IP_TTL_SHIFT, c);
	case IP_TOS:
		if (h->cmsg_len == CMSG_LEN(1)) {
			c->ip = (c->ip & ~(0xffu << CHAN_IP_TOS_SHIFT)) | CHAN_IP_TOS |
				(uint32_t)*CMSG_DATA(h) << CHAN_IP_TOS_SHIFT;
			return 0;
		}
		return byte(h, 0, CHAN_IP_TOS, CHAN_IP_TOS_SHIFT, c);
	}
	return -EINVAL;
}

static int of_ipv6(const struct cmsghdr *h, struct send_ctl *c)
{
	static const uint8_t zero[16];
	struct in6_pktinfo pi;

	switch (h->cmsg_type) {
	case IPV6_PKTINFO:
		if (!has(h, &pi, sizeof(pi)))
			return -EINVAL;
		memcpy(c->from, &pi.ipi6_addr, 16);
		c->has_from = memcmp(c->from, zero, 16) != 0;
		return 0;
	case IPV6_HOPLIMIT:
		return byte(h, -1, CHAN_IP_TTL, CHAN_IP_TTL_SHIFT, c);
	case IPV6_TCLASS:
		return byte(h, -1, CHAN_IP_TOS, CHAN_IP_TOS_SHIFT, c);
	}
	return -EINVAL;
}

/* UDP_SEGMENT: nothing is cut here, which a host may have done. */
static int of_udp(const struct cmsghdr *h, size_t bytes)
{
	uint16_t size;

	return h->cmsg_type == UDP_SEGMENT && has(h, &size, sizeof(size)) && size >= bytes
		       ? 0
		       : -EINVAL;
}

static int one(const struct csock *s, const struct cmsghdr *h, size_t bytes, struct send_ctl *c)
{
	if (h->cmsg_level == SOL_SOCKET)
		return h->cmsg_type == SCM_RIGHTS || h->cmsg_type == SCM_CREDENTIALS ? 0 : -EINVAL;
	if (s->type != SOCK_DGRAM)
		return 0;
	if (h->cmsg_level == IPPROTO_IP)
		return of_ip(h, c);
	if (h->cmsg_level == IPPROTO_IPV6 && s->domain == AF_INET6)
		return of_ipv6(h, c);
	return h->cmsg_level == IPPROTO_UDP ? of_udp(h, bytes) : 0;
}

int cmsgs_take(const struct csock *s, const struct msghdr *msg, size_t bytes, struct send_ctl *c)
{
	struct msghdr *m = (struct msghdr *)(uintptr_t)msg;
	int r = 0;

	if (msg->msg_control == NULL)
		return -EFAULT;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL && r == 0; h = CMSG_NXTHDR(m, h)) {
		size_t room = msg->msg_controllen -
			      (size_t)((const char *)h - (const char *)msg->msg_control);

		if (h->cmsg_len < CMSG_LEN(0) || h->cmsg_len > room)
			return -EINVAL;
		r = one(s, h, bytes, c);
	}
	return r;
}
