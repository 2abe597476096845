/* SPDX-License-Identifier: BSD-3-Clause */
#include "eth_test.h"

#include "base/csum.h"
#include "wire/nd.h"

enum { IP6_AT = 14, ND_AT = 54 };

static const struct ip_addr us = {.b = {0xfe, 0x80, [14] = 1, 1}};
static const struct ip_addr peer = {.b = {0xfe, 0x80, [14] = 2, 2}};
static const struct ip_addr any6;
static const struct ip_addr all_nodes = {.b = {0xff, 2, [15] = 1}};
static const struct ip_addr all_routers = {.b = {0xff, 2, [15] = 2}};

/* Whole frame with a message of len bytes, as ip hands it over. */
static struct pkt nd(const struct eth_addr *mac, const struct ip_addr *src,
		     const struct ip_addr *dst, const void *msg, uint16_t len)
{
	uint8_t ip6[40] = {0x60, [6] = 58, [7] = 255};
	struct pkt p = frame(&mac_us, mac, ETH_TYPE_IP6, ip6, 40);

	memcpy(pkt_put(p.m, len), msg, len);
	p.src = *src;
	p.dst = *dst;
	p.l3_off = IP6_AT;
	p.l4_off = ND_AT;
	p.l4_len = len;
	return p;
}

struct ns {
	struct wire_nd nd;
	struct wire_nd_lla lla;
};

static struct ns message(uint8_t type, uint8_t flags, const struct ip_addr *target,
			 const struct eth_addr *mac)
{
	struct ns n = {.nd = {.type = type, .flags = flags},
		       .lla = {type == ND_NS ? ND_OPT_SLLA : ND_OPT_TLLA, 1, *mac}};

	memcpy(n.nd.target, target->b, 16);
	return n;
}

static enum next give(struct pkt *p)
{
	enum next n = nd_input(e, p, 0);

	if (n == NEXT_DROP)
		pkt_drop(&drops, p->m, p->drop);
	return n;
}

static enum next give_na(const struct eth_addr *mac, uint8_t flags)
{
	struct ns n = message(ND_NA, flags, &peer, mac);
	struct pkt p = nd(mac, &peer, &us, &n, sizeof(n));

	return give(&p);
}

/* The frame is a valid ND message; its addresses. */
static const struct wire_nd *sent(const struct pkt *p, const struct ip_addr *src,
				  const struct ip_addr *dst)
{
	uint8_t *ip6 = pkt_data(p->m) + IP6_AT, *msg = pkt_data(p->m) + ND_AT;
	uint16_t len = (uint16_t)(p->m->pkt_len - ND_AT);

	assert_memory_equal(pkt_data(p->m) + 12, "\x86\xdd\x60\0\0\0\0", 7);
	assert_int_equal(ip6[5], len);
	assert_memory_equal(ip6 + 6, "\x3a\xff", 2);
	assert_memory_equal(ip6 + 8, src, 16);
	assert_memory_equal(ip6 + 24, dst, 16);
	assert_int_equal(
		csum_fold(csum_add(csum_pseudo(0, ip6 + 8, ip6 + 24, true, 58, len), msg, len)),
		0xffff);
	return (const void *)msg;
}

static int setup_addr(void **state)
{
	struct pkt p;

	stack_make(64, 4);
	assert_int_equal(eth_addr_add(e, 0, &us, false), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(poll_at_deadline(&p, 1), 1);
		assert_int_equal(sent(&p, &us, &all_nodes)->type, ND_NA);
		assert_int_equal(sent(&p, &us, &all_nodes)->flags, ND_NA_OVERRIDE);
		pkt_free(p.m);
	}
	return 0;
}

