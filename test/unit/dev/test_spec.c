/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bad input: each is refused with -errno and one line that says what to do, before DPDK starts, so
 * that the next try is a good one. And the values that a SPEC gets for what it leaves open.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "dev/dev_priv.h"
#include "dev_test.h"

static int complete(const char *spec, bool huge, uint16_t n_queues, char *out, char *err)
{
	const struct dev_spec_env env = {.huge = huge, .n_queues = n_queues, .mtu = 1500};

	err[0] = '\0';
	return dev_spec_complete(spec, &env, out, 512, err, 256);
}

static void check_refused(const char *spec, int rc, const char *words)
{
	char out[512], err[256];

	assert_int_equal(complete(spec, false, 1, out, err), rc);
	assert_non_null(strstr(err, spec));
	if (strstr(err, words) == NULL)
		fail_msg("'%s' lacks '%s'", err, words);
	assert_null(strchr(err, '\n'));
}

static void wrong_spec_is_refused_with_what_to_do(void **state)
{
	check_refused("", -EINVAL, "net_tap0,iface=z0");
	check_refused("net_af_packet0", -EINVAL, "iface=NAME");
	check_refused("net_af_packet0,iface=nosuchif0", -ENODEV, "ip link");
	check_refused("net_af_packet0,iface=lo,framesz=1500", -EINVAL, "multiple of 16");
	check_refused("net_af_xdp0,iface=nosuchif0", -ENODEV, "ip link");
	check_refused("net_memif0,role=waiter", -EINVAL, "client or server");
	check_refused("net_memif0,role=server,socket=/nosuchdir/s,socket-abstract=no", -ENOENT,
		      "/nosuchdir");
	check_refused("net_memif0,zero-copy=yes", -ENOMEM, "hugepages");
	check_refused("net_virtio_user0", -EINVAL, "path=SOCKET");
	check_refused("net_virtio_user0,path=/tmp/zs-nosuch", -ECONNREFUSED,
		      "start the vhost side");
	check_refused("net_vhost0", -EINVAL, "iface=SOCKET");
	check_refused("net_vhost0,iface=/etc/passwd", -EEXIST, "no socket");
	check_refused("net_pcap0,rx_pcap=/nosuch.pcap", -ENOENT, "/nosuch.pcap");
	check_refused("net_pcap0", -EINVAL, "rx_pcap=FILE");
}

static void unprivileged_user_is_told_so(void **state)
{
	char out[512], err[256];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int rc, bad = 0;

		if (setuid(65534) < 0)
			_exit(77);
		rc = complete("net_af_packet0,iface=lo", false, 1, out, err);
		bad |= rc != -EPERM || strstr(err, "root") == NULL;
		rc = complete("net_af_xdp0,iface=lo", false, 1, out, err);
		bad |= rc != -EPERM || strstr(err, "root") == NULL;
		rc = complete("net_tap0", false, 1, out, err);
		bad |= rc >= 0 || strstr(err, "root") == NULL;
		_exit(bad);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_is_given_stays_and_the_rest_is_completed(void **state)
{
	char out[512], err[256];

	assert_int_equal(complete("net_af_packet0,iface=lo,framecnt=64", false, 3, out, err), 0);
	assert_non_null(strstr(out, "net_af_packet0,iface=lo,framecnt=64,framesz=2048,"));
	assert_null(strstr(out, "framecnt=1024"));
	/* Who says it wants the driver's sockets (dev_packet.c). */
	assert_null(strstr(out, "qdisc_bypass"));
	assert_non_null(strstr(out, "qpairs=3"));
	assert_non_null(strstr(out, "blocksz=65536"));
	assert_int_equal(complete("net_af_packet0,iface=lo,framesz=9216", false, 1, out, err), 0);
	assert_non_null(strstr(out, "blocksz=36864"));
	assert_int_equal(complete("net_memif0,role=client", true, 1, out, err), 0);
	assert_non_null(strstr(out, "zero-copy=yes"));
	assert_int_equal(complete("net_memif0", false, 1, out, err), 0);
	assert_non_null(strstr(out, "zero-copy=no"));
	assert_int_equal(complete("net_memif0,role=server", true, 1, out, err), 0);
	assert_null(strstr(out, "zero-copy"));
	assert_int_equal(complete("net_ring0", false, 1, out, err), 0);
	assert_string_equal(out, "net_ring0");
}

/* DPDK makes the buffers of its pools alike: they are made for the largest frame of all ports. */
static void buffers_have_room_for_the_frames_of_the_mtu(void **state)
{
	assert_int_equal(dev_spec_room("net_af_packet0,iface=lo", 1500), 0);
	assert_int_equal(dev_spec_room("net_af_packet0,iface=lo", 9000), 9216 - 32);
	assert_int_equal(dev_spec_room("net_af_packet0,iface=lo", 0), 10240 - 32);
	assert_int_equal(dev_spec_room("net_af_packet0,iface=lo,framesz=4096", 0), 4096 - 32);
	assert_int_equal(dev_spec_room("net_tap0,iface=lo", 9000), 0);
}

static int listen_on(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(fd, 4), 0);
	return fd;
}

