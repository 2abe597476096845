/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Neighbour discovery messages: bytes to struct nd_msg (RFC 4861 §4, §6.1, §7.1).
 */
#include <errno.h>

#include "wire/nd.h"

static int option(const uint8_t *o, size_t len, struct nd_msg *out)
{
	const struct wire_nd_lla *lla = (const void *)o;
	const struct wire_nd_prefix *pi = (const void *)o;
	struct nd_prefix *p;

	switch (o[0]) {
	case ND_OPT_SLLA:
	case ND_OPT_TLLA:
		if (len != sizeof(*lla) || !eth_addr_is_station(&lla->mac))
			return -EINVAL;
		*(o[0] == ND_OPT_SLLA ? &out->slla : &out->tlla) = lla->mac;
		*(o[0] == ND_OPT_SLLA ? &out->has_slla : &out->has_tlla) = true;
		return 0;
	case ND_OPT_MTU:
		if (len != 8)
			return -EINVAL;
		memcpy(&out->mtu, o + 4, 4);
		out->mtu = be32_host((be32_t){out->mtu});
		return 0;
	case ND_OPT_PREFIX:
		if (len != sizeof(*pi) || pi->prefix_len > 128)
			return -EINVAL;
		if (out->n_prefix == ND_PREFIX_MAX)
			return 0;
		p = &out->prefix[out->n_prefix++];
		memcpy(p->prefix.b, pi->prefix, 16);
		p->len = pi->prefix_len;
		p->flags = pi->flags;
		p->valid_s = be32_host(pi->valid_s);
		p->preferred_s = be32_host(pi->preferred_s);
		return 0;
	default:
		return 0;
	}
}

/* Each option has a length in units of 8 bytes; 0 would loop for ever. */
static int options(const uint8_t *at, size_t left, struct nd_msg *out)
{
	while (left > 0) {
		size_t len;
		int rc;

		if (left < 8)
			return -EINVAL;
		len = at[1] * 8u;
		if (len == 0 || len > left)
			return -EINVAL;
		rc = option(at, len, out);
		if (rc < 0)
			return rc;
		at += len;
		left -= len;
	}
	return 0;
}

int nd_parse(const uint8_t *icmp, size_t len, struct nd_msg *out)
{
	const struct wire_nd *n = (const void *)icmp;
	const struct wire_ra *ra = (const void *)icmp;
	size_t fixed = 8;

	*out = (struct nd_msg){0};
	if (len < fixed || icmp[1] != 0)
		return -EINVAL;
	out->type = icmp[0];
	switch (out->type) {
	case ND_NS:
	case ND_NA:
		fixed = sizeof(*n);
		if (len < fixed)
			return -EINVAL;
		memcpy(out->target.b, n->target, 16);
		if (ip_addr_is_multicast(&out->target) || ip_addr_is_any(&out->target) ||
		    ip_addr_is_v4(&out->target))
			return -EINVAL;
		out->flags = n->flags;
		break;
	case ND_RA:
		fixed = sizeof(*ra);
		if (len < fixed)
			return -EINVAL;
		out->flags = ra->flags;
		out->lifetime_s = be16_host(ra->lifetime_s);
		out->reachable_ms = be32_host(ra->reachable_ms);
		break;
	case ND_RS:
		break;
	default:
		return -EINVAL;
	}
	return options(icmp + fixed, len - fixed, out);
}
