/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Datagrams: boundaries, truncation, addresses, control messages, pieces, empty ones; copying and
 * not.
 */
#define _GNU_SOURCE
#include "fake.h"

#define core0 (&fake.core[0])

static uint32_t sid;
static char buf[70000];
static struct sockaddr_in from;
static socklen_t from_len;

static int udp_socket(int flags)
{
	int fd = zs_socket(AF_INET, SOCK_DGRAM | flags, 0);

	assert_true(fd >= 0);
	sid = core0->next_sid - 1;
	return fd;
}

static void datagrams_keep_their_boundaries(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);

	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	fake_dgram(core0, sid, "one", 1001, 0);
	fake_dgram(core0, sid, "three", 1003, 0);
	from_len = sizeof(from);
	assert_int_equal(zs_recvfrom(fd, buf, 10, 0, (struct sockaddr *)&from, &from_len), 3);
	assert_int_equal(ntohs(from.sin_port), 1001);
	assert_int_equal(from_len, sizeof(from));
	assert_int_equal(zs_recvfrom(fd, buf, 10, MSG_PEEK, (struct sockaddr *)&from, &from_len),
			 5);
	assert_int_equal(ntohs(from.sin_port), 1003);
	assert_int_equal(zs_read(fd, buf, 2), 2);
	assert_memory_equal(buf, "th", 2);
	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
}

/* udp(7): MSG_TRUNC returns the whole length; recvmsg says that something is missing. */
static void truncation_is_told(void **state)
{
	struct iovec v = {buf, 2};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int fd = udp_socket(SOCK_NONBLOCK);

	fake_dgram(core0, sid, "three", 1, 0);
	fake_dgram(core0, sid, "three", 1, 0);
	assert_int_equal(zs_recv(fd, buf, 2, MSG_TRUNC), 5);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 2);
	assert_int_equal(m.msg_flags, MSG_TRUNC);
}

static void pieces_are_one_datagram(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);

	fake_dgram(core0, sid, "one ", 1, CHAN_CQ_MORE);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	fake_dgram(core0, sid, "two ", 1, CHAN_CQ_MORE);
	fake_dgram(core0, sid, "three", 1, 0);
	fake_dgram(core0, sid, "next", 1, 0);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 13);
	assert_memory_equal(buf, "one two three", 13);
	assert_int_equal(zs_recv(fd, buf, 100, 0), 4);
	zs_process(0);
	assert_int_equal(core0->returned, 4);
}

static void empty_datagram_is_a_datagram(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct zs_stats st;
	struct zs_buf b;

	fake_dgram(core0, sid, "", 7, 0);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	from_len = sizeof(from);
	assert_int_equal(zs_recvfrom(fd, buf, 10, 0, (struct sockaddr *)&from, &from_len), 0);
	assert_int_equal(ntohs(from.sin_port), 7);
	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	fake_dgram(core0, sid, "", 7, 0);
	assert_int_equal(zs_recvfrom_zc(fd, &b, 1, 0, NULL, NULL), 1);
	assert_int_equal(b.len, 0);
	assert_int_equal(zs_buf_release(&b, 1), 0);
	assert_int_equal(zs_buf_release(&b, 1), -EINVAL);
	for (int i = 0; i < 300; i++)
		fake_dgram(core0, sid, "", 7, 0);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.empty_dropped, 44);
	assert_int_equal(st.bad_events, 0);
	for (int i = 0; i < 256; i++)
		assert_int_equal(zs_recv(fd, buf, 1, 0), 0);
	assert_int_equal(zs_recv(fd, buf, 1, 0), -EAGAIN);
}