/* A killed predecessor leaves its socket. */
static void stale_socket_is_removed_and_a_live_one_is_not(void **state)
{
	char path[64], spec[128], out[512], err[256];
	int fd;

	snprintf(path, sizeof(path), "/tmp/zs-spec-%d", getpid());
	snprintf(spec, sizeof(spec), "net_vhost0,iface=%s", path);
	fd = listen_on(path);
	assert_int_equal(complete(spec, false, 1, out, err), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	assert_int_equal(complete(spec, false, 1, out, err), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* One process can't start DPDK twice: what can be known is found out before. */
static void refused_start_can_be_tried_again(void **state)
{
	const char *const bad[] = {"net_af_packet0,iface=nosuchif0", NULL};
	struct dev_eal_cfg cfg = {.vdevs = bad, .no_huge = true};
	char err[200];

	assert_int_equal(dev_eal_init(&cfg, err, sizeof(err)), -ENODEV);
	assert_int_equal(dev_count(), 0);
	assert_int_equal(start("net_ring0", NULL, false), 0);
}

static void two_starts_are_refused(void **state)
{
	struct dev_eal_cfg cfg = {.no_huge = true};
	char err[200];

	assert_int_equal(dev_eal_init(&cfg, err, sizeof(err)), -EALREADY);
	assert_non_null(strstr(err, "already"));
}

static void too_many_buffers_are_refused_and_nothing_is_left(void **state)
{
	struct pkt_pools p;
	char err[200];

	assert_int_equal(dev_pools_create(9, 10000000, 64, 0, NULL, &p, err, sizeof(err)), -ENOMEM);
	assert_non_null(strstr(err, "--mem"));
	assert_null(p.rx);
	assert_int_equal(dev_pools_create(9, 64, 64, 0, NULL, &p, err, sizeof(err)), 0);
	dev_pools_destroy(&p);
}

static void *known(void *arg)
{
	*(int *)arg = dev_thread_init();
	if (rte_lcore_id() == LCORE_ID_ANY)
		*(int *)arg = -1;
	dev_thread_fini();
	return NULL;
}

/* A pool serves a known thread from its cache. */
static void thread_is_known_between_init_and_fini(void **state)
{
	pthread_t t;
	int rc = -1;

	assert_int_equal(dev_thread_init(), 0);
	for (int i = 0; i < 300; i++) { /* more often than DPDK knows threads */
		assert_int_equal(pthread_create(&t, NULL, known, &rc), 0);
		assert_int_equal(pthread_join(t, NULL), 0);
		assert_int_equal(rc, 0);
	}
}

static void memory_is_zeroed_aligned_and_in_the_span(void **state)
{
	struct dev_span span = dev_mem_span();
	uint8_t *p = dev_mem_alloc(1 << 20);

	assert_non_null(p);
	assert_int_equal((uintptr_t)p & 4095, 0);
	for (int i = 0; i < 1 << 20; i++)
		assert_int_equal(p[i], 0);
	assert_true(p >= (uint8_t *)span.base);
	assert_true(p + (1 << 20) <= (uint8_t *)span.base + span.bytes);
	dev_mem_free(p);
	assert_null(dev_mem_alloc((size_t)1 << 40));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wrong_spec_is_refused_with_what_to_do),
		cmocka_unit_test(unprivileged_user_is_told_so),
		cmocka_unit_test(what_is_given_stays_and_the_rest_is_completed),
		cmocka_unit_test(buffers_have_room_for_the_frames_of_the_mtu),
		cmocka_unit_test(stale_socket_is_removed_and_a_live_one_is_not),
		cmocka_unit_test(refused_start_can_be_tried_again),
		cmocka_unit_test(two_starts_are_refused),
		cmocka_unit_test(too_many_buffers_are_refused_and_nothing_is_left),
		cmocka_unit_test(thread_is_known_between_init_and_fini),
		cmocka_unit_test(memory_is_zeroed_aligned_and_in_the_span),
	};

	return cmocka_run_group_tests(tests, NULL, stop);
}
