/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Whether addresses and gateways can be had, as far as the configuration alone tells: each for
 * itself, and all together. So that what is wrong is said with the place where it stands, and
 * reloading a file with one impossible line changes nothing.
 */
#include <errno.h>

#include "svc/service.h"
#include "wire/prefix.h"

struct checked {
	const struct service_cfg *cfg;
	const struct svc_err *err;
	struct svc_addr addr[CONF_LIST_MAX];
	unsigned n_addrs, n_ports;
	bool gateway[2]; /* of IPv4, of IPv6 */
};

static const char *addr_wrong(struct checked *c, const struct svc_addr *a)
{
	if (ip_addr_is_loopback(&a->addr) || !ip_addr_is_host(&a->addr, a->prefix_len))
		return "no host can have this address";
	for (unsigned i = 0; i < c->n_addrs; i++)
		if (ip_addr_eq(&c->addr[i].addr, &a->addr))
			return "is there already";
	return NULL;
}

static int addr_check(struct checked *c, const char *text, int line)
{
	struct svc_addr *a = &c->addr[c->n_addrs];
	const char *wrong = svc_addr_wrong(text, a);

	if (wrong == NULL && c->n_ports > 0 && a->port >= c->n_ports)
		return conf_fail(c->cfg, line, "addr", text, c->err, "there is no port %u",
				 a->port);
	if (wrong == NULL)
		wrong = addr_wrong(c, a);
	c->n_addrs++;
	return wrong != NULL ? conf_fail(c->cfg, line, "addr", text, c->err, "%s", wrong) : 0;
}

/* Every port with an IPv6 address has a link-local one. */
static bool on_link(const struct checked *c, const struct ip_addr *gw)
{
	for (unsigned i = 0; i < c->n_addrs; i++) {
		const struct svc_addr *a = &c->addr[i];

		if (ip_addr_on_link(&a->addr, a->prefix_len, gw) ||
		    (ip_addr_is_link_local6(gw) && !ip_addr_is_v4(&a->addr)))
			return true;
	}
	return false;
}

static int gateway_check(struct checked *c, const char *text, int line)
{
	struct ip_addr gw;
	const char *wrong = svc_gateway_wrong(text, &gw);
	bool *family = &c->gateway[wrong == NULL && !ip_addr_is_v4(&gw)];

	if (wrong == NULL && *family)
		wrong = "there is another one of its kind";
	if (wrong == NULL && !on_link(c, &gw))
		wrong = "no address has a prefix that it is in";
	*family = true;
	return wrong != NULL ? conf_fail(c->cfg, line, "gateway", text, c->err, "%s", wrong) : 0;
}

int conf_check(const struct service_cfg *cfg, const struct svc_err *err)
{
	struct checked c = {.cfg = cfg,
			    .err = err,
			    .n_ports = svc_count(cfg->node.vdevs) + svc_count(cfg->node.pci)};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < svc_count(cfg->node.addrs); i++)
		rc = addr_check(&c, cfg->node.addrs[i], cfg->addr_line[i]);
	for (unsigned i = 0; rc == 0 && i < svc_count(cfg->node.gateways); i++)
		rc = gateway_check(&c, cfg->node.gateways[i], cfg->gateway_line[i]);
	return rc;
}