static void send_needs_a_destination(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = udp_socket(0);

	assert_int_equal(zs_send(fd, "x", 1, 0), -EDESTADDRREQ);
	assert_int_equal(zs_sendto(fd, "abc", 3, 0, (struct sockaddr *)&to, sizeof(to)), 3);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->port, 53);
	assert_string_equal(fake_sent(core0, fake_last(core0, CHAN_OP_SENDTO)), "abc");
	assert_int_equal(zs_sendto(fd, buf, 65508, 0, (struct sockaddr *)&to, sizeof(to)),
			 -EMSGSIZE);
	assert_int_equal(zs_sendto(fd, buf, 65507, 0, (struct sockaddr *)&to, sizeof(to)), 65507);
	assert_int_equal(zs_sendto(fd, buf, 0, 0, (struct sockaddr *)&to, sizeof(to)), 0);
	to.sin_port = 0;
	assert_int_equal(zs_sendto(fd, "abc", 3, 0, (struct sockaddr *)&to, sizeof(to)), -EINVAL);
	to.sin_port = htons(53);
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(zs_send(fd, "xy", 2, 0), 2);
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SEND)->len, 2);
	to.sin_family = AF_UNSPEC;
	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(zs_send(fd, "xy", 2, 0), -EDESTADDRREQ);
}

static void more_makes_pieces_of_one_datagram(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = udp_socket(0);

	zs_sendto(fd, "abc", 3, MSG_MORE, (struct sockaddr *)&to, sizeof(to));
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->flags,
			 CHAN_SEND_COPIED | CHAN_SEND_PART);
	zs_sendto(fd, "def", 3, 0, (struct sockaddr *)&to, sizeof(to));
	zs_process(0);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->flags, CHAN_SEND_COPIED);
}

/* RFC 1122 §4.1.3.3: told by the next call, once. */
static void icmp_error_is_told_once(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = udp_socket(SOCK_NONBLOCK);

	assert_int_equal(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	fake_error(core0, sid, -ECONNREFUSED, false);
	assert_int_equal(zs_recv(fd, buf, 10, 0), -ECONNREFUSED);
	assert_int_equal(zs_recv(fd, buf, 10, 0), -EAGAIN);
	fake_error(core0, sid, -ECONNREFUSED, false);
	zs_process(0);
	assert_int_equal(zs_send(fd, "x", 1, 0), -ECONNREFUSED);
	assert_int_equal(zs_send(fd, "x", 1, 0), 1);
}

/* RFC 3542 §6.2, ip(7). */
static void own_address_goes_along_when_named(void **state)
{
	static const uint8_t tail[12] = "\0\0\0\0\0\0\xff\xff\x0a\0\0\x09";
	struct in_pktinfo pi = {.ipi_spec_dst.s_addr = htonl(0x0a000009)};
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(pi))];
	} control = {.h = {.cmsg_len = CMSG_LEN(sizeof(pi)),
			   .cmsg_level = IPPROTO_IP,
			   .cmsg_type = IP_PKTINFO}};
	struct sockaddr_in to = fake_addr(53);
	struct iovec v = {buf, 10};
	struct msghdr m = {.msg_name = &to,
			   .msg_namelen = sizeof(to),
			   .msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int fd = udp_socket(SOCK_NONBLOCK);

	memcpy(CMSG_DATA(&control.h), &pi, sizeof(pi));
	assert_int_equal(zs_sendmsg(fd, &m, 0), 10);
	zs_process(0);
	assert_true(fake_last(core0, CHAN_OP_SENDTO)->flags & CHAN_SEND_FROM);
	assert_memory_equal(fake_last(core0, CHAN_OP_SENDTO)->from, tail, sizeof(tail));
	memset(CMSG_DATA(&control.h), 0, sizeof(pi));
	assert_int_equal(zs_sendmsg(fd, &m, 0), 10);
	zs_process(0);
	assert_false(fake_last(core0, CHAN_OP_SENDTO)->flags & CHAN_SEND_FROM);
	control.h.cmsg_type = IP_TTL;
	assert_int_equal(zs_sendmsg(fd, &m, 0), -EINVAL);
}

