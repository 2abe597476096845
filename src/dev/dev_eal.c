/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Start and end of DPDK's environment (EAL). rte_eal_init() can't be tried twice in a process, so
 * everything that decides between hugepages and ordinary memory is found out before the one call.
 *
 * Hugepages: in-memory with single file segments (virtio_user and readers of our memory need the
 * descriptors; nothing stays in a file system). When none are free and we may, the kernel's limit
 * of surplus pages is raised instead of reserving some: those are made when mapped and are gone
 * when the process is, even if it was killed. The limit is taken back as soon as all are mapped
 * (dev_huge_settle()), since a process that is killed takes nothing back. Not done: 1 GB pages,
 * choosing NUMA nodes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "dev/dev_priv.h"

#define HUGE_DIR   "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_LIMIT "nr_overcommit_hugepages"
#define HUGE_BYTES (2u << 20)
/* For others that start: three seconds. */
#define HUGE_LOCK_TRIES 300
#define HUGE_LOCK_US	10000
#define ARGS_MAX	96
#define SPEC_MAX	512
/* One buffer with its mbuf, pool header and share of rings, rounded up. */
#define MBUF_BYTES 2560
/* What EAL, PMDs and the stack's tables need beside buffers. */
#define BASE_MB 40

/* Per process, control thread only. */
static struct {
	bool up;
	long huge_added; /* surplus pages that we allowed, to be taken back */
	int huge_lock;	 /* while they are, -1 */
	unsigned n_ports;
	uint16_t port[RTE_MAX_ETHPORTS];
	uint32_t rx_room; /* bytes of data in a buffer of the receive pool */
	unsigned n_taps;
	int tap[RTE_MAX_ETHPORTS]; /* devices made while DPDK starts (dev_tap.c) */
} eal = {.huge_lock = -1};

struct args {
	char *v[ARGS_MAX];
	int n;
	bool failed;
};

static __attribute__((format(printf, 2, 3))) void args_add(struct args *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (a->n >= ARGS_MAX - 1 || vasprintf(&a->v[a->n], fmt, ap) < 0)
		a->failed = true;
	else
		a->n++;
	va_end(ap);
}

static long huge_read(const char *what)
{
	char path[128];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), HUGE_DIR "%s", what);
	f = fopen(path, "re");
	if (f == NULL)
		return -1;
	if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return n;
}

/* So many pages more, or fewer, that the kernel may make when they are asked for. */
static bool huge_allow(long more)
{
	long limit = huge_read(HUGE_LIMIT);
	FILE *f = limit >= 0 ? fopen(HUGE_DIR HUGE_LIMIT, "we") : NULL;

	if (f == NULL)
		return false;
	fprintf(f, "%ld\n", limit + more > 0 ? limit + more : 0);
	return fclose(f) == 0;
}

/* Who raises the limit and who takes it back at the same time would count the other's pages: one
 * after the other, as long as that takes. Nobody is waited for for ever; false: not permitted. */
static bool huge_lock(void)
{
	if (eal.huge_lock >= 0)
		return true;
	eal.huge_lock = open(HUGE_DIR HUGE_LIMIT, O_RDWR | O_CLOEXEC);
	for (unsigned i = 0; eal.huge_lock >= 0 && i < HUGE_LOCK_TRIES; i++) {
		if (flock(eal.huge_lock, LOCK_EX | LOCK_NB) == 0)
			break;
		usleep(HUGE_LOCK_US);
	}
	return eal.huge_lock >= 0;
}

void dev_huge_settle(void)
{
	if (eal.huge_added > 0)
		huge_allow(-eal.huge_added);
	eal.huge_added = 0;
	if (eal.huge_lock >= 0)
		close(eal.huge_lock);
	eal.huge_lock = -1;
}

/* Free pages are no promise: a cgroup, another user's reservation or fragmented memory may stand in
 * the way. So all are mapped once. */
static bool huge_can_map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB,
		       -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, len);
	return true;
}

size_t dev_huge_free(void)
{
	long n = huge_read("free_hugepages") - huge_read("resv_hugepages");

	return n > 0 ? (size_t)n * HUGE_BYTES : 0;
}

/* Are there hugepages for mem_mb, if need be after allowing some? */
static bool huge_prepare(uint32_t mem_mb)
{
	/* One more: EAL's own tables. */
	long need = (mem_mb + 1) / 2 + 1, room, left = (long)(dev_huge_free() / HUGE_BYTES);

	if (huge_read(HUGE_LIMIT) < 0)
		return false;
	/* EAL looks for memory where reserved pages are, if any are free, and nowhere else. */
	if (left > 0 && left < need)
		return false;
	if (left < need && huge_lock()) {
		/* There may be more than are allowed: their owners took back what they allowed. */
		room = huge_read(HUGE_LIMIT) - huge_read("surplus_hugepages");
		if (room < need && huge_allow(need - room))
			eal.huge_added = need - room;
	}
	if (huge_can_map((size_t)need * HUGE_BYTES))
		return true;
	dev_huge_settle();
	return false;
}

