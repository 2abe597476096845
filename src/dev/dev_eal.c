/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Start and end of DPDK's environment (EAL). rte_eal_init() can't be tried twice in a process, so
 * everything that decides between hugepages and ordinary memory is found out before the one call.
 *
 * Hugepages: in-memory with single file segments (virtio_user and readers of our memory need the
 * descriptors; nothing stays in a file system). Not done: 1 GB pages, choosing NUMA nodes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_errno.h>

#include "dev/dev_priv.h"

#define HUGE_DIR   "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define HUGE_BYTES (2u << 20)
#define ARGS_MAX   96
/* One buffer with its mbuf, pool header and share of rings, rounded up. */
#define MBUF_BYTES 2560
/* What EAL, PMDs and the stack's tables need beside buffers. */
#define BASE_MB 64

/* Per process, control thread only. */
static struct {
	bool up;
	long huge_added; /* pages we reserved, to give back */
	unsigned n_ports;
	uint16_t port[RTE_MAX_ETHPORTS];
} eal;

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

static void huge_write(long n)
{
	FILE *f = fopen(HUGE_DIR "nr_hugepages", "we");

	if (f == NULL)
		return;
	fprintf(f, "%ld\n", n);
	fclose(f);
}

static void huge_release(void)
{
	long total = huge_read("nr_hugepages");

	if (eal.huge_added > 0 && total >= 0)
		huge_write(total > eal.huge_added ? total - eal.huge_added : 0);
	eal.huge_added = 0;
}

/* Free pages are no promise: a cgroup or another user's reservation may stand in the way. */
static bool huge_can_map(void)
{
	void *p = mmap(NULL, HUGE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return false;
	munmap(p, HUGE_BYTES);
	return true;
}

/* Are there hugepages for mem_mb, if need be after reserving some? */
static bool huge_prepare(uint32_t mem_mb)
{
	long need = (mem_mb + 1) / 2, free_pages = huge_read("free_hugepages"), total;

	if (free_pages < 0)
		return false;
	if (free_pages < need && geteuid() == 0) {
		total = huge_read("nr_hugepages");
		huge_write(total + need - free_pages);
		eal.huge_added = huge_read("nr_hugepages") - total;
		free_pages = huge_read("free_hugepages");
	}
	if (free_pages >= need && huge_can_map())
		return true;
	huge_release();
	return false;
}

static void args_memory(struct args *a, const struct dev_eal_cfg *cfg)
{
	uint32_t mb = cfg->mem_mb;

	if (mb == 0)
		mb = BASE_MB + (uint32_t)(((uint64_t)cfg->n_mbufs * MBUF_BYTES) >> 20);
	if (!cfg->no_huge && huge_prepare(mb)) {
		args_add(a, "--in-memory");
		args_add(a, "--single-file-segments");
	} else {
		args_add(a, "--no-huge");
		args_add(a, "--no-shconf");
	}
	args_add(a, "-m");
	args_add(a, "%u", mb);
}

static void args_ports(struct args *a, const struct dev_eal_cfg *cfg)
{
	for (const char *const *s = cfg->vdevs; s != NULL && *s != NULL; s++) {
		args_add(a, "--vdev=%s", *s);
		/* A vhost peer that leaves would kill us. */
		if (strncmp(*s, "net_virtio_user", 15) == 0)
			signal(SIGPIPE, SIG_IGN);
	}
	if (cfg->pci == NULL || cfg->pci[0] == NULL)
		args_add(a, "--no-pci");
	for (const char *const *s = cfg->pci; s != NULL && *s != NULL; s++)
		args_add(a, "--allow=%s", *s);
}

static void port_note(uint16_t id)
{
	for (unsigned i = 0; i < eal.n_ports; i++)
		if (eal.port[i] == id)
			return;
	eal.port[eal.n_ports++] = id;
}

static void port_note_name(const char *spec)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(spec, ","), spec);
	if (rte_eth_dev_get_port_by_name(name, &id) == 0)
		port_note(id);
}

/* Buses probe in an order of their own; ours is that of the configuration. */
static void ports_number(const struct dev_eal_cfg *cfg)
{
	uint16_t id;

	eal.n_ports = 0;
	for (const char *const *s = cfg->vdevs; s != NULL && *s != NULL; s++)
		port_note_name(*s);
	for (const char *const *s = cfg->pci; s != NULL && *s != NULL; s++)
		port_note_name(*s);
	RTE_ETH_FOREACH_DEV(id)
	port_note(id);
}

static int init_fail(char *err, size_t err_len, int rc, const char *what)
{
	snprintf(err, err_len, "cannot start DPDK: %s (%s)", what, strerror(-rc));
	huge_release();
	return rc;
}

int dev_eal_init(const struct dev_eal_cfg *cfg, char *err, size_t err_len)
{
	struct args a = {0};
	char *argv[ARGS_MAX]; /* EAL permutes it */
	cpu_set_t before;
	int rc, cpu = sched_getcpu();

	if (eal.up)
		return init_fail(err, err_len, -EALREADY, "it runs already in this process");
	args_add(&a, "zstack");
	args_add(&a, "--no-telemetry");
	args_add(&a, "--log-level=*:warning");
	args_add(&a, "-l");
	if (cfg->cores != NULL)
		args_add(&a, "%s", cfg->cores);
	else
		args_add(&a, "%d", cpu < 0 ? 0 : cpu);
	if (cfg->prefix != NULL)
		args_add(&a, "--file-prefix=%s", cfg->prefix);
	args_memory(&a, cfg);
	args_ports(&a, cfg);
	rc = -ENOMEM;
	if (!a.failed) {
		memcpy(argv, a.v, sizeof(argv));
		sched_getaffinity(0, sizeof(before), &before);
		rc = rte_eal_init(a.n, argv) < 0 ? -(rte_errno ? rte_errno : EIO) : 0;
		/* EAL pins its caller; without a core list nobody asked for that. */
		if (cfg->cores == NULL)
			sched_setaffinity(0, sizeof(before), &before);
	}
	/* EAL keeps pointers to some arguments only until it returns. */
	for (int i = 0; i < a.n; i++)
		free(a.v[i]);
	if (rc < 0)
		return init_fail(err, err_len, rc, a.failed ? "too many arguments" : "EAL refused");
	eal.up = true;
	ports_number(cfg);
	return 0;
}

void dev_eal_fini(void)
{
	if (!eal.up)
		return;
	rte_eal_cleanup();
	huge_release();
	eal.up = false;
	eal.n_ports = 0;
}

unsigned dev_count(void)
{
	return eal.n_ports;
}

int dev_port_id(unsigned index)
{
	return index < eal.n_ports ? (int)eal.port[index] : -ENODEV;
}