static int send_with(int fd, int type, int v, size_t len)
{
	union {
		struct cmsghdr h;
		char bytes[CMSG_SPACE(sizeof(v))];
	} control = {.h = {.cmsg_len = CMSG_LEN(len), .cmsg_level = IPPROTO_IP, .cmsg_type = type}};
	struct sockaddr_in to = fake_addr(53);
	struct iovec iov = {buf, 10};
	struct msghdr m = {.msg_name = &to,
			   .msg_namelen = sizeof(to),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int r;

	memcpy(CMSG_DATA(&control.h), &v, len);
	r = (int)zs_sendmsg(fd, &m, 0);
	zs_process(0);
	return r;
}

/* ip(7), of one datagram. */
static void ttl_and_tos_go_along_when_named(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);

	assert_int_equal(send_with(fd, IP_TTL, 5, sizeof(int)), 10);
	assert_true(fake_last(core0, CHAN_OP_SENDTO)->flags & CHAN_SEND_IP);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->loan, CHAN_IP_TTL | 5);
	assert_int_equal(send_with(fd, IP_TOS, 0x10, sizeof(int)), 10);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->loan, CHAN_IP_TOS | 0x1000);
	assert_int_equal(send_with(fd, IP_TOS, 0x20, 1), 10);
	assert_int_equal(fake_last(core0, CHAN_OP_SENDTO)->loan, CHAN_IP_TOS | 0x2000);
	assert_int_equal(send_with(fd, IP_TTL, 0, sizeof(int)), -EINVAL);
	assert_int_equal(send_with(fd, IP_TOS, -1, sizeof(int)), -EINVAL);
	assert_int_equal(zs_send(fd, "x", 1, 0), -EDESTADDRREQ);
}

static void control_messages_come_when_asked_for(void **state)
{
	union {
		struct cmsghdr h;
		char bytes[256];
	} control;
	struct iovec v = {buf, 100};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int fd = udp_socket(SOCK_NONBLOCK), on = 1, seen = 0;

	m.msg_control = &control;
	m.msg_controllen = sizeof(control);
	fake_dgram(core0, sid, "a", 1, 0);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 1);
	assert_int_equal(m.msg_controllen, 0);
	zs_setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	zs_setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on));
	fake_dgram(core0, sid, "a", 1, 0);
	m.msg_controllen = sizeof(control);
	assert_int_equal(zs_recvmsg(fd, &m, 0), 1);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
		struct in_pktinfo pi;

		seen++;
		if (h->cmsg_type == IP_TTL) {
			assert_int_equal(*(int *)(void *)CMSG_DATA(h), 64);
			continue;
		}
		assert_int_equal(h->cmsg_type, IP_PKTINFO);
		memcpy(&pi, CMSG_DATA(h), sizeof(pi));
		assert_int_equal(pi.ipi_ifindex, FAKE_IF_KERNEL);
		assert_int_equal(ntohl(pi.ipi_addr.s_addr), 0x0a000001);
	}
	assert_int_equal(seen, 2);
	fake_dgram(core0, sid, "a", 1, 0);
	m.msg_controllen = 8;
	assert_int_equal(zs_recvmsg(fd, &m, 0), 1);
	assert_int_equal(m.msg_flags, MSG_CTRUNC);
}

static void zero_copy_echo_of_pieces(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);
	struct zs_buf b[4];
	uint64_t cookie;

	fake_dgram(core0, sid, "one", 9, CHAN_CQ_MORE);
	fake_dgram(core0, sid, "two", 9, 0);
	assert_int_equal(zs_recvfrom_zc(fd, b, 1, 0, NULL, NULL), -EMSGSIZE);
	from_len = sizeof(from);
	assert_int_equal(zs_recvfrom_zc(fd, b, 4, 0, (struct sockaddr *)&from, &from_len), 2);
	assert_int_equal(zs_sendto_zc(fd, b, 2, 5, 0, (struct sockaddr *)&from, from_len), 2);
	zs_process(0);
	const struct chan_sqe *q = &core0->log[core0->n_log - 1];

	assert_int_equal(q->op, CHAN_OP_SEND_LOAN);
	assert_int_equal(q->flags, 0);
	assert_int_equal(q->port, 9);
	assert_int_equal(q[-1].flags, CHAN_SEND_PART);
	zs_process(0);
	assert_int_equal(core0->returned, 2);
	assert_int_equal(zs_sent_zc(fd, &cookie, 1), 1);
	assert_int_equal(cookie, 5);
}

