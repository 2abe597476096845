/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/assert.h"
#include "chan/chan.h"

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static struct chan_geometry small(void)
{
	return (struct chan_geometry){8, 16, 32, 4, 20, 3, 100, 65536};
}

static void *formatted(const struct chan_geometry *g)
{
	void *base = aligned_alloc(64, chan_bytes(g));

	assert_non_null(base);
	memset(base, 0, chan_bytes(g));
	chan_format(base, g);
	return base;
}

static void default_geometry_formatted_is_accepted(void **state)
{
	struct chan_geometry g;
	struct chan_hdr h;

	chan_geometry_defaults(&g);
	assert_int_equal(chan_geometry_check(&g), 0);
	void *base = formatted(&g);

	assert_int_equal(chan_check(base, chan_bytes(&g), &h), 0);
	assert_int_equal(h.total_bytes, chan_bytes(&g));
	assert_int_equal(h.total_bytes % 4096, 0);
	assert_int_equal(h.idx_off % 64, 0);
	free(base);
}

static void rings_formatted_do_not_overlap(void **state)
{
	struct chan_geometry g = small();
	void *base = formatted(&g);
	struct chan_hdr h;

	assert_int_equal(chan_check(base, chan_bytes(&g), &h), 0);
	assert_true(h.idx_off >= sizeof(h));
	assert_true(h.sq_off >= h.idx_off + sizeof(struct chan_shared));
	assert_true(h.cq_off >= h.sq_off + 64ull * g.sq_size);
	assert_true(h.ret_off >= h.cq_off + 64ull * g.cq_size);
	assert_true(h.done_off >= h.ret_off + 4ull * g.ret_size);
	assert_true(h.total_bytes >= h.done_off + 4ull * g.done_size);
	assert_true((h.sq_off | h.cq_off | h.ret_off | h.done_off) % 64 == 0);
	free(base);
}

static void bad_geometry_is_refused(void **state)
{
	struct chan_geometry bad[14];

	for (unsigned i = 0; i < array_size(bad); i++)
		bad[i] = small();
	bad[0].sq_size = 0;
	bad[1].sq_size = 1;
	bad[2].cq_size = 24;
	bad[3].ret_size = CHAN_RING_MAX * 2;
	bad[4].done_size = 0x80000000u;
	bad[5].max_loans = 33; /* more names than places */
	bad[6].max_loans = 0;
	bad[7].max_tokens = 5;
	bad[8].max_tokens = 0;
	bad[9].max_sockets = (1u << SID_INDEX_BITS) + 1;
	bad[10].arena_bytes = 65535;
	bad[11].arena_bytes = UINT64_MAX & ~65535ull;
	bad[12].arena_bytes = 0;
	bad[13].ret_size = CHAN_RING_MAX; /* places enough, but the name has not the bits */
	bad[13].max_loans = (1u << LOAN_INDEX_BITS) + 1;
	for (unsigned i = 0; i < array_size(bad); i++)
		assert_int_equal(chan_geometry_check(&bad[i]), -EINVAL);
}

/* H32: magic, version, a mapping shorter than the header says. */
static void h32_wrong_header_is_refused_with_its_reason(void **state)
{
	struct chan_geometry g = small();
	struct chan_hdr *base = formatted(&g), h;
	uint64_t n = chan_bytes(&g);

	assert_int_equal(chan_check(NULL, n, &h), -EPROTO);
	assert_int_equal(chan_check((char *)base + 8, n, &h), -EPROTO);
	assert_int_equal(chan_check(base, 0, &h), -EPROTO);
	assert_int_equal(chan_check(base, sizeof(h) - 1, &h), -EPROTO);
	assert_int_equal(chan_check(base, sizeof(h), &h), -EPROTO);
	assert_int_equal(chan_check(base, n - 1, &h), -EPROTO);
	assert_int_equal(chan_check(base, n, &h), 0);
	base->version = CHAN_VERSION + 1;
	assert_int_equal(chan_check(base, n, &h), -EPROTONOSUPPORT);
	base->magic = 0;
	assert_int_equal(chan_check(base, n, &h), -EPROTO);
	free(base);
}

static const uint64_t nasty[] = {0,	     1,		 3,	     0x7fffffff, 0x80000000,
				 0xffffffff, 1ull << 32, 1ull << 63, UINT64_MAX, UINT64_MAX - 63};

