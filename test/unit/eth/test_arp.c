/* SPDX-License-Identifier: BSD-3-Clause */
#include "eth_test.h"

static int setup_addr(void **state)
{
	struct ip_addr us = v4(US);
	struct pkt p;

	stack_make(64, 4);
	assert_int_equal(eth_addr_add(e, 0, &us, false), 0);
	/* RFC 5227 §2.3: two announcements, 2 s apart. */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(poll_at_deadline(&p, 1), 1);
		assert_int_equal(be16_host(arp_of(&p)->op), ARP_REQUEST);
		assert_int_equal(be32_host(arp_of(&p)->spa), US);
		assert_int_equal(be32_host(arp_of(&p)->tpa), US);
		pkt_free(p.m);
	}
	assert_int_equal(eth_deadline(e), UINT64_MAX);
	return 0;
}

static void resolve(const struct ip_addr *a, uint32_t host, const struct eth_addr *mac)
{
	struct pkt p;

	assert_int_equal(send_to(a, 1, &p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	pkt_free(p.m);
	p = arp(ARP_REPLY, mac, host, US);
	assert_int_equal(arp_give(&p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	pkt_free(p.m);
}

/* RFC 826 */
static void request_for_us_is_answered_in_place(void **state)
{
	struct pkt p = arp(ARP_REQUEST, &mac_a, PEER, US);
	struct rte_mbuf *m = p.m;
	struct ip_addr peer = v4(PEER);

	pkt_put(m, 18);
	assert_int_equal(arp_give(&p), NEXT_TX);
	assert_ptr_equal(p.m, m);
	assert_int_equal(m->pkt_len, 42);
	assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	assert_memory_equal(&eth_of(&p)->src, &mac_us, 6);
	assert_int_equal(be16_host(arp_of(&p)->op), ARP_REPLY);
	assert_memory_equal(&arp_of(&p)->sha, &mac_us, 6);
	assert_memory_equal(&arp_of(&p)->tha, &mac_a, 6);
	assert_int_equal(be32_host(arp_of(&p)->spa), US);
	assert_int_equal(be32_host(arp_of(&p)->tpa), PEER);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
}

static void shared_request_is_answered_from_a_new_buffer(void **state)
{
	struct pkt p = arp(ARP_REQUEST, &mac_a, PEER, US);
	struct rte_mbuf *m = p.m;

	rte_mbuf_refcnt_update(m, 1);
	assert_int_equal(arp_give(&p), NEXT_TX);
	assert_ptr_not_equal(p.m, m);
	assert_int_equal(be16_host(arp_of(&p)->op), ARP_REPLY);
	pkt_free(p.m);
	pkt_free(m);
}

static void request_for_another_is_refused_and_not_learned(void **state)
{
	struct pkt p = arp(ARP_REQUEST, &mac_a, PEER, US + 1);
	struct ip_addr peer = v4(PEER);

	assert_int_equal(arp_give(&p), NEXT_DROP);
	assert_int_equal(drops.n[DROP_ARP_NOT_OURS], 1);
	assert_string_equal(neigh_state_of(&peer).state, "none");
}

/* H22: the request is in pieces, and somebody else reads it: the reply is another buffer. */
static void h22_request_in_shared_pieces_is_answered_apart(void **state)
{
	struct pkt whole = arp(ARP_REQUEST, &mac_a, PEER, US);
	uint8_t before[42];

	memcpy(before, pkt_data(whole.m), 42);
	for (uint16_t cut = 1; cut < 42; cut++) {
		struct pkt p = {.m = pkt_slice(&pools, whole.m, 0, cut)};

		assert_int_equal(rte_pktmbuf_chain(p.m, pkt_slice(&pools, whole.m, cut,
								  (uint16_t)(42 - cut))),
				 0);
		assert_int_equal(arp_give(&p), NEXT_TX);
		assert_int_equal(be32_host(arp_of(&p)->tpa), PEER);
		assert_int_equal(be16_host(arp_of(&p)->op), ARP_REPLY);
		pkt_free(p.m);
		assert_memory_equal(before, pkt_data(whole.m), 42);
	}
	pkt_free(whole.m);
}

/* H20: length first, every field checked. */
static void h20_short_and_malformed_arp_is_refused(void **state)
{
	struct pkt p;

	for (uint16_t len = 14; len < 42; len++) {
		p = arp(ARP_REQUEST, &mac_a, PEER, US);
		p.m->data_len = p.m->pkt_len = len;
		assert_int_equal(arp_give(&p), NEXT_DROP);
	}
	assert_int_equal(drops.n[DROP_ARP_BAD], 28);
	for (unsigned k = 0; k < 8; k++) {
		p = arp(ARP_REQUEST, &mac_a, PEER, US);
		pkt_data(p.m)[14 + k] ^= 0x40;
		assert_int_equal(arp_give(&p), NEXT_DROP);
	}
	p = arp(ARP_REQUEST, &(struct eth_addr){{3}}, PEER, US);
	assert_int_equal(arp_give(&p), NEXT_DROP);
	p = arp(ARP_REQUEST, &(struct eth_addr){{0}}, PEER, US);
	assert_int_equal(arp_give(&p), NEXT_DROP);
	p = arp(ARP_REQUEST, &mac_a, 0xe0000001, US);
	assert_int_equal(arp_give(&p), NEXT_DROP);
	p = arp(ARP_REQUEST, &mac_a, 0xffffffff, US);
	assert_int_equal(arp_give(&p), NEXT_DROP);
	assert_int_equal(drops.n[DROP_ARP_BAD], 28 + 12);
}

static void unresolved_packets_wait_and_leave_in_order(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p, out[8];

	for (uint8_t i = 1; i <= 3; i++)
		assert_int_equal(send_to(&peer, i, &p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, out, 8), 1);
	assert_int_equal(be32_host(arp_of(&out[0])->tpa), PEER);
	assert_int_equal(be32_host(arp_of(&out[0])->spa), US);
	assert_true(eth_addr_is_group(&eth_of(&out[0])->dst));
	pkt_free(out[0].m);
	p = arp(ARP_REPLY, &mac_a, PEER, US);
	assert_int_equal(arp_give(&p), NEXT_CONSUMED);
	/* One more before the queue is empty must not overtake. */
	assert_int_equal(eth_poll(e, out, 1), 1);
	assert_int_equal(send_to(&peer, 4, &p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, out + 1, 7), 3);
	for (uint8_t i = 0; i < 4; i++) {
		assert_memory_equal(&eth_of(&out[i])->dst, &mac_a, 6);
		assert_int_equal(pkt_data(out[i].m)[14], i + 1);
		pkt_free(out[i].m);
	}
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
	assert_int_equal(send_to(&peer, 5, &p), NEXT_TX);
	pkt_free(p.m);
}

static void unresolved_packet_keeps_what_is_to_be_done_to_it(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p = {.m = rte_pktmbuf_alloc(pool),
			.nexthop = peer,
			.flags = PKT_F_L4_CSUM | PKT_F_DF,
			.proto = 6,
			.l4_len = 20};
	struct pkt out[2];

	pkt_put(p.m, 40);
	assert_int_equal(eth_output(e, &p, 0), NEXT_CONSUMED);
	neigh_learn(e, 0, &peer, &mac_a);
	assert_int_equal(eth_poll(e, out, 2), 1);
	assert_int_equal(out[0].flags, PKT_F_L4_CSUM | PKT_F_DF);
	assert_int_equal(out[0].proto, 6);
	assert_int_equal(out[0].l4_len, 20);
	pkt_free(out[0].m);
}

static void full_queue_drops_the_oldest_and_counts(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p, out[8];

	for (uint8_t i = 1; i <= 6; i++)
		assert_int_equal(send_to(&peer, i, &p), NEXT_CONSUMED);
	assert_int_equal(drops.n[DROP_NEIGH_QUEUE_FULL], 2);
	neigh_learn(e, 0, &peer, &mac_a);
	assert_int_equal(eth_poll(e, out, 8), 4);
	for (uint8_t i = 0; i < 4; i++) {
		assert_int_equal(pkt_data(out[i].m)[14], i + 3);
		pkt_free(out[i].m);
	}
}

static void silent_neighbour_is_asked_three_times_then_reported(void **state)
{
	struct ip_addr peer = v4(PEER);
	uint64_t start = now;
	struct eth_event ev;
	struct pkt p;

	send_to(&peer, 1, &p);
	send_to(&peer, 2, &p);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(poll_at_deadline(&p, 1), 1);
		pkt_free(p.m);
	}
	assert_int_equal(now - start, 2 * SEC);
	assert_int_equal(poll_at_deadline(&p, 1), 0);
	assert_int_equal(now - start, 3 * SEC);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_UNREACHABLE);
	assert_true(ip_addr_eq(&ev.addr, &peer));
	assert_int_equal(pkt_data(ev.m)[0], 1);
	pkt_free(ev.m);
	assert_false(eth_event_next(e, &ev));
	assert_int_equal(drops.n[DROP_NEIGH_UNREACHABLE], 1);
	assert_string_equal(neigh_state_of(&peer).state, "none");
	assert_int_equal(eth_deadline(e), UINT64_MAX);
}

/* RFC 4861 §7.3.3 */
static void stale_neighbour_in_use_is_delayed_probed_and_confirmed(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p;

	resolve(&peer, PEER, &mac_a);
	advance(46 * SEC);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
	assert_int_equal(eth_deadline(e), UINT64_MAX);
	assert_int_equal(send_to(&peer, 1, &p), NEXT_TX);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "delay");
	assert_int_equal(eth_deadline(e), now + 5 * SEC);
	assert_int_equal(poll_at_deadline(&p, 1), 1);
	assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "probe");
	p = arp(ARP_REPLY, &mac_a, PEER, US);
	assert_int_equal(arp_give(&p), NEXT_CONSUMED);
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
	assert_int_equal(eth_deadline(e), UINT64_MAX);
}