static void zero_copy_datagram_goes_whole_or_not_at_all(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = udp_socket(SOCK_NONBLOCK);
	struct zs_buf b[3];

	assert_int_equal(zs_buf_alloc(fd, 3, &b[0]), 0);
	b[1] = b[0];
	assert_int_equal(zs_sendto_zc(fd, b, 2, 0, 0, (struct sockaddr *)&to, sizeof(to)), -EINVAL);
	assert_int_equal(zs_buf_ref(b), 0);
	assert_int_equal(zs_sendto_zc(fd, b, 2, 0, 0, NULL, 0), -EDESTADDRREQ);
	assert_int_equal(zs_sendto_zc(fd, b, 2, 0, 0, (struct sockaddr *)&to, sizeof(to)), 2);
	assert_int_equal(zs_buf_release(b, 1), -EINVAL);
	assert_int_equal(zs_sendto_zc(fd, b, 0, 0, 0, NULL, 0), -EINVAL);
	assert_int_equal(zs_sendto_zc(fd, b, 49, 0, 0, NULL, 0), -EINVAL);
	assert_int_equal(zs_send_zc(fd, b, 1, 0, 0), -EOPNOTSUPP);
}

/* Fewer tokens than pieces: later, and not in a loop. */
static void datagram_of_more_pieces_than_tokens_is_not_taken(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	struct zs_buf b[3];
	int fd;

	fake_stop();
	chan_geometry_defaults(&fake.geometry);
	fake.geometry.max_tokens = 4;
	fake_start(1, false);
	fd = udp_socket(SOCK_NONBLOCK);
	fake.keep_tokens = true;
	for (int i = 0; i < 2; i++)
		assert_int_equal(zs_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(zs_buf_alloc(fd, 3, &b[i]), 0);
	assert_int_equal(zs_sendto_zc(fd, b, 3, 0, 0, (struct sockaddr *)&to, sizeof(to)), -EAGAIN);
	zs_process(0);
	fake_ack(core0, 2);
	assert_int_equal(zs_sendto_zc(fd, b, 3, 0, 0, (struct sockaddr *)&to, sizeof(to)), 3);
}

static void queued_error(uint8_t flags)
{
	fake_event(core0, &(struct chan_cqe){.ev = CHAN_EV_ERROR,
					     .sid = sid,
					     .res = -ECONNREFUSED,
					     .flags = (uint8_t)(CHAN_CQ_QUEUED | flags),
					     .aux = CHAN_ERROR_AUX(2, 3, 3, 64)});
}

static void quote(int32_t len, uint8_t flags)
{
	struct chan_cqe e = {.ev = CHAN_EV_QUOTE, .sid = sid, .res = len, .flags = flags};

	memset(e.data, 'q', sizeof(e.data));
	fake_event(core0, &e);
}

/* ip(7); a queue that is full loses what is new. */
static void errors_are_queued_with_what_they_quote(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);

	queued_error(CHAN_CQ_MORE);
	quote(32, CHAN_CQ_MORE);
	quote(3, 0);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_ERRQUEUE), 35);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	for (int i = 0; i < 100; i++)
		queued_error(0);
	for (int i = 0; i < 32; i++)
		assert_int_equal(zs_recv(fd, buf, 100, MSG_ERRQUEUE), 0);
	assert_int_equal(zs_recv(fd, buf, 100, MSG_ERRQUEUE), -EAGAIN);
	assert_int_equal(zs_recv(fd, buf, 100, 0), -EAGAIN);
	zs_close(fd);
	zs_process(0);
}

