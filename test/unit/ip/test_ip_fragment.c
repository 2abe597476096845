/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fragments of one instance are reassembled by another one, the peer.
 */
#include <errno.h>

#include "ip_test.h"
#include "base/rand.h"

#define MTU 1500

static struct ip *peer;
static struct rand rng;

static int peer_up(void **state)
{
	struct eth_addr mac = {{2, 0, 0, 0, 0, 2}};
	struct ip_ifaddr a4 = {.addr = PEER4, .prefix_len = 24};
	struct ip_ifaddr a6 = {.addr = PEER6, .prefix_len = 64};
	struct ip_cfg cfg;

	if (ip_up(state) != 0)
		return -1;
	rand_init(&rng, 1);
	ip_cfg_defaults(&cfg);
	cfg.pools = &pools;
	cfg.drops = &drops;
	cfg.seed = 2;
	peer = ip_create(&cfg);
	assert_non_null(peer);
	ip_begin(peer, 1000000000);
	return ip_if_add(peer, 0, MTU, &mac) | ip_addr_add(peer, &a4) | ip_addr_add(peer, &a6);
}

static int peer_down(void **state)
{
	ip_destroy(peer);
	return ip_down(state);
}

/* n bytes of a pattern in segments of random sizes. */
static struct rte_mbuf *datagram(uint32_t n)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(pools.rx);

	for (uint32_t off = 0; off < n;) {
		uint16_t len = (uint16_t)(1 + rand_below(&rng, 1900));
		uint8_t *to;

		if (len > n - off)
			len = (uint16_t)(n - off);
		to = (uint8_t *)rte_pktmbuf_append(head, len);
		for (unsigned i = 0; i < len; i++)
			to[i] = (uint8_t)((off + i) * 7 >> 3);
		off += len;
		if (off < n)
			assert_int_equal(rte_pktmbuf_chain(head, rte_pktmbuf_alloc(pools.rx)), 0);
	}
	return head;
}

static struct pkt tx(bool six, uint32_t n)
{
	return (struct pkt){.m = datagram(n), .dst = six ? PEER6 : PEER4, .proto = IP_PROTO_UDP};
}

/* As the switchboard does it: refused for its size first. */
static int cut(struct ip *from, struct pkt *p, struct pkt *out, unsigned n)
{
	uint8_t ifindex = 9;

	assert_int_equal(ip_output(from, p, &ifindex), NEXT_DROP);
	assert_int_equal(p->drop, DROP_IP_TOO_BIG);
	assert_false(p->flags & PKT_F_DF);
	return ip_fragment(from, p, out, n, &ifindex);
}

/* Over the wire: a fragment has at most MTU bytes, and its slices are its own. */
static enum next arrive(struct ip *to, struct pkt *f)
{
	struct pkt in = {.m = f->m, .l3_off = 14};
	enum next next;

	rte_mbuf_sanity_check(f->m, 1);
	assert_true(f->m->pkt_len <= MTU);
	memset(pkt_push(in.m, 14), 0, 14);
	next = f->flags & PKT_F_V6 ? ip6_input(to, &in, 0) : ip4_input(to, &in, 0);
	*f = in;
	return next;
}

/* Random order; the last one makes the datagram. */
static struct pkt deliver(struct ip *to, struct pkt *f, unsigned n, enum next want)
{
	for (; n > 1; n--) {
		unsigned k = (unsigned)rand_below(&rng, n);

		assert_int_equal(arrive(to, &f[k]), NEXT_CONSUMED);
		f[k] = f[n - 1];
	}
	assert_int_equal(arrive(to, &f[0]), want);
	return f[0];
}

