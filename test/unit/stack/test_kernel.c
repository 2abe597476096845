/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What goes to the kernel's side of a shared port, and what does not. The kernel is the test's: it
 * keeps the frames that it gets, and sends what it is told.
 */
#include <time.h>

#include "stack_test.h"
#include "wire/arp.h"
#include "wire/icmp.h"
#include "wire/ip6.h"
#include "wire/tcp.h"

#define KEPT 512

/* In place of the one with an interface. */
static struct kernel_side {
	unsigned n;
	struct rte_mbuf *got[KEPT];
	uint16_t flags[KEPT];
	struct rte_mbuf *say; /* its next frame */
	long slow_ns;	      /* what a frame costs */
} kernel;

unsigned dev_kernel_index(const struct dev_kernel *k)
{
	return 77;
}

int dev_kernel_fd(const struct dev_kernel *k, uint16_t queue)
{
	return map.app_bell_fd;
}

unsigned dev_kernel_rx(struct dev_kernel *k, uint16_t queue, struct pkt *p, unsigned n)
{
	if (n == 0 || kernel.say == NULL)
		return 0;
	p[0] = (struct pkt){.m = kernel.say};
	kernel.say = NULL;
	return 1;
}

static int64_t nanoseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

bool dev_kernel_tx(struct dev_kernel *k, uint16_t queue, struct pkt *p)
{
	int64_t begin = nanoseconds();

	kernel.flags[kernel.n % KEPT] = p->flags;
	if (kernel.n < KEPT && kernel.slow_ns == 0)
		kernel.got[kernel.n] = p->m;
	else
		pkt_free(p->m);
	kernel.n++;
	while (nanoseconds() - begin < kernel.slow_ns)
		;
	return true;
}

static void kernel_forget(void)
{
	for (unsigned i = 0; i < KEPT; i++)
		pkt_free(kernel.got[i]);
	memset(&kernel, 0, sizeof(kernel));
}

static int shared_up(void **state)
{
	kernel_forget();
	if (stack_up(state) < 0 || stack_share(s, 0, NULL, 0) < 0)
		return -1;
	for (int i = 0; i < 4; i++) /* what it announces of itself when it starts */
		stack_poll(s);
	ring_empty();
	return 0;
}

static int shared_down(void **state)
{
	int rc = stack_down(state);

	kernel_forget();
	return rc;
}

/* Frames that the stack sends, and that are not the test's: at most one is expected. */
static struct rte_mbuf *sent(void)
{
	struct pkt p[2];
	unsigned n = dev_rx_burst(port, 0, p, 2, &drops);

	assert_in_range(n, 0, 1);
	return n == 0 ? NULL : p[0].m;
}

/* Receives m. Is exactly this given to the kernel, and nothing answered? */
static void goes_to_the_kernel(struct rte_mbuf *m)
{
	uint8_t was[2048];
	uint32_t len = pkt_copy_out(m, 0, sizeof(was), was);

	kernel_forget();
	assert_true(inject(m));
	stack_poll(s);
	assert_int_equal(kernel.n, 1);
	assert_int_equal(kernel.got[0]->pkt_len, len);
	assert_memory_equal(pkt_data(kernel.got[0]), was, len);
	assert_null(sent());
}

static void tcp_segments_of_nobody_go_to_the_kernel_unanswered(void **state)
{
	static const uint8_t flags[] = {TCP_SYN, TCP_ACK, TCP_RST, TCP_FIN | TCP_ACK};

	for (unsigned i = 0; i < array_size(flags); i++) {
		struct tcp_hdr h = {.sport = be16(4660), .dport = be16(22), .flags = flags[i]};
		uint32_t sum = csum_pseudo(0, ip_addr_v4(be32(0x0a000001)).b,
					   ip_addr_v4(be32(0x0a000002)).b, false, 6, sizeof(h));

		h.off = 5 << 4;
		h.csum.v = csum_finish(csum_add(sum, &h, sizeof(h)));
		goes_to_the_kernel(frame(6, &h, sizeof(h)));
	}
	assert_int_equal(s->drops.n[DROP_TCP_NO_CONN], 0);
}