static void solicitation_for_us_is_answered_and_its_sender_known(void **state)
{
	struct ip_addr group = nd_solicited_node(&us);
	struct ns n = message(ND_NS, 0, &us, &mac_a);
	struct pkt p = nd(&mac_a, &peer, &group, &n, sizeof(n));
	const struct wire_nd *a;

	assert_int_equal(give(&p), NEXT_TX);
	a = sent(&p, &us, &peer);
	assert_int_equal(a->type, ND_NA);
	assert_int_equal(a->flags, ND_NA_SOLICITED | ND_NA_OVERRIDE);
	assert_memory_equal(a->target, &us, 16);
	assert_memory_equal(a + 1, "\2\1\2\0\0\0\0\1", 8);
	assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
}

static void solicitation_without_mac_is_answered_to_the_frame(void **state)
{
	struct ns n = message(ND_NS, 0, &us, &mac_a);
	struct pkt p = nd(&mac_b, &peer, &us, &n, sizeof(n.nd));

	assert_int_equal(give(&p), NEXT_TX);
	assert_memory_equal(&eth_of(&p)->dst, &mac_b, 6);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "none");
}

static void solicitation_for_another_is_refused(void **state)
{
	struct ns n = message(ND_NS, 0, &peer, &mac_a);
	struct pkt p = nd(&mac_a, &peer, &us, &n, sizeof(n));

	assert_int_equal(give(&p), NEXT_DROP);
	assert_int_equal(drops.n[DROP_ND_NOT_OURS], 1);
}