static void check_pattern(struct pkt *p, uint32_t n)
{
	uint8_t b[65536];

	assert_int_equal(p->l4_len, n);
	assert_int_equal(pkt_copy_out(p->m, p->l4_off, n, b), n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(b[i], (uint8_t)(i * 7 >> 3));
	pkt_free(p->m);
}

static void round_trips(bool six)
{
	static const uint32_t sizes[] = {1481, 1488, 2953, 2960, 2961, 4008, 9000, 30001, 65507};
	struct pkt f[IP_FRAGMENTS_MAX];

	for (unsigned i = 0; i < array_size(sizes); i++) {
		uint32_t step = six ? 1448 : 1480;
		struct pkt p = tx(six, sizes[i]);
		int n = cut(ip, &p, f, array_size(f));

		assert_int_equal(n, (sizes[i] + step - 1) / step);
		p = deliver(peer, f, (unsigned)n, NEXT_UDP);
		assert_true(p.flags & PKT_F_FRAGMENTED);
		check_pattern(&p, sizes[i]);
	}
}

/* RFC 791 §3.2 */
static void ipv4_fragments_are_reassembled_to_the_datagram(void **state)
{
	round_trips(false);
}

/* RFC 8200 §4.5 */
static void ipv6_fragments_are_reassembled_to_the_datagram(void **state)
{
	round_trips(true);
}

/* No payload is copied: the fragments' payload lies where the datagram's was. */
static void fragments_are_slices(void **state)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pools.rx);
	uint8_t *at = pkt_put(m, 2000);
	struct pkt p = {.m = m, .dst = PEER4, .proto = IP_PROTO_UDP}, f[2];

	assert_int_equal(cut(ip, &p, f, 2), 2);
	assert_ptr_equal(pkt_data(f[0].m->next), at);
	assert_ptr_equal(pkt_data(f[1].m->next), at + 1480);
	pkt_free(f[0].m);
	pkt_free(f[1].m);
}

/* The checksum covers the whole datagram, so no port can complete it later. */
static void open_checksum_is_completed_before_the_cut(void **state)
{
	for (int six = 0; six < 2; six++) {
		struct pkt p = tx(six, 5001), f[8];
		uint16_t sum;
		int n;

		p.src = six ? OUR6 : OUR4;
		p.flags = PKT_F_L4_CSUM;
		sum = csum_fold(csum_pseudo(0, p.src.b, p.dst.b, six, IP_PROTO_UDP, 5001));
		assert_int_equal(pkt_linearize_head(p.m, 8), 0);
		memcpy(pkt_data(p.m) + 6, &sum, 2);
		n = cut(ip, &p, f, 8);
		assert_int_equal(n, 4);
		for (int i = 0; i < n; i++)
			assert_false(f[i].flags & PKT_F_L4_CSUM);
		p = deliver(peer, f, (unsigned)n, NEXT_UDP);
		sum = csum_fold(csum_pseudo(pkt_csum(p.m, p.l4_off, p.l4_len), p.src.b, p.dst.b,
					    six, IP_PROTO_UDP, p.l4_len));
		assert_int_equal(sum, 0xffff);
		pkt_free(p.m);
	}
}

static uint32_t ident_of(const struct pkt *f)
{
	const struct ip4_hdr *h4 = (const void *)pkt_data(f->m);
	const struct ip6_frag_hdr *h6 = (const void *)(pkt_data(f->m) + IP6_HDR_LEN);

	return f->flags & PKT_F_V6 ? be32_host(h6->id) : be16_host(h4->id);
}

/* RFC 6864 §4.3, RFC 7739 §3: one for all fragments, another for the next datagram, and nobody can
 * tell it from what other peers see. */
static void identifications_do_not_repeat(void **state)
{
	for (int six = 0; six < 2; six++) {
		uint32_t first[2];

		for (unsigned i = 0; i < 2; i++) {
			struct pkt p = tx(six, 3000), f[3];

			assert_int_equal(cut(ip, &p, f, 3), 3);
			first[i] = ident_of(&f[0]);
			for (unsigned k = 0; k < 3; k++) {
				assert_int_equal(ident_of(&f[k]), first[i]);
				pkt_free(f[k].m);
			}
		}
		assert_int_not_equal(first[0], first[1]);
	}
}

/* H22: whichever allocation fails, nothing is lost and nothing is sent. */
static void h22_without_buffers_nothing_goes_out(void **state)
{
	struct rte_mbuf *hold[POOL_SIZE];
	struct pkt f[8];

	for (unsigned k = 0; k < 2; k++) {
		struct rte_mempool *pool = k == 0 ? pools.hdr : pools.ref;

		for (unsigned left = 0; left < 3; left++) {
			struct pkt p = tx(false, 5000);

			assert_int_equal(rte_pktmbuf_alloc_bulk(pool, hold, POOL_SIZE - left), 0);
			assert_int_equal(cut(ip, &p, f, 8), -ENOBUFS);
			assert_null(p.m);
			rte_pktmbuf_free_bulk(hold, POOL_SIZE - left);
			assert_int_equal(rte_mempool_avail_count(pools.rx), POOL_SIZE);
		}
	}
}

