/* SPDX-License-Identifier: BSD-3-Clause */
#include "ip_test.h"

#include <errno.h>

static struct icmp_error err;

static enum next in4(uint8_t *msg, unsigned n, struct pkt *p)
{
	struct icmp_hdr *h = (struct icmp_hdr *)msg;

	if (n >= 4) {
		h->csum.v = 0;
		h->csum.v = csum_finish(csum_add(0, msg, n));
	}
	*p = rx4(hdr4(IP_PROTO_ICMP, n), msg, n);
	assert_int_equal(ip4_input(ip, p, 0), NEXT_ICMP4);
	return icmp4_input(ip, p, &err);
}

static enum next in6(uint8_t *msg, unsigned n, struct pkt *p)
{
	struct icmp_hdr *h = (struct icmp_hdr *)msg;
	struct ip_addr src = PEER6, dst = OUR6;

	h->csum.v = 0;
	h->csum.v = csum_finish(
		csum_add(csum_pseudo(0, src.b, dst.b, true, IP_PROTO_ICMP6, n), msg, n));
	*p = rx6(hdr6(IP_PROTO_ICMP6, n), msg, n);
	assert_int_equal(ip6_input(ip, p, 0), NEXT_ICMP6);
	return icmp6_input(ip, p, &err);
}

/* An error quoting a TCP segment of ours: ports 80 and 1234, sequence 0x01020304. */
static unsigned error4(uint8_t *b, uint8_t type, uint8_t code, uint16_t mtu)
{
	struct icmp_hdr h = {.type = type, .code = code, .rest = be32(mtu)};
	struct ip4_hdr q = hdr4(IP_PROTO_TCP, 1480);
	static const uint8_t tcp[8] = {0, 80, 4, 210, 1, 2, 3, 4};

	q.src = OUR4.w[3];
	q.dst = v4(8, 8, 8, 8).w[3];
	memcpy(b, &h, 8);
	memcpy(b + 8, &q, 20);
	memcpy(b + 28, tcp, 8);
	return 36;
}

static unsigned error6(uint8_t *b, uint8_t type, uint8_t code, uint32_t mtu)
{
	struct icmp_hdr h = {.type = type, .code = code, .rest = be32(mtu)};
	struct ip6_hdr q = hdr6(IP_PROTO_TCP, 1480);
	static const uint8_t tcp[8] = {0, 80, 4, 210, 1, 2, 3, 4};
	struct ip_addr src = OUR6, dst = PEER6;

	memcpy(q.src, src.b, 16);
	memcpy(q.dst, dst.b, 16);
	memcpy(b, &h, 8);
	memcpy(b + 8, &q, 40);
	memcpy(b + 48, tcp, 8);
	return 56;
}

/* RFC 1122 §3.2.2.6. */
static void echo_request_becomes_the_reply(void **state)
{
	uint8_t msg[64] = {ICMP4_ECHO, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7};
	struct ip_addr peer = PEER4, our = OUR4;
	struct pkt p;
	uint8_t ifindex = 0;

	assert_int_equal(in4(msg, 63, &p), NEXT_IP_OUT);
	assert_int_equal(pkt_data(p.m)[0], ICMP4_ECHO_REPLY);
	assert_int_equal(pkt_csum(p.m, 0, 63), 0xffff);
	assert_memory_equal(pkt_data(p.m) + 4, msg + 4, 59);
	assert_true(ip_addr_eq(&p.dst, &peer) && ip_addr_eq(&p.src, &our));
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	pkt_free(p.m);
}

/* RFC 4443 §4.2. */
static void echo6_request_becomes_the_reply(void **state)
{
	uint8_t msg[64] = {ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7};
	struct pkt p;
	uint32_t sum;

	assert_int_equal(in6(msg, 63, &p), NEXT_IP_OUT);
	assert_int_equal(pkt_data(p.m)[0], ICMP6_ECHO_REPLY);
	sum = csum_pseudo(0, p.src.b, p.dst.b, true, IP_PROTO_ICMP6, 63);
	assert_int_equal(csum_fold(csum_add(sum, pkt_data(p.m), 63)), 0xffff);
	pkt_free(p.m);
}

