/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Large packets in large buffers: which pieces they come in, what happens when there are no large
 * ones left, and that each buffer comes home. The kernel's side of a tap device is played by a
 * socket that keeps packets apart.
 */
#include <linux/virtio_net.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include <rte_mempool.h>

#include "dev/dev_priv.h"

#define SMALL  512
#define LARGE  16
#define PACKET 65549 /* an IPv4 packet of 65,535 bytes and its Ethernet header */
#define HELD   64

static struct rte_mempool *small, *large;
static struct dev_tap *tap;
static int fd[2];
static uint8_t bytes[PACKET];

static int open_all(void **state)
{
	const char *const vdevs[] = {"net_ring0", NULL};
	struct dev_eal_cfg cfg = {.vdevs = vdevs, .no_huge = true, .mem_mb = 64};
	char err[200] = "";
	int room = 4 << 20;

	if (dev_eal_init(&cfg, err, sizeof(err)) < 0) {
		print_error("%s\n", err);
		return -1;
	}
	small = dev_pool_create("small", 0, SMALL, 0, NULL);
	large = dev_pool_create("large", 0, LARGE, DEV_LARGE_ROOM, NULL);
	if (small == NULL || large == NULL ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fd) < 0)
		return -1;
	setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (unsigned i = 0; i < PACKET; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static int close_all(void **state)
{
	close(fd[0]);
	close(fd[1]);
	dev_pool_destroy(large);
	dev_pool_destroy(small);
	dev_eal_fini();
	return 0;
}

static int tap_open(void **state)
{
	tap = dev_tap_create(small, large);
	return tap != NULL ? 0 : -1;
}

static int all_home(void **state)
{
	dev_tap_destroy(tap);
	tap = NULL;
	assert_int_equal(rte_mempool_avail_count(small), SMALL);
	assert_int_equal(rte_mempool_avail_count(large), LARGE);
	return 0;
}

static unsigned pieces_of(const struct rte_mbuf *m, struct rte_mempool *pool)
{
	unsigned n = 0;

	for (; m != NULL; m = m->next)
		n += m->pool == pool;
	return n;
}

static void assert_whole(const struct rte_mbuf *m, uint32_t len)
{
	static uint8_t got[PACKET];
	unsigned segs = 0;

	assert_int_equal(m->pkt_len, len);
	assert_int_equal(pkt_copy_out(m, 0, len, got), len);
	assert_memory_equal(got, bytes, len);
	for (const struct rte_mbuf *s = m; s != NULL; s = s->next)
		segs++;
	assert_int_equal(segs, m->nb_segs);
}

static struct rte_mbuf *through_tap(uint32_t len)
{
	struct virtio_net_hdr h = {0};
	struct iovec iov[] = {{&h, sizeof(h)}, {bytes, len}};
	struct rte_mbuf *m = NULL;

	assert_int_equal(writev(fd[0], iov, 2), sizeof(h) + len);
	assert_int_equal(dev_tap_read(tap, fd[1], &m), 1);
	assert_whole(m, len);
	return m;
}

static void a_small_packet_takes_small_buffers(void **state)
{
	for (uint32_t len = 60; len <= 8192; len += 1356) {
		struct rte_mbuf *m = through_tap(len);

		assert_int_equal(pieces_of(m, large), 0);
		pkt_free(m);
	}
}

static void the_largest_packet_takes_few(void **state)
{
	for (unsigned i = 0; i < 3 * LARGE; i++) {
		struct rte_mbuf *m = through_tap(PACKET);

		assert_int_equal(m->nb_segs, 8);
		assert_int_equal(pieces_of(m, large), 4);
		pkt_free(m);
	}
}

static void without_large_ones_a_tap_goes_on(void **state)
{
	struct rte_mbuf *held[HELD];
	unsigned n = 0, in_large = 0;

	/* Until packets come in small ones alone, and some more of these. */
	for (unsigned in_small = 0; in_small < 3; n++) {
		assert_true(n < HELD);
		held[n] = through_tap(PACKET);
		in_large += pieces_of(held[n], large);
		in_small += pieces_of(held[n], large) == 0;
		pkt_free(through_tap(1400));
	}
	assert_true(in_large > LARGE - 4);
	while (n > 0)
		pkt_free(held[--n]);
	pkt_free(through_tap(60));
	held[0] = through_tap(PACKET);
	assert_int_equal(pieces_of(held[0], large), 4);
	pkt_free(held[0]);
}

static void without_any_it_waits(void **state)
{
	struct rte_mbuf *held[HELD], *m, *all[SMALL];
	struct virtio_net_hdr h = {0};
	struct iovec iov[] = {{&h, sizeof(h)}, {bytes, 60}};
	unsigned n = 0;

	held[0] = through_tap(60);
	while (n < SMALL && (all[n] = pkt_alloc(small)) != NULL)
		n++;
	assert_int_equal(writev(fd[0], iov, 2), sizeof(h) + 60);
	assert_int_equal(dev_tap_read(tap, fd[1], &m), -ENOBUFS);
	while (n > 0)
		pkt_free(all[--n]);
	assert_int_equal(dev_tap_read(tap, fd[1], &m), 1);
	assert_whole(m, 60);
	pkt_free(m);
	pkt_free(held[0]);
}

static void chains(void **state)
{
	static const struct {
		uint32_t len;
		unsigned large, all;
	} row[] = {{60, 0, 1},
		   {DEV_LARGE_ROOM / 2 - 1, 0, 4},
		   {DEV_LARGE_ROOM / 2, 1, 1},
		   {16384, 1, 1},
		   {16385, 1, 2},
		   {40000, 2, 6},
		   {PACKET, 4, 5}};
	struct iovec iov[DEV_CHAIN_SEGS];
	unsigned n;

	for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct rte_mbuf *m = dev_chain_alloc(small, large, row[i].len, iov, &n);
		uint32_t at = 0;

		assert_non_null(m);
		assert_int_equal(n, row[i].all);
		assert_int_equal(pieces_of(m, large), row[i].large);
		for (unsigned k = 0; k < n; at += iov[k++].iov_len)
			memcpy(iov[k].iov_base, bytes + at, iov[k].iov_len);
		assert_whole(m, row[i].len);
		pkt_free(m);
	}
}

static void chains_without_large_ones(void **state)
{
	struct iovec iov[DEV_CHAIN_SEGS];
	struct rte_mbuf *held[LARGE], *m;
	unsigned n;

	for (unsigned i = 0; i < LARGE - 1; i++)
		held[i] = pkt_alloc(large);
	m = dev_chain_alloc(small, large, PACKET, iov, &n);
	assert_non_null(m);
	assert_int_equal(pieces_of(m, large), 1);
	assert_int_equal(pieces_of(m, small), (PACKET - DEV_LARGE_ROOM + 2047) / 2048);
	pkt_free(m);
	for (unsigned i = 0; i < LARGE - 1; i++)
		pkt_free(held[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_small_packet_takes_small_buffers, tap_open,
						all_home),
		cmocka_unit_test_setup_teardown(the_largest_packet_takes_few, tap_open, all_home),
		cmocka_unit_test_setup_teardown(without_large_ones_a_tap_goes_on, tap_open,
						all_home),
		cmocka_unit_test_setup_teardown(without_any_it_waits, tap_open, all_home),
		cmocka_unit_test_teardown(chains, all_home),
		cmocka_unit_test_teardown(chains_without_large_ones, all_home),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