static void upper_layer_confirms_and_no_probe_is_sent(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p;
	uint32_t path;

	resolve(&peer, PEER, &mac_a);
	path = eth_path(e, 0, &peer);
	advance(46 * SEC);
	assert_false(eth_confirm_wanted(e));
	send_to(&peer, 1, &p);
	pkt_free(p.m);
	assert_true(eth_confirm_wanted(e));
	eth_path_confirm(e, path);
	assert_false(eth_confirm_wanted(e));
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
	assert_int_equal(eth_deadline(e), UINT64_MAX);
}

static void path_is_refused_once_the_neighbour_moved(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p;

	assert_int_equal(eth_path(e, 0, &peer), PATH_NONE);
	resolve(&peer, PEER, &mac_a);
	p = (struct pkt){.m = rte_pktmbuf_alloc(pool), .path = eth_path(e, 0, &peer)};
	assert_int_not_equal(p.path, PATH_NONE);
	assert_true(eth_output_path(e, &p));
	assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	pkt_free(p.m);
	/* Gratuitous announcement with a new MAC: used at once, but to be verified. */
	struct pkt g = arp(ARP_REQUEST, &mac_b, PEER, PEER);
	assert_int_equal(arp_give(&g), NEXT_CONSUMED);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
	p.m = rte_pktmbuf_alloc(pool);
	assert_false(eth_output_path(e, &p));
	assert_int_equal(p.m->pkt_len, 0);
	p.path = PATH_NONE;
	assert_false(eth_output_path(e, &p));
	p.path = UINT32_MAX;
	assert_false(eth_output_path(e, &p));
	eth_path_confirm(e, UINT32_MAX);
	p.nexthop = peer;
	assert_int_equal(eth_output(e, &p, 0), NEXT_TX);
	assert_memory_equal(&eth_of(&p)->dst, &mac_b, 6);
	pkt_free(p.m);
}