/* RFC 4443 §4.2: from the link only, and from a link-local address of ours. */
static void echo6_to_all_nodes_is_answered_from_the_link(void **state)
{
	struct ip_addr ll = {.b = {0xfe, 0x80, [15] = 1}}, peer = {.b = {0xfe, 0x80, [15] = 2}};
	struct ip_addr all = {.b = {0xff, 2, [15] = 1}}, far = PEER6;
	struct ip_ifaddr a = {.addr = ll, .prefix_len = 64};
	uint8_t msg[64] = {ICMP6_ECHO, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7};
	struct icmp_hdr *h = (struct icmp_hdr *)msg;
	uint32_t sum = csum_pseudo(0, peer.b, all.b, true, IP_PROTO_ICMP6, 63);
	struct ip6_hdr h6 = hdr6(IP_PROTO_ICMP6, 63);
	uint8_t ifindex = 9;
	struct pkt p;

	h->csum.v = csum_finish(csum_add(sum, msg, 63));
	memcpy(h6.src, peer.b, 16);
	memcpy(h6.dst, all.b, 16);
	for (unsigned i = 0; i < 2; i++) {
		p = rx6(h6, msg, 63);
		assert_int_equal(ip6_input(ip, &p, 0), NEXT_ICMP6);
		if (i == 0) {
			refused(icmp6_input(ip, &p, &err), &p, DROP_ICMP_TYPE);
			assert_int_equal(ip_addr_add(ip, &a), 0);
		}
	}
	assert_int_equal(icmp6_input(ip, &p, &err), NEXT_IP_OUT);
	assert_true(ip_addr_eq(&p.src, &ll) && ip_addr_eq(&p.dst, &peer));
	sum = csum_pseudo(0, ll.b, peer.b, true, IP_PROTO_ICMP6, 63);
	assert_int_equal(csum_fold(csum_add(sum, pkt_data(p.m), 63)), 0xffff);
	assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
	assert_int_equal(ifindex, 0);
	pkt_free(p.m);
	sum = csum_pseudo(0, far.b, all.b, true, IP_PROTO_ICMP6, 63);
	h->csum.v = 0;
	h->csum.v = csum_finish(csum_add(sum, msg, 63));
	memcpy(h6.src, far.b, 16);
	p = rx6(h6, msg, 63);
	assert_int_equal(ip6_input(ip, &p, 0), NEXT_ICMP6);
	refused(icmp6_input(ip, &p, &err), &p, DROP_ICMP_TYPE);
}

/* The request that ip_ping_build made, turned into its reply by hand. */
static struct pkt pong(const struct ip_ping *ask, bool six, uint16_t seq)
{
	struct pkt out;
	struct icmp_hdr h;
	struct ip_addr from = PEER6, to = OUR6;
	uint8_t b[64];
	uint32_t sum = 0;

	assert_int_equal(ip_ping_build(ip, ask, &out), NEXT_IP_OUT);
	assert_int_equal(pkt_copy_out(out.m, 0, sizeof(b), b), 8u + ask->bytes);
	if (!six)
		assert_int_equal(pkt_csum(out.m, 0, out.l4_len), 0xffff);
	pkt_free(out.m);
	memcpy(&h, b, sizeof(h));
	assert_int_equal(h.type, six ? ICMP6_ECHO : ICMP4_ECHO);
	h.type = six ? ICMP6_ECHO_REPLY : ICMP4_ECHO_REPLY;
	h.rest = be32((uint32_t)ask->id << 16 | seq);
	h.csum.v = 0;
	if (six)
		sum = csum_pseudo(0, from.b, to.b, true, 58, 8u + ask->bytes);
	memcpy(b, &h, sizeof(h));
	h.csum.v = csum_finish(csum_add(sum, b, 8u + ask->bytes));
	memcpy(b, &h, sizeof(h));
	return six ? rx6(hdr6(58, 8u + ask->bytes), b, 8u + ask->bytes)
		   : rx4(hdr4(1, 8u + ask->bytes), b, 8u + ask->bytes);
}

static enum next pong_in(struct pkt *p, bool six)
{
	assert_int_equal(six ? ip6_input(ip, p, 0) : ip4_input(ip, p, 0),
			 six ? NEXT_ICMP6 : NEXT_ICMP4);
	return six ? icmp6_input(ip, p, &err) : icmp4_input(ip, p, &err);
}

/* RFC 792, RFC 4443 §4.2: a reply is told by its identifier and sequence number. */
static void echo_reply_that_was_asked_for_is_noted(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct ip_ping ask = {.dst = six ? PEER6 : PEER4, .id = 7, .seq = 1, .bytes = 24};
		struct ip_pong got;
		struct pkt p;

		assert_int_equal(ip_ping_expect(ip, &ask), 0);
		assert_false(ip_ping_answered(ip, 7, &got));
		p = pong(&ask, six, 2);
		refused(pong_in(&p, six), &p, DROP_ICMP_UNMATCHED);
		ip_begin(ip, 1500000000 * (1 + (unsigned)six));
		p = pong(&ask, six, 1);
		assert_int_equal(pong_in(&p, six), NEXT_CONSUMED);
		assert_true(ip_ping_answered(ip, 7, &got));
		assert_int_equal(got.ttl, 64);
		assert_int_equal(got.at_ns, 1500000000 * (1 + (unsigned)six));
		p = pong(&ask, six, 1);
		refused(pong_in(&p, six), &p, DROP_ICMP_UNMATCHED);
		ip_ping_forget(ip, 7);
		assert_false(ip_ping_answered(ip, 7, &got));
	}
}

