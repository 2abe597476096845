/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See node.h. A failure on the way closes what was opened, so nothing is left behind. DPDK's
 * environment starts once in a process: after node_close() another node_begin() fails.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "svc/node.h"

/* How long starting sleeps at a time while addresses are probed. */
#define DAD_POLL_NS 10000000
/* The same while the last acknowledgements are awaited. */
#define SETTLE_NS 10000000
/* And for the last resets to leave. */
#define RESET_NS 200000000

static int choose_cores(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	unsigned cpu[SVC_CPUS_MAX];
	int rc;

	n->n = 1;
	n->threaded = cfg->threaded;
	n->spin_ns = (int64_t)cfg->spin_us * 1000;
	n->linger_ns = (int64_t)cfg->linger_ms * 1000000;
	if (cfg->cores != NULL) {
		rc = svc_cpus_parse(cfg->cores, cpu, &n->n, err->text, err->len);
		if (rc < 0)
			return rc;
	}
	if (!cfg->threaded && n->n > 1)
		return svc_fail(err, -EINVAL,
				"--cores %s: a program that polls the stack itself has one core; "
				"use mode thread for more",
				cfg->cores);
	for (unsigned i = 0; i < n->n; i++) {
		struct node_core *c = &n->core[i];

		c->node = n;
		pthread_mutex_init(&c->lock, NULL);
		c->has_cpu = cfg->cores != NULL;
		if (c->has_cpu)
			c->cpu = cpu[i];
	}
	return 0;
}

int node_cfg_check(const struct embed_cfg *cfg, const struct svc_err *err)
{
	if (svc_count(cfg->vdevs) + svc_count(cfg->pci) == 0)
		return svc_fail(err, -EINVAL,
				"no port: give --vdev SPEC (for example "
				"net_af_packet0,iface=eth0) or --port PCI");
	if (svc_count(cfg->addrs) == 0)
		return svc_fail(err, -EINVAL,
				"no address: give --addr IP/LEN, for example 10.0.0.2/24");
	return 0;
}

int node_begin(struct node *n, const struct embed_cfg *cfg, size_t mem_bytes,
	       const struct svc_err *err)
{
	int rc = node_cfg_check(cfg, err);

	if (rc == 0)
		rc = choose_cores(n, cfg, err);
	if (rc == 0 && cfg->capture != NULL) {
		rc = capture_open(cfg->capture, 0, &n->capture);
		if (rc < 0)
			svc_fail(err, rc, "--capture %s: %s", cfg->capture, strerror(-rc));
	}
	return rc == 0 ? node_eal_open(n, cfg, mem_bytes, err) : rc;
}

static int open_stack(struct node *n, unsigned i, const struct embed_cfg *cfg, struct stack_cfg *sc,
		      const struct svc_err *err)
{
	struct node_core *c = &n->core[i];

	sc->core = i;
	sc->group = n->group;
	sc->pools = c->pools;
	sc->port_bufs = node_port_bufs(cfg);
	sc->n_ports = n->n_dev;
	for (unsigned p = 0; p < n->n_dev; p++)
		sc->port[p] = (struct stack_port){n->dev[p], (uint16_t)i};
	sc->capture = n->capture;
	sc->link_bell = n->link_bell;
	sc->congestion = cfg->congestion;
	sc->reserve = n->reserve;
	sc->ports_bell = n->ports_bell;
	if (n->port_max != 0) {
		sc->port_min = n->port_min;
		sc->port_max = n->port_max;
	}
	if (cfg->max_sockets != 0)
		sc->max_socks = sc->max_conns = cfg->max_sockets;
	if (getrandom(&sc->seed, sizeof(sc->seed), 0) != sizeof(sc->seed))
		return svc_fail(err, -EIO, "the system gives no random numbers");
	return stack_create(sc, &c->stack, err->text, err->len);
}

static int open_stacks(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	struct stack_cfg sc;
	int rc = n->n > 1 ? stack_group_create(n->n, &n->group) : 0;

	if (rc < 0)
		return svc_fail(err, rc, "no memory for the rings between %u cores", n->n);
	stack_cfg_defaults(&sc);
	if (getrandom(sc.secret, sizeof(sc.secret), 0) != sizeof(sc.secret))
		return svc_fail(err, -EIO, "the system gives no random numbers");
	for (unsigned i = 0; i < n->n; i++) {
		rc = open_stack(n, i, cfg, &sc, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int node_open(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	int rc = node_ports_open(n, cfg, err);

	if (rc == 0)
		rc = open_stacks(n, cfg, err);
	return rc == 0 ? node_addrs_add(n, cfg, err) : rc;
}

/* An address can be used when it is known that nobody else has it (RFC 4862 §5.4): only then does
 * starting return, so that a program can connect at once. */
static int await_addrs(struct node *n, const struct svc_err *err)
{
	struct stack *s = n->core[0].stack;
	const struct ip_addr *taken;
	char text[ADDR_TEXT_MAX];

	dev_thread_init();
	while (stack_addr_tentative(s))
		if (stack_poll(s) == 0 && stack_wait(s, DAD_POLL_NS, -1) == -EINTR)
			return svc_fail(err, -EINTR, "interrupted");
	taken = stack_addr_duplicate(s);
	if (taken == NULL)
		return 0;
	return svc_fail(err, -EADDRINUSE,
			"--addr %s: another host on the link has this address; choose another",
			ip_addr_text(taken, text));
}

int node_start(struct node *n, const struct svc_err *err)
{
	int rc;

	dev_huge_settle();
	rc = await_addrs(n, err);
	if (rc == 0 && n->threaded)
		rc = node_threads_start(n, err);
	for (unsigned i = 0; i < n->n_dev && rc == 0; i++)
		dev_describe(n->dev[i], stderr);
	return rc;
}

/* True: everything was acknowledged. */
static bool settled(struct node_core *c)
{
	int64_t end = node_now_ns() + c->node->linger_ns;

	do {
		if (stack_poll(c->stack) != 0)
			continue;
		if (stack_idle(c->stack))
			return true;
		(void)!stack_wait(c->stack, SETTLE_NS, -1);
	} while (node_now_ns() < end);
	return false;
}

/* RFC 9293 §3.10.5: who waits for data that will not come any more is told. */
static void settle(struct node_core *c)
{
	int64_t end;
	bool more;

	if (settled(c))
		return;
	end = node_now_ns() + RESET_NS;
	do {
		more = stack_reset(c->stack);
		stack_poll(c->stack);
	} while ((more || !stack_idle(c->stack)) && node_now_ns() < end);
}

void node_settle(struct node *n)
{
	for (unsigned i = 0; i < n->n; i++)
		if (n->core[i].stack != NULL)
			settle(&n->core[i]);
}

void node_halt(struct node *n)
{
	for (unsigned i = 0; i < n->n; i++)
		if (n->core[i].stack != NULL)
			stack_halt(n->core[i].stack);
	node_ports_close(n);
	for (unsigned i = 0; i < n->n; i++) {
		stack_destroy(n->core[i].stack);
		n->core[i].stack = NULL;
	}
	stack_group_destroy(n->group);
	n->group = NULL;
}

void node_close(struct node *n)
{
	node_stop(n);
	node_halt(n);
	node_pools_close(n);
	capture_close(n->capture);
	if (n->eal_up)
		dev_eal_fini();
}