/* H32: any field of the header is any value. What is accepted lies inside the mapping. */
static void h32_fuzzed_header_is_refused_or_fits(void **state)
{
	struct chan_geometry g = small();
	struct chan_hdr *base = formatted(&g), good = *base, h;
	uint64_t n = chan_bytes(&g);
	unsigned accepted = 0;

	for (int round = 0; round < 300000; round++) {
		*base = good;
		for (unsigned k = 1 + rnd() % 3; k > 0; k--) {
			uint64_t v = rnd() % 3 == 0 ? 1ull << rnd() % 64
				     : rnd() % 2    ? nasty[rnd() % array_size(nasty)]
						    : rnd();
			bool wide = rnd() % 2;
			size_t at = wide ? 40 + 8 * (rnd() % 7) : 4 * (rnd() % 24);

			memcpy((char *)base + at, &v, wide ? 8 : 4);
		}
		if (chan_check(base, n, &h) != 0)
			continue;
		accepted++;
		assert_true(h.total_bytes <= n);
		assert_true(h.idx_off + sizeof(struct chan_shared) <= h.sq_off);
		assert_true(h.sq_off + 64ull * h.sq_size <= n);
		assert_true(h.cq_off + 64ull * h.cq_size <= n);
		assert_true(h.ret_off + 4ull * h.ret_size <= n);
		assert_true(h.done_off + 4ull * h.done_size <= n);
		assert_true(h.max_loans <= h.ret_size && h.max_tokens <= h.done_size);
	}
	assert_true(accepted > 0); /* max_sockets alone, for example, may differ */
	free(base);
}

/* H32: handles out of their region, sums that overflow, regions that do not exist. */
static void h32_hostile_handle_yields_no_address(void **state)
{
	static char arena[4096], pkts[100];
	struct chan_map m = {0};

	m.region[CHAN_REGION_ARENA].base = arena;
	m.region[CHAN_REGION_ARENA].bytes = sizeof(arena);
	m.region[3].base = pkts;
	m.region[3].bytes = sizeof(pkts);
	assert_ptr_equal(chan_at(&m, 0, 0, 4096), arena);
	assert_ptr_equal(chan_at(&m, 0, 4096, 0), arena + 4096);
	assert_ptr_equal(chan_at(&m, 3, 99, 1), pkts + 99);
	assert_null(chan_at(&m, 0, 0, 4097));
	assert_null(chan_at(&m, 0, 4097, 0));
	assert_null(chan_at(&m, 0, UINT64_MAX, 1));
	assert_null(chan_at(&m, 0, UINT64_MAX - 10, 20));
	assert_null(chan_at(&m, 0, 4000, UINT32_MAX));
	assert_null(chan_at(&m, 1, 0, 0));
	assert_null(chan_at(&m, CHAN_REGION_MAX, 0, 0));
	assert_null(chan_at(&m, UINT32_MAX, 0, 0));
}

/* No pointer crosses: the two sides see the same memory at different addresses. */
static void memfd_mapped_twice_carries_entries_both_ways(void **state)
{
	struct chan_geometry g = small();
	uint64_t n = chan_bytes(&g);
	int fd = memfd_create("chan", MFD_CLOEXEC);
	struct chan_map app = {0}, stk = {0};
	struct chan_end a, s;
	struct chan_hdr h;

	assert_true(fd >= 0 && ftruncate(fd, (off_t)n) == 0);
	app.base = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	stk.base = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(app.base != MAP_FAILED && stk.base != MAP_FAILED && app.base != stk.base);
	chan_format(stk.base, &g);
	assert_int_equal(chan_check(stk.base, n, &h), 0);
	chan_attach(&s, &stk, &h);
	assert_int_equal(chan_check(app.base, n, &h), 0);
	chan_attach(&a, &app, &h);
	/* Once attached the header is of no use to a liar. */
	memset(app.base, 0xff, sizeof(struct chan_hdr));
	for (uint32_t i = 0; i < 1000; i++) {
		struct chan_sqe q = {.op = CHAN_OP_SEND, .token = i, .off = ~(uint64_t)i}, qc;
		struct chan_cqe c = {.ev = CHAN_EV_DATA, .loan = i}, cc;
		uint32_t name;

		assert_true(chan_free(&a.sq, 1) >= 1);
		chan_send(&a.sq, &q);
		assert_true(chan_receive(&s.sq, &qc));
		assert_false(chan_ready(&s.sq, sizeof(q)));
		assert_memory_equal(&q, &qc, sizeof(q));

		assert_true(chan_free(&s.cq, 1) >= 1);
		chan_send(&s.cq, &c);
		assert_true(chan_receive(&a.cq, &cc));
		assert_false(chan_ready(&a.cq, sizeof(c)));
		assert_memory_equal(&c, &cc, sizeof(c));

		assert_true(chan_free(&s.done, 1) >= 1);
		chan_send_name(&s.done, i);
		assert_true(chan_receive_name(&a.done, &name));
		assert_false(chan_ready(&a.done, sizeof(name)));
		assert_int_equal(name, i);
	}
	munmap(app.base, n);
	munmap(stk.base, n);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(default_geometry_formatted_is_accepted),
		cmocka_unit_test(rings_formatted_do_not_overlap),
		cmocka_unit_test(bad_geometry_is_refused),
		cmocka_unit_test(h32_wrong_header_is_refused_with_its_reason),
		cmocka_unit_test(h32_fuzzed_header_is_refused_or_fits),
		cmocka_unit_test(h32_hostile_handle_yields_no_address),
		cmocka_unit_test(memfd_mapped_twice_carries_entries_both_ways),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