static void permanent_entry_is_not_changed_by_arp(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct pkt p;

	assert_int_equal(neigh_set(e, 0, &peer, &mac_a), 0);
	p = arp(ARP_REPLY, &mac_b, PEER, US);
	arp_give(&p);
	assert_string_equal(neigh_state_of(&peer).state, "permanent");
	struct state_of s = neigh_state_of(&peer);

	assert_memory_equal(&s.mac, &mac_a, 6);
}

/* H20 */
static void h20_flood_of_forged_arp_keeps_the_confirmed_neighbour(void **state)
{
	struct ip_addr peer = v4(PEER), other = v4(PEER + 1);
	struct pkt p;
	uint32_t path;

	resolve(&peer, PEER, &mac_a);
	path = eth_path(e, 0, &peer);
	for (uint32_t i = 0; i < 100000; i++) {
		struct eth_addr mac = {
			{2, 1, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 0}};

		p = arp(ARP_REQUEST, &mac, 0x0b000000 + i, US);
		assert_int_equal(arp_give(&p), NEXT_TX);
		pkt_free(p.m);
	}
	assert_int_equal(eth_path(e, 0, &peer), path);
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
	assert_true(neigh_state_of(&peer).total <= 64);
	/* And a packet of ours still finds a slot. */
	resolve(&other, PEER + 1, &mac_b);
}