static void datagrams_pings_and_other_protocols_go_to_the_kernel(void **state)
{
	static const uint8_t udp[8] = {0x12, 0x34, 0, 9, 0, 8, 0, 0};
	uint8_t echo[16] = {8, 0, 0, 0, 0x12, 0x34, 0, 1, 'z', 's'};
	uint8_t stray[8] = {0, 0, 0, 0, 9, 9, 0, 1}; /* a reply that we did not ask for */
	uint16_t csum = csum_finish(csum_add(0, echo, sizeof(echo)));

	memcpy(echo + 2, &csum, 2);
	csum = csum_finish(csum_add(0, stray, sizeof(stray)));
	memcpy(stray + 2, &csum, 2);
	goes_to_the_kernel(frame(17, udp, 8));
	goes_to_the_kernel(frame(1, echo, sizeof(echo)));
	goes_to_the_kernel(frame(1, stray, sizeof(stray)));
	goes_to_the_kernel(frame(132, udp, 8));
	assert_int_equal(ip_counters(s->ip)->icmp_errors_out, 0);
}

static void a_bad_sum_is_dropped_as_ever(void **state)
{
	static const uint8_t udp[8] = {0x12, 0x34, 0, 9, 0, 8, 1, 2};

	kernel_forget();
	assert_true(inject(frame(17, udp, 8)));
	stack_poll(s);
	assert_int_equal(kernel.n, 0);
	assert_int_equal(s->drops.n[DROP_UDP_CSUM], 1);
}

/* ---- ARP ---- */

static struct rte_mbuf *arp(uint16_t op, uint32_t target)
{
	struct wire_eth e = {.dst = op == ARP_REQUEST ? eth_addr_broadcast()
						      : eth_if_get(s->eth, 0)->mac,
			     .src = peer_mac,
			     .type = be16(ETH_TYPE_ARP)};
	struct rte_mbuf *m = pkt_alloc_hdr(&pools);
	struct wire_arp a;

	assert_non_null(m);
	wire_arp_fill(&a, op, &peer_mac, be32(0x0a000001), &(struct eth_addr){0}, be32(target));
	memcpy(pkt_put(m, sizeof(e)), &e, sizeof(e));
	memcpy(pkt_put(m, sizeof(a)), &a, sizeof(a));
	return m;
}

static void who_asks_for_our_address_gets_one_answer(void **state)
{
	struct rte_mbuf *m;

	assert_true(inject(arp(ARP_REQUEST, 0x0a000002)));
	stack_poll(s);
	m = sent();
	assert_non_null(m);
	pkt_free(m);
	assert_int_equal(kernel.n, 0);
}

static void what_others_say_of_themselves_both_hear(void **state)
{
	goes_to_the_kernel(arp(ARP_REQUEST, 0x0a000063));
	goes_to_the_kernel(arp(ARP_REPLY, 0x0a000002));
}

/* ---- fragments ---- */

/* The datagram's 24 bytes from off on. */
static struct rte_mbuf *fragment4(uint16_t off, bool more, const uint8_t *bytes)
{
	struct rte_mbuf *m = frame(17, bytes + off, 24);
	struct ip4_hdr *h = (void *)(pkt_data(m) + 14);

	h->id = be16(77);
	h->frag = be16((uint16_t)(off / 8 | (more ? IP4_FRAG_MF : 0)));
	h->csum = be16(0);
	h->csum.v = csum_finish(csum_add(0, h, sizeof(*h)));
	return m;
}

