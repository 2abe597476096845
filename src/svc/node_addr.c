/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Interfaces, addresses and default routes of a node: every stack is told the same.
 */
#include <errno.h>
#include <string.h>

#include "svc/node.h"
#include "wire/eth.h"

/* RFC 4291 §2.1: an IPv6 interface has a link-local address. */
static int add_link_local(struct stack *s, unsigned ifindex, uint16_t vlan)
{
	struct eth_addr mac = stack_if_mac(s, ifindex);
	struct ip_addr ll = eth_link_local6(&mac, vlan);
	int rc = stack_addr_add(s, ifindex, &ll, 64);

	return rc == -EEXIST ? 0 : rc;
}

static int add_addr(struct node *n, struct stack *s, const char *text, const struct embed_cfg *cfg,
		    const struct svc_err *err)
{
	struct svc_addr a;
	int ifindex, rc = svc_addr_parse(text, &a, err->text, err->len);

	if (rc < 0)
		return rc;
	if (a.port >= n->n_dev)
		return svc_fail(err, -ENODEV, "--addr %s: there is no port %u", text, a.port);
	ifindex = stack_if(s, a.port, a.vlan, (uint16_t)cfg->mtu);
	if (ifindex < 0)
		return svc_fail(err, ifindex, "--addr %s: %s", text,
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
		return svc_fail(err, rc, "--addr %s: given twice", text);
	case -EINVAL:
		return svc_fail(err, rc, "--addr %s: no host can have this address", text);
	default:
		return svc_fail(err, rc, "--addr %s: %s", text, strerror(-rc));
	}
}

/* have[v6] says whether the family has a gateway already. */
static int add_gateway(struct stack *s, const char *text, bool have[2], const struct svc_err *err)
{
	struct ip_addr gw;
	int rc = svc_gateway_parse(text, &gw, err->text, err->len);
	bool *family;

	if (rc < 0)
		return rc;
	family = &have[!ip_addr_is_v4(&gw)];
	if (*family)
		return svc_fail(err, -EINVAL, "--gateway %s: there is another one for IPv%c", text,
				ip_addr_is_v4(&gw) ? '4' : '6');
	*family = true;
	rc = stack_gateway_add(s, &gw);
	if (rc == -EHOSTUNREACH)
		return svc_fail(err, rc, "--gateway %s: no --addr has a prefix that it is in",
				text);
	return rc < 0 ? svc_fail(err, rc, "--gateway %s: %s", text, strerror(-rc)) : 0;
}

int node_addrs_add(struct node *n, const struct embed_cfg *cfg, const struct svc_err *err)
{
	int rc = 0;

	if (svc_count(cfg->addrs) == 0)
		return svc_fail(err, -EINVAL,
				"no address: give --addr IP/LEN, for example 10.0.0.2/24");
	for (unsigned i = 0; i < n->n; i++) {
		struct stack *s = n->core[i].stack;
		bool have[2] = {false, false};

		for (unsigned k = 0; rc == 0 && k < svc_count(cfg->addrs); k++)
			rc = add_addr(n, s, cfg->addrs[k], cfg, err);
		for (unsigned k = 0; rc == 0 && k < svc_count(cfg->gateways); k++)
			rc = add_gateway(s, cfg->gateways[k], have, err);
	}
	return rc;
}