/* RFC 4861 §7.2.2, §7.3.3 */
static void unresolved_neighbour_is_solicited_and_its_queue_sent(void **state)
{
	struct ip_addr group = nd_solicited_node(&peer);
	struct pkt p;

	assert_int_equal(send_to(&peer, 7, &p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	assert_int_equal(sent(&p, &us, &group)->type, ND_NS);
	assert_memory_equal(&eth_of(&p)->dst, "\x33\x33\xff\0\2\2", 6);
	assert_memory_equal(sent(&p, &us, &group) + 1, "\1\1\2\0\0\0\0\1", 8);
	pkt_free(p.m);
	assert_int_equal(give_na(&mac_a, ND_NA_SOLICITED), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	assert_memory_equal(&eth_of(&p)->dst, &mac_a, 6);
	assert_memory_equal(pkt_data(p.m) + 12, "\x86\xdd\7\7", 4);
	pkt_free(p.m);
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
}

/* RFC 4861 §7.2.5 */
static void advertisement_without_override_does_not_replace_the_mac(void **state)
{
	uint32_t path;

	neigh_learn(e, 0, &peer, &mac_a);
	path = eth_path(e, 0, &peer);
	assert_int_equal(give_na(&mac_b, ND_NA_SOLICITED), NEXT_CONSUMED);
	assert_int_equal(eth_path(e, 0, &peer), path);
	assert_int_equal(give_na(&mac_b, ND_NA_OVERRIDE), NEXT_CONSUMED);
	assert_int_not_equal(eth_path(e, 0, &peer), path);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
}

/* H20: who was never asked can't make itself confirmed. */
static void h20_guest_that_claims_to_be_solicited_stays_stale(void **state)
{
	neigh_learn(e, 0, &peer, &mac_a);
	assert_int_equal(give_na(&mac_a, ND_NA_SOLICITED | ND_NA_OVERRIDE), NEXT_CONSUMED);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
}

/* H20: every length, and options of length 0 or past the end. */
static void h20_short_and_hostile_messages_are_refused(void **state)
{
	struct ns n = message(ND_NS, 0, &us, &mac_a);
	struct eth_addr group_mac = {{3}};
	unsigned refused = 0;
	struct pkt p;

	for (uint16_t len = 0; len < sizeof(n); len++) {
		if (len == sizeof(n.nd))
			continue;
		p = nd(&mac_a, &peer, &us, &n, len);
		assert_int_equal(give(&p), NEXT_DROP);
		refused++;
	}
	for (unsigned k = 0; k < 256; k++) {
		if (k == 1)
			continue;
		n.lla.len = (uint8_t)k;
		p = nd(&mac_a, &peer, &us, &n, sizeof(n));
		assert_int_equal(give(&p), NEXT_DROP);
		refused++;
	}
	n = message(ND_NS, 0, &us, &group_mac);
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	give(&p);
	n = message(ND_NS, 0, &all_nodes, &mac_a);
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	give(&p);
	n = message(ND_NS, 0, &us, &mac_a);
	n.nd.code = 1;
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	give(&p);
	n.nd.code = 0;
	p = nd(&mac_a, &any6, &us, &n, sizeof(n));
	give(&p);
	p = nd(&mac_a, &all_nodes, &us, &n, sizeof(n));
	give(&p);
	/* RFC 6980 */
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	p.flags |= PKT_F_FRAGMENTED;
	give(&p);
	/* Claims more than there is. */
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	p.l4_len += 8;
	give(&p);
	p = nd(&mac_a, &peer, &us, &n, sizeof(n));
	p.l4_len = 70000;
	give(&p);
	n = message(ND_NA, ND_NA_SOLICITED, &peer, &mac_a);
	p = nd(&mac_a, &peer, &all_nodes, &n, sizeof(n));
	give(&p);
	assert_int_equal(drops.n[DROP_ND_BAD], refused + 9);
	assert_int_equal(neigh_state_of(&peer).total, 0);
}

static struct pkt dad_start(struct ip_addr *a)
{
	struct ip_addr group;
	struct pkt p;

	*a = us;
	a->b[15] = 9;
	group = nd_solicited_node(a);
	assert_int_equal(eth_addr_add(e, 0, a, true), 0);
	assert_int_equal(poll_at_deadline(&p, 1), 1);
	assert_int_equal(sent(&p, &any6, &group)->type, ND_NS);
	assert_int_equal(p.m->pkt_len, ND_AT + 24);
	return p;
}

/* RFC 4862 §5.4 */
static void tentative_address_unopposed_becomes_usable(void **state)
{
	struct ip_addr a;
	struct pkt p = dad_start(&a);
	struct eth_event ev;
	uint64_t start = now;

	/* Our own probe brought back is no conflict. */
	p.src = any6;
	p.dst = nd_solicited_node(&a);
	p.l3_off = IP6_AT;
	p.l4_off = ND_AT;
	p.l4_len = 24;
	assert_int_equal(give(&p), NEXT_DROP);
	assert_false(eth_event_next(e, &ev));
	assert_int_equal(poll_at_deadline(&p, 1), 1);
	assert_int_equal(now - start, SEC);
	assert_int_equal(sent(&p, &a, &all_nodes)->type, ND_NA);
	pkt_free(p.m);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_ADDR_OK);
	assert_true(ip_addr_eq(&ev.addr, &a));
	/* RFC 4861 §6.3.7: and routers are asked for. */
	assert_int_equal(poll_at_deadline(&p, 1), 1);
	assert_int_equal(sent(&p, &us, &all_routers)->type, ND_RS);
	assert_int_equal(p.m->pkt_len, ND_AT + 8 + 8);
	assert_memory_equal(pkt_data(p.m) + ND_AT + 8, "\1\1\2\0\0\0\0\1", 8);
	assert_memory_equal(&eth_of(&p)->dst, "\x33\x33\0\0\0\2", 6);
	pkt_free(p.m);
}

struct ra {
	struct wire_ra ra;
	uint8_t mtu[8];
	struct wire_nd_prefix pi;
};

static struct ra advertisement(uint16_t lifetime_s)
{
	return (struct ra){
		.ra = {.type = ND_RA, .flags = 0x80, .lifetime_s = be16(lifetime_s)},
		.mtu = {ND_OPT_MTU, 1, [6] = 0x05, 0xdc},
		.pi = {ND_OPT_PREFIX, 4, 64, 0xc0, be32(3600), be32(1800), be32(0), {0x20, 1}}};
}

static enum next give_ra(const struct ra *m)
{
	struct pkt p = nd(&mac_a, &peer, &all_nodes, m, sizeof(*m));

	return give(&p);
}

static unsigned drain_events(void)
{
	struct eth_event ev;
	unsigned n = 0;

	while (eth_event_next(e, &ev))
		n++;
	return n;
}

/* RFC 4861 §6.3.7: three times, 4 s apart, until there is a router. */
static void routers_are_asked_for_until_one_answers(void **state)
{
	for (int answered = 0; answered < 2; answered++) {
		struct ra m = advertisement(1800);
		unsigned asked = 0;
		uint64_t last = 0;
		struct ip_addr a;
		struct pkt p;

		eth_destroy(e);
		setup_addr(NULL);
		p = dad_start(&a);
		pkt_free(p.m);
		while (poll_at_deadline(&p, 1) == 1) {
			if (pkt_data(p.m)[ND_AT] == ND_RS) {
				assert_true(asked == 0 || now - last == 4 * SEC);
				last = now;
				asked++;
				if (answered)
					assert_int_equal(give_ra(&m), NEXT_CONSUMED);
			}
			pkt_free(p.m);
			drain_events();
			if (eth_deadline(e) == UINT64_MAX)
				break;
		}
		assert_int_equal(asked, answered ? 1 : 3);
	}
}

/* RFC 4861 §7.2.5: what was a router and says it is none. */
static void router_that_resigns_is_reported(void **state)
{
	struct ra m = advertisement(1800);
	struct eth_event ev;

	neigh_learn(e, 0, &peer, &mac_a);
	assert_int_equal(give_ra(&m), NEXT_CONSUMED);
	assert_int_equal(drain_events(), 2);
	assert_int_equal(give_na(&mac_a, ND_NA_ROUTER | ND_NA_OVERRIDE), NEXT_CONSUMED);
	assert_false(eth_event_next(e, &ev));
	assert_int_equal(give_na(&mac_a, ND_NA_OVERRIDE), NEXT_CONSUMED);
	assert_int_equal(eth_deadline(e), now);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_ROUTER);
	assert_int_equal(ev.lifetime_s, 0);
	assert_true(ip_addr_eq(&ev.addr, &peer));
}

/* RFC 4861 §6.3.4 */
static void reachable_time_is_the_routers(void **state)
{
	struct ra m = advertisement(1800);
	struct pkt p;

	m.ra.reachable_ms = be32(600000);
	assert_int_equal(give_ra(&m), NEXT_CONSUMED);
	drain_events();
	assert_int_equal(send_to(&peer, 7, &p), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	pkt_free(p.m);
	assert_int_equal(give_na(&mac_a, ND_NA_SOLICITED), NEXT_CONSUMED);
	assert_int_equal(eth_poll(e, &p, 1), 1);
	pkt_free(p.m);
	advance(299 * SEC);
	assert_string_equal(neigh_state_of(&peer).state, "reachable");
	advance(602 * SEC);
	assert_string_equal(neigh_state_of(&peer).state, "stale");
}

/* RFC 4861 §8.3: counted, and nothing else. */
static void redirect_is_refused(void **state)
{
	uint8_t m[40] = {ND_REDIRECT};
	struct pkt p = nd(&mac_a, &peer, &us, m, sizeof(m));

	assert_int_equal(give(&p), NEXT_DROP);
	assert_int_equal(drops.n[DROP_REDIRECT], 1);
	assert_int_equal(eth_deadline(e), UINT64_MAX);
}

static void tentative_address_claimed_or_also_probed_is_duplicate(void **state)
{
	for (int probe = 0; probe < 2; probe++) {
		struct ip_addr a;
		struct pkt p = dad_start(&a);
		struct ip_addr group = nd_solicited_node(&a);
		struct ns n = message(probe ? ND_NS : ND_NA, 0, &a, &mac_a);
		struct eth_event ev;

		pkt_free(p.m);
		p = probe ? nd(&mac_a, &any6, &group, &n, sizeof(n.nd))
			  : nd(&mac_a, &a, &all_nodes, &n, sizeof(n));
		assert_int_equal(give(&p), NEXT_CONSUMED);
		assert_true(eth_event_next(e, &ev));
		assert_int_equal(ev.kind, ETH_EV_ADDR_DUPLICATE);
		assert_int_equal(eth_deadline(e), UINT64_MAX);
		assert_int_equal(eth_addr_del(e, 0, &a), 0);
	}
}

static void probe_for_our_usable_address_is_answered_to_all(void **state)
{
	struct ip_addr group = nd_solicited_node(&us);
	struct ns n = message(ND_NS, 0, &us, &mac_a);
	struct pkt p = nd(&mac_a, &any6, &group, &n, sizeof(n.nd));

	assert_int_equal(give(&p), NEXT_TX);
	assert_int_equal(sent(&p, &us, &all_nodes)->flags, ND_NA_OVERRIDE);
	pkt_free(p.m);
}

static void router_advertisement_is_reported(void **state)
{
	struct ra m = advertisement(1800);
	struct pkt p = nd(&mac_a, &peer, &all_nodes, &m, sizeof(m));
	struct ip_addr global = {.b = {0x20, 1}};
	struct eth_event ev;

	assert_int_equal(give(&p), NEXT_CONSUMED);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_ROUTER);
	assert_true(ip_addr_eq(&ev.addr, &peer));
	assert_int_equal(ev.lifetime_s, 1800);
	assert_int_equal(ev.mtu, 1500);
	assert_int_equal(ev.flags, 0x80);
	assert_true(eth_event_next(e, &ev));
	assert_int_equal(ev.kind, ETH_EV_PREFIX);
	assert_true(ip_addr_eq(&ev.addr, &global));
	assert_int_equal(ev.prefix_len, 64);
	assert_int_equal(ev.lifetime_s, 3600);
	assert_int_equal(ev.preferred_s, 1800);
	assert_false(eth_event_next(e, &ev));
	/* RFC 4861 §6.1.2: only from a link-local address. A flood is bounded. */
	p = nd(&mac_a, &global, &all_nodes, &m, sizeof(m));
	assert_int_equal(give(&p), NEXT_DROP);
	assert_int_equal(drops.n[DROP_ND_BAD], 1);
	for (int i = 0; i < 100; i++) {
		p = nd(&mac_a, &peer, &all_nodes, &m, sizeof(m));
		give(&p);
	}
	assert_int_equal(drops.n[DROP_EVENT_FULL], 84);
}

/* H20: random bytes never read outside (run under ASan). */
static void h20_random_messages_are_survived(void **state)
{
	uint64_t r = 1;

	for (int i = 0; i < 20000; i++) {
		uint8_t b[64];
		struct pkt p;
		enum next n;

		for (unsigned k = 0; k < sizeof(b); k++) {
			r = r * 6364136223846793005ull + 1442695040888963407ull;
			b[k] = (uint8_t)(r >> 56) & (k >= 24 ? 7 : 0xff);
		}
		b[0] = (uint8_t)(133 + i % 4);
		b[1] = 0;
		p = nd(&mac_a, &peer, &us, b, (uint16_t)(r >> 40 & 63));
		n = give(&p);
		if (n == NEXT_TX)
			pkt_free(p.m);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup_addr, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(solicitation_for_us_is_answered_and_its_sender_known),
		T(solicitation_without_mac_is_answered_to_the_frame),
		T(solicitation_for_another_is_refused),
		T(unresolved_neighbour_is_solicited_and_its_queue_sent),
		T(advertisement_without_override_does_not_replace_the_mac),
		T(h20_guest_that_claims_to_be_solicited_stays_stale),
		T(h20_short_and_hostile_messages_are_refused),
		T(tentative_address_unopposed_becomes_usable),
		T(tentative_address_claimed_or_also_probed_is_duplicate),
		T(probe_for_our_usable_address_is_answered_to_all),
		T(router_advertisement_is_reported),
		T(routers_are_asked_for_until_one_answers),
		T(router_that_resigns_is_reported),
		T(reachable_time_is_the_routers),
		T(redirect_is_refused),
		T(h20_random_messages_are_survived),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