static uint32_t rx_room(const struct dev_eal_cfg *cfg)
{
	uint32_t room = DEV_RX_ROOM;

	for (const char *const *s = cfg->vdevs; s != NULL && *s != NULL; s++)
		room = RTE_MAX(room, dev_spec_room(*s, cfg->mtu));
	return room;
}

static uint32_t memory_mb(const struct dev_eal_cfg *cfg)
{
	uint64_t mbufs = cfg->n_mbufs ? cfg->n_mbufs : DEV_POOL_RX + 2 * DEV_POOL_TX;

	uint64_t n_rx = cfg->n_rx ? cfg->n_rx : DEV_POOL_RX;
	uint64_t more = n_rx * (eal.rx_room - DEV_RX_ROOM);

	if (cfg->mem_mb != 0)
		return cfg->mem_mb;
	return BASE_MB + (uint32_t)((mbufs * MBUF_BYTES + more + cfg->mem_bytes) >> 20);
}

/* Of the packets that the caller keeps, in MB. */
static uint32_t shared_mb(const struct dev_eal_cfg *cfg)
{
	uint64_t bufs = (uint64_t)cfg->n_shared * (eal.rx_room + RTE_PKTMBUF_HEADROOM);

	return (uint32_t)((bufs + cfg->shared_bytes) >> 20) + 2;
}

/* Better EAL's memory alone than nothing. */
static bool huge_all(const struct dev_eal_cfg *cfg)
{
	return (cfg->n_shared > 0 && huge_prepare(memory_mb(cfg) + shared_mb(cfg))) ||
	       huge_prepare(memory_mb(cfg));
}

static void args_memory(struct args *a, uint32_t mb, bool huge)
{
	if (huge) {
		args_add(a, "--in-memory");
		args_add(a, "--single-file-segments");
	} else {
		args_add(a, "--no-huge");
		args_add(a, "--no-shconf");
	}
	args_add(a, "-m");
	args_add(a, "%u", mb);
}

/* DPDK would take the first of two devices of one name and forget the other. */
static bool name_again(const char *const *first, const char *const *s)
{
	size_t n = strcspn(*s, ",");

	for (; first != s; first++)
		if (strcspn(*first, ",") == n && memcmp(*first, *s, n) == 0)
			return true;
	return false;
}

/* Held until its driver has the device. */
static void tap_keep(char *spec, size_t len)
{
	int fd = eal.n_taps < RTE_MAX_ETHPORTS ? dev_tap_make(spec, len) : -1;

	if (fd >= 0)
		eal.tap[eal.n_taps++] = fd;
}

static void taps_release(void)
{
	while (eal.n_taps > 0)
		close(eal.tap[--eal.n_taps]);
}

static int args_ports(struct args *a, const struct dev_eal_cfg *cfg, bool huge, char *err,
		      size_t err_len)
{
	const struct dev_spec_env env = {
		.huge = huge,
		.n_queues = cfg->n_queues ? cfg->n_queues : 1,
		.mtu = cfg->mtu,
	};
	char spec[SPEC_MAX];

	for (const char *const *s = cfg->vdevs; s != NULL && *s != NULL; s++) {
		int rc;

		if (name_again(cfg->vdevs, s)) {
			snprintf(err, err_len,
				 "--vdev %s: another one has this name; number them: net_tap0, "
				 "net_tap1",
				 *s);
			return -EEXIST;
		}
		rc = dev_spec_complete(*s, &env, spec, sizeof(spec), err, err_len);
		if (rc < 0)
			return rc;
		tap_keep(spec, sizeof(spec));
		args_add(a, "--vdev=%s", spec);
	}
	if (cfg->pci == NULL || cfg->pci[0] == NULL)
		args_add(a, "--no-pci");
	for (const char *const *s = cfg->pci; s != NULL && *s != NULL; s++)
		args_add(a, "--allow=%s", *s);
	return 0;
}

static void args_log_level(struct args *a, const char *level)
{
	if (level != NULL)
		args_add(a, "--log-level=%s%s", strchr(level, ':') ? "" : "*:", level);
}

/* Where several patterns match, DPDK takes the last for what is linked and the first for what it
 * loads later. tap calls it an error that there is no second process; virtio complains of a peer
 * that left each time it is asked, which dev_link.c says once. */
static void args_log(struct args *a)
{
	const char *level = getenv("ZS_DPDK_LOG");

	args_log_level(a, level);
	args_log_level(a, "pmd.net.tap:critical");
	args_log_level(a, "pmd.net.virtio.*:critical");
	args_log_level(a, "error");
	args_log_level(a, "lib.eal:critical"); /* what it refuses is told in one line of our own */
	args_log_level(a, level);
}