#define STAMPING (1 << 1 | 1 << 4 | 1 << 7 | 1 << 11) /* TX_SOFTWARE, SOFTWARE, OPT_ID, TSONLY */

/* Linux, Documentation/networking/timestamping.rst: when it is gone, with its number. */
static void datagrams_are_stamped_when_they_are_gone(void **state)
{
	struct sockaddr_in to = fake_addr(53);
	int fd = udp_socket(SOCK_NONBLOCK), flags = STAMPING, one = 1;
	struct pollfd p = {.fd = fd};
	char control[128];
	struct msghdr m = {.msg_control = control, .msg_controllen = sizeof(control)};
	uint32_t e[4];

	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)), 0);
	assert_int_equal(zs_setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)), 0);
	fake.keep_tokens = true;
	for (int i = 0; i < 3; i++)
		assert_int_equal(zs_sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	assert_int_equal(zs_recvmsg(fd, &m, MSG_ERRQUEUE), -EAGAIN);
	fake_ack(core0, 2);
	assert_int_equal(zs_poll(&p, 1, 0), 1);
	assert_int_equal(p.revents, POLLERR);
	for (uint32_t i = 0; i < 2; i++) {
		struct cmsghdr *c;

		m.msg_controllen = sizeof(control);
		assert_int_equal(zs_recvmsg(fd, &m, MSG_ERRQUEUE), 0);
		c = CMSG_FIRSTHDR(&m);
		assert_int_equal(c->cmsg_type, SO_TIMESTAMPNS);
		c = CMSG_NXTHDR(&m, c);
		assert_int_equal(c->cmsg_type, SO_TIMESTAMPING);
		c = CMSG_NXTHDR(&m, c);
		memcpy(e, CMSG_DATA(c), sizeof(e));
		assert_int_equal(e[0], ENOMSG);
		assert_int_equal(e[3], i);
	}
	assert_int_equal(zs_poll(&p, 1, 0), 0);
	/* Closed before the last one is. */
	assert_int_equal(zs_close(fd), 0);
	fake_ack(core0, 1);
	zs_process(0);
}

/* H32: what the stack says is checked. */
static void quotes_that_can_not_be_break_nothing_else(void **state)
{
	int fd = udp_socket(SOCK_NONBLOCK);
	struct zs_stats st;

	quote(3, 0); /* behind nothing: of an error that found no place */
	queued_error(CHAN_CQ_MORE);
	for (int i = 0; i < 4; i++)
		quote(32, CHAN_CQ_MORE);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.bad_events, 0);
	quote(32, 0); /* more than one may be */
	quote(33, 0);
	quote(-1, 0);
	quote(0, 0);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.bad_events, 4);
	assert_int_equal(zs_recv(fd, buf, 1000, MSG_ERRQUEUE), 128);
	sid += 77;
	quote(3, 0);
	queued_error(0);
	zs_stats(&st, sizeof(st));
	assert_int_equal(st.bad_events, 6);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(datagrams_keep_their_boundaries),
		T(truncation_is_told),
		T(pieces_are_one_datagram),
		T(empty_datagram_is_a_datagram),
		T(send_needs_a_destination),
		T(more_makes_pieces_of_one_datagram),
		T(icmp_error_is_told_once),
		T(errors_are_queued_with_what_they_quote),
		T(datagrams_are_stamped_when_they_are_gone),
		T(quotes_that_can_not_be_break_nothing_else),
		T(own_address_goes_along_when_named),
		T(ttl_and_tos_go_along_when_named),
		T(control_messages_come_when_asked_for),
		T(zero_copy_echo_of_pieces),
		T(zero_copy_datagram_goes_whole_or_not_at_all),
		T(datagram_of_more_pieces_than_tokens_is_not_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