static void more_fragments_than_asked_for_are_refused(void **state)
{
	struct pkt p = tx(false, 5000), f[3];

	assert_int_equal(cut(ip, &p, f, 3), -EMSGSIZE);
}

/* H18: a forged path MTU of 68 does not make us send twenty times as many packets. */
static void h18_tiny_path_mtu_does_not_multiply_fragments(void **state)
{
	struct ip_addr dst = PEER4;
	struct pkt p = tx(false, 5000), f[IP_FRAGMENTS_MAX];
	int n;

	ip_pmtu_learn(ip, &dst, 68);
	n = cut(ip, &p, f, IP_FRAGMENTS_MAX);
	assert_int_equal(n, 10);
	p = deliver(peer, f, (unsigned)n, NEXT_UDP);
	check_pattern(&p, 5000);
}

/* The echo request of `ping -s 4000` as the peer sends it. */
static struct pkt big_ping(bool six, uint32_t n)
{
	struct icmp_hdr h = {.type = six ? ICMP6_ECHO : ICMP4_ECHO, .rest = be32(0x12340001)};
	struct pkt p = tx(six, n), f[IP_FRAGMENTS_MAX];
	struct ip_addr src = six ? PEER6 : PEER4, dst = six ? OUR6 : OUR4;
	int frags;

	p.dst = dst;
	p.proto = six ? IP_PROTO_ICMP6 : IP_PROTO_ICMP;
	assert_int_equal(pkt_linearize_head(p.m, sizeof(h)), 0);
	memcpy(pkt_data(p.m), &h, sizeof(h));
	h.csum.v = csum_finish(pkt_csum(p.m, 0, n) +
			       (six ? csum_pseudo(0, src.b, dst.b, true, p.proto, n) : 0));
	memcpy(pkt_data(p.m), &h, sizeof(h));
	frags = cut(peer, &p, f, array_size(f));
	assert_true(frags > 1);
	return deliver(ip, f, (unsigned)frags, six ? NEXT_ICMP6 : NEXT_ICMP4);
}

static void ping_larger_than_the_mtu_is_answered(void **state)
{
	static const uint32_t sizes[] = {4008, 30000, 65000};

	for (unsigned i = 0; i < 2 * array_size(sizes); i++) {
		bool six = i & 1;
		struct pkt p = big_ping(six, sizes[i / 2]), f[IP_FRAGMENTS_MAX];
		struct icmp_error err;
		uint8_t type;
		uint32_t sum;
		int n;

		assert_int_equal(six ? icmp6_input(ip, &p, &err) : icmp4_input(ip, &p, &err),
				 NEXT_IP_OUT);
		n = cut(ip, &p, f, array_size(f));
		assert_true(n > 1);
		p = deliver(peer, f, (unsigned)n, six ? NEXT_ICMP6 : NEXT_ICMP4);
		assert_int_equal(p.l4_len, sizes[i / 2]);
		assert_int_equal(pkt_copy_out(p.m, p.l4_off, 1, &type), 1);
		assert_int_equal(type, six ? ICMP6_ECHO_REPLY : ICMP4_ECHO_REPLY);
		sum = pkt_csum(p.m, p.l4_off, p.l4_len);
		if (six)
			sum = csum_pseudo(sum, p.src.b, p.dst.b, true, p.proto, p.l4_len);
		assert_int_equal(csum_fold(sum), 0xffff);
		pkt_free(p.m);
	}
}

#define P(f) cmocka_unit_test_setup_teardown(f, peer_up, peer_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		P(ipv4_fragments_are_reassembled_to_the_datagram),
		P(ipv6_fragments_are_reassembled_to_the_datagram),
		P(fragments_are_slices),
		P(open_checksum_is_completed_before_the_cut),
		P(identifications_do_not_repeat),
		P(h22_without_buffers_nothing_goes_out),
		P(more_fragments_than_asked_for_are_refused),
		P(h18_tiny_path_mtu_does_not_multiply_fragments),
		P(ping_larger_than_the_mtu_is_answered),
	};

	return run(tests, array_size(tests));
}
