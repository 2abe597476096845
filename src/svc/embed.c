/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The embedded mode: the service's stack in the program's own process (docs/design/003). This is
 * what libzstack loads; nothing but the channels crosses between the two.
 *
 * Opening goes from the bottom up, closing the other way round. A failure on the way closes what
 * was opened, so nothing is left behind. DPDK's environment starts once in a process: after close a
 * second open fails.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "svc/embed_priv.h"
#include "svc/svc_cfg.h"

/* How long open sleeps at a time while addresses are probed. */
#define DAD_POLL_NS 10000000

int embed_fail(const struct embed_err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, err->len, fmt, ap);
	va_end(ap);
	return rc;
}

static int choose_cores(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	unsigned cpu[SVC_CPUS_MAX];
	int rc;

	e->n = 1;
	e->threaded = cfg->threaded;
	e->spin_ns = (int64_t)cfg->spin_us * 1000;
	e->linger_ns = (int64_t)cfg->linger_ms * 1000000;
	if (cfg->cores == NULL)
		return 0;
	rc = svc_cpus_parse(cfg->cores, cpu, &e->n, err->text, err->len);
	if (rc < 0)
		return rc;
	if (!cfg->threaded && e->n > 1)
		return embed_fail(err, -EINVAL,
				  "--cores %s: a program that polls the stack itself has one core; "
				  "use mode thread for more",
				  cfg->cores);
	for (unsigned i = 0; i < e->n; i++) {
		e->core[i].cpu = cpu[i];
		e->core[i].has_cpu = true;
	}
	return 0;
}

static int open_stack(struct embed *e, unsigned i, const struct embed_cfg *cfg,
		      struct stack_cfg *sc, const struct embed_err *err)
{
	struct embed_core *c = &e->core[i];

	sc->core = i;
	sc->group = e->group;
	sc->pools = c->pools;
	sc->port_bufs = embed_port_bufs(cfg);
	sc->n_ports = e->n_dev;
	for (unsigned p = 0; p < e->n_dev; p++)
		sc->port[p] = (struct stack_port){e->dev[p], (uint16_t)i};
	sc->capture = e->capture;
	sc->congestion = cfg->congestion;
	if (cfg->max_sockets != 0)
		sc->max_socks = sc->max_conns = cfg->max_sockets;
	if (getrandom(&sc->seed, sizeof(sc->seed), 0) != sizeof(sc->seed))
		return embed_fail(err, -EIO, "the system gives no random numbers");
	return stack_create(sc, &c->stack, err->text, err->len);
}

static int open_stacks(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	struct stack_cfg sc;
	int rc = e->n > 1 ? stack_group_create(e->n, &e->group) : 0;

	if (rc < 0)
		return embed_fail(err, rc, "no memory for the rings between %u cores", e->n);
	stack_cfg_defaults(&sc);
	if (getrandom(sc.secret, sizeof(sc.secret), 0) != sizeof(sc.secret))
		return embed_fail(err, -EIO, "the system gives no random numbers");
	for (unsigned i = 0; i < e->n; i++) {
		rc = open_stack(e, i, cfg, &sc, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* An address can be used when it is known that nobody else has it (RFC 4862 §5.4): only then does
 * open return, so that a program can connect at once. */
static int await_addrs(struct embed *e, const struct embed_err *err)
{
	struct stack *s = e->core[0].stack;
	const struct ip_addr *taken;
	char text[ADDR_TEXT_MAX];

	dev_thread_init();
	while (stack_addr_tentative(s))
		if (stack_poll(s) == 0 && stack_wait(s, DAD_POLL_NS, -1) == -EINTR)
			return embed_fail(err, -EINTR, "interrupted");
	taken = stack_addr_duplicate(s);
	if (taken == NULL)
		return 0;
	return embed_fail(err, -EADDRINUSE,
			  "--addr %s: another host on the link has this address; choose another",
			  ip_addr_text(taken, text));
}

static int open_all(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	int rc = choose_cores(e, cfg, err);

	if (rc == 0 && cfg->capture != NULL) {
		rc = capture_open(cfg->capture, 0, &e->capture);
		if (rc < 0)
			embed_fail(err, rc, "--capture %s: %s", cfg->capture, strerror(-rc));
	}
	if (rc == 0)
		rc = embed_ports_open(e, cfg, err);
	if (rc == 0)
		rc = open_stacks(e, cfg, err);
	if (rc == 0)
		rc = embed_addrs_add(e, cfg, err);
	for (unsigned i = 0; i < e->n && rc == 0; i++)
		rc = embed_chan_open(e, &e->core[i], cfg, err);
	if (rc == 0)
		rc = await_addrs(e, err);
	if (rc == 0 && e->threaded)
		rc = embed_threads_start(e, err);
	for (unsigned i = 0; i < e->n_dev && rc == 0; i++)
		dev_describe(e->dev[i], stderr);
	return rc;
}

static void embed_close(struct embed *e)
{
	embed_threads_stop(e);
	for (unsigned i = 0; i < e->n; i++)
		embed_leave(&e->core[i]);
	for (unsigned i = 0; i < e->n; i++)
		if (e->core[i].stack != NULL)
			stack_halt(e->core[i].stack);
	embed_ports_close(e);
	for (unsigned i = 0; i < e->n; i++) {
		stack_destroy(e->core[i].stack);
		embed_chan_close(&e->core[i]);
	}
	stack_group_destroy(e->group);
	embed_pools_close(e);
	capture_close(e->capture);
	if (e->eal_up)
		dev_eal_fini();
	free(e);
}

static int embed_open(const struct embed_cfg *cfg, struct embed **out, struct chan_map *maps,
		      unsigned *n, char *err, size_t err_len)
{
	struct embed_err where = {err, err_len};
	struct embed *e = calloc(1, sizeof(*e));
	int rc;

	if (e == NULL)
		return embed_fail(&where, -ENOMEM, "no memory");
	rc = open_all(e, cfg, &where);
	if (rc < 0) {
		embed_close(e);
		return rc;
	}
	*n = e->n;
	for (unsigned i = 0; i < e->n; i++)
		maps[i] = e->core[i].map;
	*out = e;
	return 0;
}

/* The one symbol of this library: EMBED_SYMBOL. */
extern const struct embed_ops zstack_embed_ops;
const struct embed_ops zstack_embed_ops = {
	.abi = EMBED_ABI,
	.open = embed_open,
	.poll = embed_poll,
	.wait = embed_wait,
	.close = embed_close,
};