static void echo_of_too_many_ids_is_refused(void **state)
{
	struct ip_ping ask = {.dst = PEER4};

	while (ask.id < 8) {
		ask.id++;
		assert_int_equal(ip_ping_expect(ip, &ask), 0);
	}
	assert_int_equal(ip_ping_expect(ip, &ask), 0);
	ask.id++;
	assert_int_equal(ip_ping_expect(ip, &ask), -ENOSPC);
	ip_ping_forget(ip, 3);
	assert_int_equal(ip_ping_expect(ip, &ask), 0);
}

static void echo_to_broadcast_or_flood_is_not_answered(void **state)
{
	uint8_t msg[8] = {ICMP4_ECHO, 0, 0xf7, 0xff};
	struct ip4_hdr h = hdr4(IP_PROTO_ICMP, 8);
	unsigned answered = 0;
	struct pkt p;

	h.dst = v4(10, 0, 0, 255).w[3];
	p = rx4(h, msg, 8);
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_ICMP4);
	refused(icmp4_input(ip, &p, &err), &p, DROP_ICMP_TYPE);
	for (unsigned i = 0; i < 300000; i++) {
		answered += in4(msg, 8, &p) == NEXT_IP_OUT;
		pkt_free(p.m);
	}
	assert_in_range(answered, 50000, 200000);
	ip_begin(ip, UINT64_C(2000000000));
	assert_int_equal(in4(msg, 8, &p), NEXT_IP_OUT);
	pkt_free(p.m);
}

/* RFC 1122 §3.2.2, RFC 4443 §2.4 (f) */
static void errors_beyond_the_rate_are_not_sent(void **state)
{
	struct pkt p = rx4(hdr4(IP_PROTO_UDP, 8), "\0\1\0\2\0\10\0", 8), r;
	unsigned sent = 0;

	assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
	for (unsigned i = 0; i < 5000; i++) {
		if (icmp_error_build(ip, &p, ICMP_WHY_PORT, &r) == NEXT_IP_OUT) {
			sent++;
			pkt_free(r.m);
		} else {
			assert_int_equal(r.drop, DROP_ICMP_RATE);
		}
	}
	assert_in_range(sent, 500, 2000);
	pkt_free(p.m);
}

/* H22: the request lies in memory that somebody else reads too, and in pieces. The reply is right,
 * and not a byte of the request changes. */
static void h22_echo_in_shared_pieces_is_answered_apart(void **state)
{
	uint8_t msg[64] = {ICMP4_ECHO, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7}, before[128];
	struct icmp_hdr *h = (struct icmp_hdr *)msg;
	struct pkt whole, p;

	h->csum.v = csum_finish(csum_add(0, msg, 63));
	whole = rx4(hdr4(IP_PROTO_ICMP, 63), msg, 63);
	memcpy(before, pkt_data(whole.m), 97);
	for (uint16_t cut = 1; cut < 97; cut++) {
		uint8_t ifindex = 0;

		p = (struct pkt){.m = pkt_slice(&pools, whole.m, 0, cut), .l3_off = 14};
		assert_int_equal(rte_pktmbuf_chain(p.m, pkt_slice(&pools, whole.m, cut,
								  (uint16_t)(97 - cut))),
				 0);
		assert_int_equal(ip4_input(ip, &p, 0), NEXT_ICMP4);
		assert_int_equal(icmp4_input(ip, &p, &err), NEXT_IP_OUT);
		assert_int_equal(p.m->pkt_len, 63);
		assert_int_equal(pkt_data(p.m)[0], ICMP4_ECHO_REPLY);
		assert_int_equal(pkt_csum(p.m, 0, 63), 0xffff);
		assert_int_equal(ip_output(ip, &p, &ifindex), NEXT_NEIGH_OUT);
		rte_mbuf_sanity_check(p.m, 1);
		pkt_free(p.m);
		assert_memory_equal(before, pkt_data(whole.m), 97);
	}
	pkt_free(whole.m);
}