static bool send_by_path(uint32_t path)
{
	struct pkt p = {.m = rte_pktmbuf_alloc(pool), .path = path};
	bool sent;

	memset(pkt_put(p.m, 40), 1, 40);
	sent = eth_path_if(e, path) == 0 && eth_output_path(e, &p);
	if (sent)
		assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	pkt_free(p.m);
	return sent;
}

/* RFC 4861 §7.3.3: who sends by path never looks the neighbour up, and still it is verified. */
static void path_in_use_is_probed_and_gone_when_nobody_answers(void **state)
{
	struct ip_addr peer = v4(PEER);
	struct eth_event ev;
	uint32_t path;
	struct pkt p;

	resolve(&peer, PEER, &mac_a);
	path = eth_path(e, 0, &peer);
	advance(46 * SEC);
	assert_true(send_by_path(path));
	assert_string_equal(neigh_state_of(&peer).state, "delay");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(poll_at_deadline(&p, 1), 1);
		assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
		pkt_free(p.m);
		assert_true(send_by_path(path));
	}
	assert_int_equal(poll_at_deadline(&p, 1), 0);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_UNREACHABLE);
	assert_false(send_by_path(path));
	assert_int_equal(eth_path(e, 0, &peer), PATH_NONE);
}

/* RFC 4861 §7.3.1: as long as what is sent gets answers, no probe is needed. */
static void path_that_is_confirmed_is_never_probed(void **state)
{
	struct ip_addr peer = v4(PEER);
	uint32_t path;

	resolve(&peer, PEER, &mac_a);
	path = eth_path(e, 0, &peer);
	for (int i = 0; i < 100; i++) {
		advance(7 * SEC);
		assert_true(send_by_path(path));
		eth_path_confirm(e, path);
		assert_int_equal(eth_deadline(e), UINT64_MAX);
	}
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
}

static void scan_through_us_is_bounded_and_counted(void **state)
{
	struct pkt p, out[64];
	struct eth_event ev;

	for (uint32_t i = 0; i < 200; i++) {
		struct ip_addr a = v4(0x0a000100 + i);

		send_to(&a, 0, &p);
	}
	assert_int_equal(drops.n[DROP_NEIGH_TABLE_FULL], 136);
	while (eth_deadline(e) != UINT64_MAX) {
		unsigned n = poll_at_deadline(out, 64);

		for (unsigned i = 0; i < n; i++)
			pkt_free(out[i].m);
		/* News are part of the deadline until they are taken. */
		while (eth_event_next(e, &ev))
			pkt_free(ev.m);
	}
	struct ip_addr peer = v4(PEER);
	resolve(&peer, PEER, &mac_a);
}

