/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tcp/syncache.h"

static struct syncache c;

static int setup(void **state)
{
	return syncache_init(&c, 256, 1000, 0x5eed);
}

static int teardown(void **state)
{
	syncache_fini(&c);
	return 0;
}

/* A peer by number. */
static struct syn_entry flow(uint32_t n)
{
	struct syn_entry e = {
		.lport = 80, .rport = (uint16_t)n, .irs = n, .mss = 1460, .wscale = 14};

	e.laddr = ip_addr_v4(be32(0x0a000001));
	e.raddr = ip_addr_v4(be32(0x0a010000 + n));
	return e;
}

static struct syn_entry *find(uint32_t n)
{
	struct syn_entry e = flow(n);

	return syncache_find(&c, &e.laddr, e.lport, &e.raddr, e.rport);
}

static struct syn_entry *add(uint32_t n, uint32_t now_ms)
{
	struct syn_entry e = flow(n);

	return syncache_add(&c, &e, now_ms);
}

static void added_flow_is_found_with_what_was_remembered(void **state)
{
	assert_null(find(1));
	assert_non_null(add(1, 0));
	assert_non_null(find(1));
	assert_int_equal(find(1)->irs, 1);
	assert_int_equal(find(1)->wscale, 14);
	assert_null(find(2));
	syncache_del(&c, find(1));
	assert_null(find(1));
	assert_int_equal(syncache_count(&c), 0);
}

/* Same addresses, other port; same ports, other address: four different flows. */
static void flows_that_differ_in_one_member_are_apart(void **state)
{
	struct syn_entry e = flow(1), f = flow(1), g = flow(1);

	f.rport++;
	g.laddr = ip_addr_v4(be32(0x0a000002));
	assert_non_null(syncache_add(&c, &e, 0));
	assert_null(syncache_find(&c, &f.laddr, f.lport, &f.raddr, f.rport));
	assert_null(syncache_find(&c, &g.laddr, g.lport, &g.raddr, g.rport));
}

/* RFC 6298 §5.5: 1, 2, 4 … seconds between tries; then the entry is given up. */
static void unanswered_entry_backs_off_by_doubling_and_ends(void **state)
{
	uint32_t now = UINT32_MAX - 1500; /* the clock wraps on the way */
	uint32_t wait = 1000;

	assert_int_equal(syncache_wait_ms(&c, now), UINT32_MAX);
	assert_non_null(add(1, now));
	for (int try = 1; try <= SYN_TRIES_MAX; try++, wait *= 2) {
		assert_int_equal(syncache_wait_ms(&c, now), wait);
		assert_null(syncache_due(&c, now + wait - 1));
		now += wait;
		assert_ptr_equal(syncache_due(&c, now), find(1));
		assert_int_equal(syncache_wait_ms(&c, now), 0);
		assert_int_equal(syncache_resent(&c, find(1), now), try < SYN_TRIES_MAX);
	}
	assert_null(find(1));
	assert_int_equal(syncache_wait_ms(&c, now), UINT32_MAX);
}

/* H15: a flood fills the cache and stops there; what is in it stays, and time empties it. */
static void h15_syn_flood_is_bounded_and_leaves_entries_alone(void **state)
{
	struct syn_entry *e;
	uint32_t now = 0, kept = 0;

	for (uint32_t n = 1; n <= 100000; n++)
		kept += add(n, now) != NULL;
	assert_int_equal(kept, 256);
	for (uint32_t n = 1; n <= 256; n++)
		assert_non_null(find(n));
	for (; now < 200000; now += 500)
		while ((e = syncache_due(&c, now)) != NULL)
			syncache_resent(&c, e, now);
	assert_int_equal(syncache_count(&c), 0);
	assert_non_null(add(7, now));
}

/* Random adds, deletions and passing time against an array of deadlines. */
static void random_use_matches_a_naive_model(void **state)
{
	enum { N = 200 };
	static struct {
		bool in;
		uint32_t deadline;
		unsigned tries;
	} model[N];
	uint32_t now = 0;

	srandom(3);
	memset(model, 0, sizeof(model));
	for (int step = 0; step < 20000; step++) {
		uint32_t n = (uint32_t)random() % N, least = UINT32_MAX;
		struct syn_entry *e;

		assert_int_equal(find(n) != NULL, model[n].in);
		if (model[n].in) {
			syncache_del(&c, find(n));
			model[n].in = false;
		} else if (random() & 1) {
			assert_non_null(add(n, now));
			model[n].in = true;
			model[n].tries = 1;
			model[n].deadline = now + 1000;
		}
		now += (uint32_t)random() % 40;
		while ((e = syncache_due(&c, now)) != NULL) {
			uint32_t who = e->irs;

			assert_true(model[who].in && model[who].deadline <= now);
			model[who].in = syncache_resent(&c, e, now);
			model[who].deadline = now + (1000u << model[who].tries++);
		}
		for (int i = 0; i < N; i++)
			if (model[i].in && model[i].deadline - now < least)
				least = model[i].deadline - now;
		assert_int_equal(syncache_wait_ms(&c, now), least);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(added_flow_is_found_with_what_was_remembered),
		T(flows_that_differ_in_one_member_are_apart),
		T(unanswered_entry_backs_off_by_doubling_and_ends),
		T(h15_syn_flood_is_bounded_and_leaves_entries_alone),
		T(random_use_matches_a_naive_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