/* H22: no buffer for the reply: counted, nothing lost. */
static void h22_echo_in_a_shared_buffer_without_memory_is_dropped(void **state)
{
	uint8_t msg[8] = {ICMP4_ECHO, 0, 0xf7, 0xff};
	struct rte_mbuf *hold[POOL_SIZE];
	struct pkt p = rx4(hdr4(IP_PROTO_ICMP, 8), msg, 8);
	struct rte_mbuf *other = pkt_slice(&pools, p.m, 0, 8);

	assert_int_equal(rte_pktmbuf_alloc_bulk(pools.hdr, hold, POOL_SIZE), 0);
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_ICMP4);
	refused(icmp4_input(ip, &p, &err), &p, DROP_NO_MBUF);
	rte_pktmbuf_free_bulk(hold, POOL_SIZE);
	pkt_free(other);
}

static void h19_icmp_with_bad_checksum_or_cut_dropped(void **state)
{
	uint8_t msg[8] = {ICMP4_ECHO, 0, 1, 1};
	struct pkt p = rx4(hdr4(IP_PROTO_ICMP, 8), msg, 8);

	p.flags = PKT_F_CSUM_OK; /* no port checks ICMP: the claim counts for nothing */
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_ICMP4);
	refused(icmp4_input(ip, &p, &err), &p, DROP_ICMP_CSUM);
	p = rx4(hdr4(IP_PROTO_ICMP, 7), msg, 7);
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_ICMP4);
	refused(icmp4_input(ip, &p, &err), &p, DROP_ICMP_SHORT);
}

static void unreachable_names_the_flow_and_errno(void **state)
{
	struct ip_addr our = OUR4, peer = PEER4;
	uint8_t b[64];
	struct pkt p;

	assert_int_equal(in4(b, error4(b, 3, 3, 0), &p), NEXT_ICMP_ERROR);
	pkt_free(p.m);
	assert_int_equal(err.err, ECONNREFUSED);
	assert_true(err.hard && err.have_seq);
	assert_int_equal(err.sport, 80);
	assert_int_equal(err.dport, 1234);
	assert_int_equal(err.tcp_seq, 0x01020304);
	assert_true(ip_addr_eq(&err.src, &our) && ip_addr_eq(&err.offender, &peer));
	assert_int_equal(in6(b, error6(b, 1, 4, 0), &p), NEXT_ICMP_ERROR);
	pkt_free(p.m);
	assert_int_equal(err.err, ECONNREFUSED);
	assert_int_equal(err.tcp_seq, 0x01020304);
}

static void h18_forged_mtu_is_clamped(void **state)
{
	static const uint16_t said[] = {1, 67, 68, 1400, 0}, got[] = {68, 68, 68, 1400, 1492};
	uint8_t b[64];
	struct pkt p;

	for (unsigned i = 0; i < array_size(said); i++) {
		assert_int_equal(in4(b, error4(b, 3, 4, said[i]), &p), NEXT_ICMP_ERROR);
		assert_int_equal(err.err, EMSGSIZE);
		assert_int_equal(err.mtu, got[i]);
		pkt_free(p.m);
	}
	for (uint32_t mtu = 0; mtu < 1400; mtu += 100) {
		assert_int_equal(in6(b, error6(b, 2, 0, mtu), &p), NEXT_ICMP_ERROR);
		assert_int_equal(err.mtu, mtu < 1280 ? 1280 : mtu);
		pkt_free(p.m);
	}
	assert_int_equal(in6(b, error6(b, 2, 0, UINT32_MAX), &p), NEXT_ICMP_ERROR);
	assert_int_equal(err.mtu, UINT16_MAX);
	pkt_free(p.m);
}

static void h18_error_quoting_what_we_never_sent_dropped(void **state)
{
	struct ip4_hdr *q;
	uint8_t b[64];
	struct pkt p;

	q = (struct ip4_hdr *)(b + 8);
	error4(b, 3, 3, 0);
	q->src = v4(10, 0, 0, 77).w[3];
	refused(in4(b, 36, &p), &p, DROP_ICMP_UNMATCHED);
	error4(b, 3, 3, 0);
	q->frag = be16(100);
	refused(in4(b, 36, &p), &p, DROP_ICMP_UNMATCHED);
	error4(b, 3, 3, 0);
	q->dst = v4(10, 0, 0, 255).w[3];
	refused(in4(b, 36, &p), &p, DROP_ICMP_UNMATCHED);
	error4(b, 3, 3, 0);
	q->proto = IP_PROTO_ICMP;
	refused(in4(b, 36, &p), &p, DROP_ICMP_UNMATCHED);
	error4(b, 3, 3, 0);
	q->ver_ihl = 0x4f;
	refused(in4(b, 36, &p), &p, DROP_ICMP_SHORT);
	for (unsigned n = 8; n < 36; n++) {
		error4(b, 3, 3, 0);
		refused(in4(b, n, &p), &p, DROP_ICMP_SHORT);
	}
	for (unsigned n = 8; n < 56; n++) {
		error6(b, 1, 4, 0);
		refused(in6(b, n, &p), &p, DROP_ICMP_SHORT);
	}
	error4(b, ICMP4_REDIRECT, 0, 0);
	refused(in4(b, 36, &p), &p, DROP_REDIRECT);
}

