/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the stacks stand on: DPDK's environment, buffers, ports, addresses.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "svc/embed_priv.h"
#include "svc/svc_cfg.h"
#include "wire/eth.h"

static unsigned count(const char *const *list)
{
	unsigned n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* Buffers of the receive pool that ports keep in their rings. */
uint32_t embed_port_bufs(const struct embed_cfg *cfg)
{
	uint32_t n = 0;

	for (unsigned i = 0; i < count(cfg->vdevs); i++)
		n += strncmp(cfg->vdevs[i], "net_af_xdp", 10) == 0 ? DEV_POOL_XDP : 0;
	return n;
}

static int open_eal(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	struct dev_eal_cfg ec = {
		.vdevs = cfg->vdevs,
		.pci = cfg->pci,
		.mem_mb = cfg->mem_mb,
		.no_huge = cfg->no_huge,
		.n_mbufs = e->n * (DEV_POOL_RX + embed_port_bufs(cfg) + 2 * DEV_POOL_TX),
		.mem_bytes = e->n * cfg->geometry.arena_bytes,
		.n_queues = (uint16_t)e->n,
	};
	int rc;

	if (count(cfg->vdevs) + count(cfg->pci) == 0)
		return embed_fail(err, -EINVAL,
				  "no port: give --vdev SPEC (for example "
				  "net_af_packet0,iface=eth0) or --port PCI");
	rc = dev_eal_init(&ec, err->text, err->len);
	e->eal_up = rc == 0;
	return rc;
}

static int open_dev(struct embed *e, unsigned index, const struct embed_cfg *cfg,
		    const struct embed_err *err)
{
	struct rte_mempool *rx[EMBED_CORES_MAX];
	struct dev_cfg dc = {.n_queues = (uint16_t)e->n, .mtu = (uint16_t)cfg->mtu, .rx_pools = rx};
	int rc;

	if (cfg->mtu > UINT16_MAX)
		return embed_fail(err, -EINVAL, "--mtu %u: at most 65535", cfg->mtu);
	for (unsigned i = 0; i < e->n; i++)
		rx[i] = e->core[i].pools.rx;
	rc = dev_open(index, &dc, &e->dev[index], err->text, err->len);
	if (rc < 0)
		return rc;
	e->n_dev = index + 1;
	return 0;
}

int embed_ports_open(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	int rc = open_eal(e, cfg, err);

	/* Memory first: ports that map it for sending do so when they are opened. */
	for (unsigned i = 0; i < e->n && rc == 0; i++)
		rc = embed_chan_memory(&e->core[i], cfg, err);
	for (unsigned i = 0; i < e->n && rc == 0; i++)
		rc = dev_pools_create(i, DEV_POOL_RX + embed_port_bufs(cfg), 0, 0,
				      &e->core[i].pools, err->text, err->len);
	if (rc == 0 && dev_count() > STACK_PORTS_MAX)
		rc = embed_fail(err, -EINVAL, "%u ports: at most %u", dev_count(), STACK_PORTS_MAX);
	for (unsigned i = 0; rc == 0 && i < dev_count(); i++)
		rc = open_dev(e, i, cfg, err);
	return rc;
}

void embed_ports_close(struct embed *e)
{
	while (e->n_dev > 0)
		dev_close(e->dev[--e->n_dev]);
}

void embed_pools_close(struct embed *e)
{
	for (unsigned i = 0; i < e->n; i++)
		if (e->core[i].pools.rx != NULL)
			dev_pools_destroy(&e->core[i].pools);
}

/* RFC 4291 §2.1: an IPv6 interface has a link-local address. */
static int add_link_local(struct stack *s, unsigned ifindex, uint16_t vlan)
{
	struct eth_addr mac = stack_if_mac(s, ifindex);
	struct ip_addr ll = eth_link_local6(&mac, vlan);
	int rc = stack_addr_add(s, ifindex, &ll, 64);

	return rc == -EEXIST ? 0 : rc;
}

static int add_addr(struct embed *e, struct stack *s, const char *text, const struct embed_cfg *cfg,
		    const struct embed_err *err)
{
	struct svc_addr a;
	int ifindex, rc = svc_addr_parse(text, &a, err->text, err->len);

	if (rc < 0)
		return rc;
	if (a.port >= e->n_dev)
		return embed_fail(err, -ENODEV, "--addr %s: there is no port %u", text, a.port);
	ifindex = stack_if(s, a.port, a.vlan, (uint16_t)cfg->mtu);
	if (ifindex < 0)
		return embed_fail(err, ifindex, "--addr %s: %s", text,
				  ifindex == -ENOSPC ? "too many interfaces" : strerror(-ifindex));
	rc = ip_addr_is_loopback(&a.addr)
		     ? -EINVAL
		     : stack_addr_add(s, (unsigned)ifindex, &a.addr, a.prefix_len);
	if (rc == 0 && !ip_addr_is_v4(&a.addr))
		rc = add_link_local(s, (unsigned)ifindex, a.vlan);
	switch (rc) {
	case 0:
		return 0;
	case -EEXIST:
		return embed_fail(err, rc, "--addr %s: given twice", text);
	case -EINVAL:
		return embed_fail(err, rc, "--addr %s: no host can have this address", text);
	default:
		return embed_fail(err, rc, "--addr %s: %s", text, strerror(-rc));
	}
}

/* have[v6] says whether the family has a gateway already. */
static int add_gateway(struct stack *s, const char *text, bool have[2], const struct embed_err *err)
{
	struct ip_addr gw;
	int rc = svc_gateway_parse(text, &gw, err->text, err->len);
	bool *family;

	if (rc < 0)
		return rc;
	family = &have[!ip_addr_is_v4(&gw)];
	if (*family)
		return embed_fail(err, -EINVAL, "--gateway %s: there is another one for IPv%c",
				  text, ip_addr_is_v4(&gw) ? '4' : '6');
	*family = true;
	rc = stack_gateway_add(s, &gw);
	if (rc == -EHOSTUNREACH)
		return embed_fail(err, rc, "--gateway %s: no --addr has a prefix that it is in",
				  text);
	return rc < 0 ? embed_fail(err, rc, "--gateway %s: %s", text, strerror(-rc)) : 0;
}

int embed_addrs_add(struct embed *e, const struct embed_cfg *cfg, const struct embed_err *err)
{
	int rc = 0;

	if (count(cfg->addrs) == 0)
		return embed_fail(err, -EINVAL,
				  "no address: give --addr IP/LEN, for example 10.0.0.2/24");
	for (unsigned i = 0; i < e->n; i++) {
		struct stack *s = e->core[i].stack;
		bool have[2] = {false, false};

		for (unsigned k = 0; rc == 0 && k < count(cfg->addrs); k++)
			rc = add_addr(e, s, cfg->addrs[k], cfg, err);
		for (unsigned k = 0; rc == 0 && k < count(cfg->gateways); k++)
			rc = add_gateway(s, cfg->gateways[k], have, err);
	}
	return rc;
}