static void fragments_go_to_the_kernel_as_one_datagram(void **state)
{
	uint8_t bytes[48] = {0x12, 0x34, 0, 9, 0, 48};
	const struct ip4_hdr *h;
	uint8_t out[128];

	for (unsigned i = 8; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	assert_true(inject(fragment4(24, false, bytes)));
	assert_true(inject(fragment4(0, true, bytes)));
	stack_poll(s);
	assert_int_equal(kernel.n, 1);
	assert_int_equal(pkt_copy_out(kernel.got[0], 0, sizeof(out), out), 14 + 20 + 48);
	h = (const void *)(out + 14);
	assert_int_equal(be16_host(h->total_len), 68);
	assert_int_equal(be16_host(h->frag), 0);
	assert_int_equal(csum_fold(csum_add(0, h, 20)), 0xffff);
	assert_memory_equal(out + 34, bytes, 48);
	assert_int_equal(kernel.flags[0] & PKT_F_CSUM_OK, 0);
}

static struct rte_mbuf *fragment6(const struct ip_addr *to, uint16_t off, bool more,
				  const uint8_t *bytes)
{
	struct wire_eth e = {
		.dst = eth_if_get(s->eth, 0)->mac, .src = peer_mac, .type = be16(ETH_TYPE_IP6)};
	struct ip6_hdr h = {.ver_tc_flow = be32(6u << 28),
			    .payload_len = be16(8 + 8 + 24),
			    .next = IP6_NEXT_DST_OPTS,
			    .hop_limit = 64,
			    .src = {0xfd, [15] = 1}};
	/* Destination options in front, so that the fragment header is not the first. */
	uint8_t ext[16] = {IP6_NEXT_FRAGMENT, 0, 1, 4, 0, 0, 0, 0, 17, 0};
	struct rte_mbuf *m = pkt_alloc_hdr(&pools);
	be16_t off_m = be16((uint16_t)(off | more));

	assert_non_null(m);
	memcpy(h.dst, to->b, 16);
	memcpy(ext + 10, &off_m, 2);
	ext[15] = 77;
	memcpy(pkt_put(m, sizeof(e)), &e, sizeof(e));
	memcpy(pkt_put(m, sizeof(h)), &h, sizeof(h));
	memcpy(pkt_put(m, sizeof(ext)), ext, sizeof(ext));
	memcpy(pkt_put(m, 24), bytes + off, 24);
	return m;
}

static void fragments_of_ipv6_keep_a_header_that_cuts_nothing(void **state)
{
	/* RFC 6946 */
	struct ip_addr own = {.b = {0xfd, [15] = 2}};
	uint8_t bytes[48] = {0x12, 0x34, 0, 9, 0, 48, 0xff, 0xff}, out[160];
	struct ip_ifaddr ia = {.addr = own, .prefix_len = 64};
	const struct ip6_hdr *h = (const void *)(out + 14);
	uint16_t sum;

	assert_int_equal(ip_addr_add(s->ip, &ia), 0);
	bytes[6] = bytes[7] = 0;
	sum = csum_finish(
		csum_add(csum_pseudo(0, (uint8_t[16]){0xfd, [15] = 1}, own.b, true, 17, 48), bytes,
			 sizeof(bytes)));
	memcpy(bytes + 6, &sum, 2);
	assert_true(inject(fragment6(&own, 0, true, bytes)));
	assert_true(inject(fragment6(&own, 24, false, bytes)));
	stack_poll(s);
	assert_int_equal(kernel.n, 1);
	assert_int_equal(pkt_copy_out(kernel.got[0], 0, sizeof(out), out), 14 + 40 + 16 + 48);
	assert_int_equal(be16_host(h->payload_len), 16 + 48);
	assert_int_equal(out[14 + 40 + 10] << 8 | out[14 + 40 + 11], 0);
	assert_memory_equal(out + 14 + 40 + 16, bytes, 48);
}

/* ---- the other way, and how much ---- */

static void what_the_kernel_sends_leaves_as_it_is(void **state)
{
	static const uint8_t udp[8] = {0, 9, 0x12, 0x34, 0, 8, 0, 0};
	struct rte_mbuf *m = frame(17, udp, 8), *out;
	uint8_t was[64];
	uint32_t len;

	memcpy(pkt_data(m), &peer_mac, sizeof(peer_mac));
	len = pkt_copy_out(m, 0, sizeof(was), was);
	kernel.say = m;
	for (unsigned turn = 0; kernel.say != NULL; turn++) {
		assert_true(turn < 1000000); /* it looks at the interface every now and then */
		stack_poll(s);
	}
	out = sent();
	assert_non_null(out);
	assert_int_equal(out->pkt_len, len);
	assert_memory_equal(pkt_data(out), was, len);
	pkt_free(out);
}

/* A segment from our port 2000 to port 22 of our own address, as the engine sends it. */
static void send_to_self(uint8_t flags)
{
	struct tcp_hdr h = {.sport = be16(2000), .dport = be16(22), .off = 5 << 4, .flags = flags};
	struct pkt p = {.m = pkt_alloc_hdr(&pools),
			.proto = IP_PROTO_TCP,
			.src = ip_addr_v4(be32(0x0a000002)),
			.dst = ip_addr_v4(be32(0x0a000002))};

	assert_non_null(p.m);
	memcpy(pkt_put(p.m, sizeof(h)), &h, sizeof(h));
	assert_true(stack_self_put(s, &p, true));
	stack_poll(s);
}

/* The kernel got one segment with these flags from the alias, to our address's port 22. */
static void check_from_alias(uint8_t flags)
{
	static const uint8_t addrs[] = {169, 254, 255,	     1,		 10, 0,
					0,   2,	  2000 >> 8, 2000 & 255, 0,  22};
	const uint8_t *f;

	assert_int_equal(kernel.n, 1);
	f = pkt_data(kernel.got[0]);
	assert_memory_equal(f + 26, addrs, sizeof(addrs));
	assert_int_equal(f[47], flags);
	assert_int_equal(csum_fold(csum_add(0, f + 14, 20)), 0xffff);
	assert_true(kernel.flags[0] & PKT_F_L4_CSUM);
	assert_null(sent());
}

static void we_come_to_the_kernel_from_an_alias(void **state)
{
	struct tcp_hdr h = {.sport = be16(22),
			    .dport = be16(2000),
			    .ack = be32(1),
			    .off = 5 << 4,
			    .flags = TCP_SYN | TCP_ACK};
	struct rte_mbuf *m = frame(6, &h, sizeof(h));
	static const uint8_t addrs[] = {10, 0, 0, 2, 169, 254, 255, 1};

	send_to_self(TCP_SYN);
	check_from_alias(TCP_SYN);
	/* Its answer arrives, as from the shared address; nobody waits for it, and it is told. */
	kernel_forget();
	memcpy(pkt_data(m) + 26, addrs, sizeof(addrs));
	kernel.say = m;
	for (unsigned turn = 0; kernel.n == 0; turn++) {
		assert_true(turn < 1000000);
		stack_poll(s);
	}
	check_from_alias(TCP_RST);
}

static void what_the_kernel_sends_to_our_mac_is_for_the_alias_or_nobody(void **state)
{
	static const uint8_t udp[8] = {0, 9, 0x12, 0x34, 0, 8, 0, 0};

	kernel.say = frame(17, udp, 8);
	for (unsigned turn = 0; kernel.say != NULL; turn++) {
		assert_true(turn < 1000000);
		stack_poll(s);
	}
	stack_poll(s);
	assert_null(sent());
	assert_int_equal(s->drops.n[DROP_IP_NOT_OURS], 1);
}

/* H24: the kernel takes 100 us for each frame, and more come all the time. Beside other work, a
 * turn gives it what its part of the time allows, and one piece more; what is too many is dropped.
 */
static void h24_strangers_get_a_part_of_the_time_only(void **state)
{
	static const uint8_t junk[8] = {0x12, 0x34, 0, 9, 0, 8, 0, 0};
	struct chan_sqe nop = {.op = CHAN_OP_NOP};
	struct chan_cqe e;

	kernel.slow_ns = 100000;
	for (uint32_t turn = 0; turn < 50; turn++) {
		unsigned before = kernel.n;

		for (unsigned i = 0; i < PKT_BURST && inject(frame(17, junk, 8)); i++)
			;
		nop.token = turn;
		command(&nop);
		stack_poll(s);
		assert_true(event(&e));
		assert_in_range(kernel.n - before, 0, 5 + 8 + 8);
	}
	assert_true(s->drops.n[DROP_KERNEL_FULL] > 0);
	assert_true(kernel.n < 50 * 21);
	ring_empty();
	/* With nothing else to do, all that waits goes. */
	kernel.slow_ns = 0;
	stack_poll(s);
	stack_poll(s);
	assert_false(stack_tx_pending(s));
}

#define T(f) cmocka_unit_test_setup_teardown(f, shared_up, shared_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tcp_segments_of_nobody_go_to_the_kernel_unanswered),
		T(datagrams_pings_and_other_protocols_go_to_the_kernel),
		T(a_bad_sum_is_dropped_as_ever),
		T(who_asks_for_our_address_gets_one_answer),
		T(what_others_say_of_themselves_both_hear),
		T(fragments_go_to_the_kernel_as_one_datagram),
		T(fragments_of_ipv6_keep_a_header_that_cuts_nothing),
		T(what_the_kernel_sends_leaves_as_it_is),
		T(we_come_to_the_kernel_from_an_alias),
		T(what_the_kernel_sends_to_our_mac_is_for_the_alias_or_nobody),
		T(h24_strangers_get_a_part_of_the_time_only),
	};

	return cmocka_run_group_tests(tests, up, NULL);
}