static void args_common(struct args *a, const struct dev_eal_cfg *cfg)
{
	int cpu = sched_getcpu();

	args_add(a, "zstack");
	if (!cfg->telemetry)
		args_add(a, "--no-telemetry");
	args_log(a);
	args_add(a, "-l");
	if (cfg->cores != NULL)
		args_add(a, "%s", cfg->cores);
	else
		args_add(a, "%d", cpu < 0 ? 0 : cpu);
	if (cfg->prefix != NULL)
		args_add(a, "--file-prefix=%s", cfg->prefix);
}

static void port_note(uint16_t id)
{
	for (unsigned i = 0; i < eal.n_ports; i++)
		if (eal.port[i] == id)
			return;
	eal.port[eal.n_ports++] = id;
}

static bool port_note_name(const char *spec)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(spec, ","), spec);
	if (rte_eth_dev_get_port_by_name(name, &id) != 0)
		return false;
	port_note(id);
	return true;
}

/* Buses probe in an order of their own; ours is that of the configuration. A port that DPDK didn't
 * make is no error of its own to rte_eal_init(). Returns the SPEC of one, or NULL. */
static const char *ports_number(const struct dev_eal_cfg *cfg)
{
	uint16_t id;

	eal.n_ports = 0;
	for (const char *const *s = cfg->vdevs; s != NULL && *s != NULL; s++)
		if (!port_note_name(*s))
			return *s;
	for (const char *const *s = cfg->pci; s != NULL && *s != NULL; s++)
		if (!port_note_name(*s))
			return *s;
	RTE_ETH_FOREACH_DEV (id)
		port_note(id);
	return NULL;
}

static int init_fail(char *err, size_t err_len, int rc, const char *what)
{
	snprintf(err, err_len, "cannot start DPDK: %s (%s); ZS_DPDK_LOG=info says more", what,
		 strerror(-rc));
	dev_huge_settle();
	return rc;
}

static int eal_start(struct args *a, bool pin)
{
	char *argv[ARGS_MAX]; /* EAL permutes it */
	struct sigaction held[NSIG];
	cpu_set_t before;
	int rc;

	memcpy(argv, a->v, sizeof(argv));
	sched_getaffinity(0, sizeof(before), &before);
	dev_signals_hold(held);
	rc = rte_eal_init(a->n, argv) < 0 ? -(rte_errno ? rte_errno : EIO) : 0;
	dev_signals_release(held);
	/* EAL pins its caller; without a core list nobody asked for that. */
	if (!pin)
		sched_setaffinity(0, sizeof(before), &before);
	return rc;
}

static const char *why_refused(int rc, const struct dev_eal_cfg *cfg)
{
	if (rc == -ENODEV)
		return "it has no driver for one of the ports";
	if (rc == -ENOMEM)
		return "not enough memory, ask for less (--mem)";
	return cfg->cores != NULL ? "is the list of cores right, and is there memory?"
				  : "EAL refused";
}

int dev_eal_init(const struct dev_eal_cfg *cfg, char *err, size_t err_len)
{
	struct args a = {0};
	const char *missing = NULL;
	bool huge;
	int rc;

	if (eal.up)
		return init_fail(err, err_len, -EALREADY, "it runs already in this process");
	eal.rx_room = rx_room(cfg);
	/* A peer that leaves (vhost, memif) would kill us. */
	signal(SIGPIPE, SIG_IGN);
	huge = !cfg->no_huge && huge_all(cfg);
	args_common(&a, cfg);
	args_memory(&a, memory_mb(cfg), huge);
	rc = args_ports(&a, cfg, huge, err, err_len);
	if (rc < 0) {
		dev_huge_settle();
	} else if (a.failed) {
		rc = init_fail(err, err_len, -ENOMEM, "too many ports");
	} else {
		rc = eal_start(&a, cfg->cores != NULL);
		if (rc < 0)
			init_fail(err, err_len, rc, why_refused(rc, cfg));
	}
	taps_release();
	/* EAL keeps pointers to some arguments only until it returns. */
	for (int i = 0; i < a.n; i++)
		free(a.v[i]);
	if (rc < 0)
		return rc;
	eal.up = true;
	/* What else the caller wants of them, he says. */
	if (cfg->n_shared == 0)
		dev_huge_settle();
	missing = ports_number(cfg);
	if (missing == NULL)
		return 0;
	snprintf(err, err_len, "DPDK makes no port of '%s'; ZS_DPDK_LOG=info says why", missing);
	dev_eal_fini();
	return -ENODEV;
}

void dev_eal_fini(void)
{
	if (!eal.up)
		return;
	dev_intr_thread_park();
	rte_eal_cleanup();
	dev_huge_settle();
	eal.up = false;
	eal.n_ports = 0;
}

uint32_t dev_rx_room(void)
{
	return RTE_MAX(eal.rx_room, (uint32_t)DEV_RX_ROOM);
}

unsigned dev_count(void)
{
	return eal.n_ports;
}

int dev_port_id(unsigned index)
{
	return index < eal.n_ports ? (int)eal.port[index] : -ENODEV;
}