/* RFC 4861 §7.1.1. */
static void neighbour_discovery_from_another_link_dropped(void **state)
{
	uint8_t msg[24] = {135};
	struct pkt p;

	refused(in6(msg, 24, &p), &p, DROP_ND_BAD);
	p = rx6(hdr6(IP_PROTO_ICMP6, 24), msg, 24);
	((struct ip6_hdr *)(pkt_data(p.m) + 14))->hop_limit = 255;
	assert_int_equal(ip6_input(ip, &p, 0), NEXT_ICMP6);
	assert_int_equal(icmp6_input(ip, &p, &err), NEXT_ND);
	pkt_free(p.m);
}

/* RFC 1122 §3.2.2.1, RFC 4443 §3.1. */
static void datagram_without_socket_is_answered_with_a_quote(void **state)
{
	uint8_t pay[1000] = {1, 2, 3};
	struct pkt p = rx4(hdr4(IP_PROTO_UDP, 1000), pay, 1000), r;

	assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
	assert_int_equal(icmp_error_build(ip, &p, ICMP_WHY_PORT, &r), NEXT_IP_OUT);
	assert_int_equal(pkt_data(r.m)[0], 3);
	assert_int_equal(pkt_data(r.m)[1], 3);
	assert_int_equal(pkt_csum(r.m, 0, r.m->pkt_len), 0xffff);
	assert_in_range(r.m->pkt_len, 36, 556);
	assert_memory_equal(pkt_data(r.m) + 8, pkt_data(p.m) + 14, 500);
	pkt_free(r.m);
	pkt_free(p.m);
	p = rx6(hdr6(200, 100), pay, 100);
	assert_int_equal(ip6_input(ip, &p, 0), NEXT_UNREACH_PROTO);
	assert_int_equal(icmp_error_build(ip, &p, ICMP_WHY_PROTO, &r), NEXT_IP_OUT);
	assert_int_equal(pkt_data(r.m)[0], ICMP6_PARAM);
	assert_int_equal(pkt_data(r.m)[7], 6);
	pkt_free(r.m);
	pkt_free(p.m);
}

/* RFC 1122 §3.2.2, RFC 4443 §2.4 (e). */
static void error_is_never_sent_about_errors_or_groups(void **state)
{
	struct ip4_hdr h = hdr4(IP_PROTO_UDP, 8);
	uint8_t b[64];
	struct pkt p, r;

	assert_int_equal(in4(b, error4(b, 3, 3, 0), &p), NEXT_ICMP_ERROR);
	assert_int_equal(icmp_error_build(ip, &p, ICMP_WHY_PROTO, &r), NEXT_DROP);
	pkt_free(p.m);
	h.dst = v4(10, 0, 0, 255).w[3];
	p = rx4(h, b, 8);
	assert_int_equal(ip4_input(ip, &p, 0), NEXT_UDP);
	assert_int_equal(icmp_error_build(ip, &p, ICMP_WHY_PORT, &r), NEXT_DROP);
	assert_int_equal(r.drop, DROP_ICMP_TYPE);
	pkt_free(p.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(echo_request_becomes_the_reply),
		T(echo6_request_becomes_the_reply),
		T(echo6_to_all_nodes_is_answered_from_the_link),
		T(echo_reply_that_was_asked_for_is_noted),
		T(echo_of_too_many_ids_is_refused),
		T(echo_to_broadcast_or_flood_is_not_answered),
		T(errors_beyond_the_rate_are_not_sent),
		T(h22_echo_in_shared_pieces_is_answered_apart),
		T(h22_echo_in_a_shared_buffer_without_memory_is_dropped),
		T(h19_icmp_with_bad_checksum_or_cut_dropped),
		T(unreachable_names_the_flow_and_errno),
		T(h18_forged_mtu_is_clamped),
		T(h18_error_quoting_what_we_never_sent_dropped),
		T(neighbour_discovery_from_another_link_dropped),
		T(datagram_without_socket_is_answered_with_a_quote),
		T(error_is_never_sent_about_errors_or_groups),
	};

	return run(tests, array_size(tests));
}