/* RFC 5227 §2.1.1 */
static void tentative_address_unopposed_becomes_usable(void **state)
{
	struct ip_addr a = v4(US + 1);
	struct eth_event ev;
	struct pkt p;

	assert_int_equal(eth_addr_add(e, 0, &a, true), 0);
	for (int i = 0; i < 3; i++) {
		struct pkt q = arp(ARP_REQUEST, &mac_a, PEER, US + 1);

		assert_int_equal(poll_at_deadline(&p, 1), 1);
		assert_int_equal(be32_host(arp_of(&p)->spa), 0);
		assert_int_equal(be32_host(arp_of(&p)->tpa), US + 1);
		pkt_free(p.m);
		/* Not answered yet. */
		assert_int_equal(arp_give(&q), NEXT_DROP);
		assert_false(eth_event_next(e, &ev));
	}
	assert_int_equal(poll_at_deadline(&p, 1), 1);
	assert_int_equal(be32_host(arp_of(&p)->spa), US + 1);
	pkt_free(p.m);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_ADDR_OK);
	assert_true(ip_addr_eq(&ev.addr, &a));
}

static void tentative_address_in_use_or_also_probed_is_duplicate(void **state)
{
	struct ip_addr a = v4(US + 1);

	for (int probe = 0; probe < 2; probe++) {
		struct eth_event ev;
		struct pkt p;

		assert_int_equal(eth_addr_add(e, 0, &a, true), 0);
		p = probe ? arp(ARP_REQUEST, &mac_a, 0, US + 1)
			  : arp(ARP_REPLY, &mac_a, US + 1, US);
		assert_int_equal(arp_give(&p), NEXT_DROP);
		assert_true(eth_event_next(e, &ev));
		assert_int_equal(ev.kind, ETH_EV_ADDR_DUPLICATE);
		assert_int_equal(eth_deadline(e), UINT64_MAX);
		p = arp(ARP_REQUEST, &mac_b, PEER, US + 1);
		assert_int_equal(arp_give(&p), NEXT_DROP);
		assert_int_equal(eth_addr_del(e, 0, &a), 0);
		assert_int_equal(eth_addr_del(e, 0, &a), -ENOENT);
	}
}

/* RFC 5227 §2.4 (c) */
static void usable_address_is_defended_once_in_ten_seconds(void **state)
{
	struct pkt p;

	for (int i = 0; i < 5; i++) {
		p = arp(ARP_REQUEST, &mac_a, US, US);
		assert_int_equal(arp_give(&p), NEXT_DROP);
		assert_int_equal(eth_poll(e, &p, 1), i == 0);
		if (i == 0)
			pkt_free(p.m);
	}
	advance(10 * SEC);
	p = arp(ARP_REQUEST, &mac_a, US, US);
	arp_give(&p);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	pkt_free(p.m);
}

static void own_frame_brought_back_is_no_conflict(void **state)
{
	struct pkt p = arp(ARP_REQUEST, &mac_us, US, US);

	assert_int_equal(arp_give(&p), NEXT_DROP);
	assert_int_equal(eth_poll(e, &p, 1), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_addr, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(request_for_us_is_answered_in_place),
		T(shared_request_is_answered_from_a_new_buffer),
		T(request_for_another_is_refused_and_not_learned),
		T(h22_request_in_shared_pieces_is_answered_apart),
		T(h20_short_and_malformed_arp_is_refused),
		T(unresolved_packets_wait_and_leave_in_order),
		T(unresolved_packet_keeps_what_is_to_be_done_to_it),
		T(full_queue_drops_the_oldest_and_counts),
		T(silent_neighbour_is_asked_three_times_then_reported),
		T(stale_neighbour_in_use_is_delayed_probed_and_confirmed),
		T(upper_layer_confirms_and_no_probe_is_sent),
		T(path_is_refused_once_the_neighbour_moved),
		T(permanent_entry_is_not_changed_by_arp),
		T(h20_flood_of_forged_arp_keeps_the_confirmed_neighbour),
		T(path_in_use_is_probed_and_gone_when_nobody_answers),
		T(path_that_is_confirmed_is_never_probed),
		T(scan_through_us_is_bounded_and_counted),
		T(tentative_address_unopposed_becomes_usable),
		T(tentative_address_in_use_or_also_probed_is_duplicate),
		T(usable_address_is_defended_once_in_ten_seconds),
		T(own_frame_brought_back_is_no_conflict),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
