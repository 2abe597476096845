/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which memory programs see received packets in (DESIGN §3.7). One trust domain, and ports that can
 * receive anywhere: the packet region is what the ports receive into, and nothing is copied.
 * Otherwise the ports' memory is shown to nobody, and each domain has buffers of its own, into
 * which payload is copied once, and counted.
 *
 * A packet region holds the data of packets, nothing else: the mbufs are in EAL's memory.
 */
#include <errno.h>
#include <sys/mman.h>
#include <string.h>

#include "svc/service.h"

#define DOMAIN_BUFS 4096 /* of a domain, on each core */

uint32_t domains_bufs(const struct service *s)
{
	return s->cfg.policy.n_domains * DOMAIN_BUFS;
}

/* Nobody but the service can write to it, nor make a hole. */
static int packets_create(const struct service *s, struct region *r, const char *name,
			  uint64_t bytes)
{
	int prot = PROT_READ | PROT_WRITE;
	int rc = s->cfg.node.no_huge ? region_create(r, name, bytes, prot)
				     : region_create_huge(r, name, bytes, prot);

	return rc == 0 ? region_seal(r) : rc;
}

/* A next service wants huge pages while programs still read in the packets of this one: as many are
 * left alone. Its other memory is free when it starts. */
bool domains_leave_huge(const struct service *s, uint64_t bytes)
{
	uint64_t keep = s->packets.bytes;

	for (unsigned d = 0; d < s->cfg.policy.n_domains; d++)
		keep += s->domain[d].packets.bytes;
	return !s->cfg.node.no_huge && dev_huge_free() >= bytes + keep;
}

int domains_packets(struct service *s, const struct svc_err *err)
{
	size_t bytes = node_packet_bytes(&s->node, &s->cfg.node);
	int rc;

	if (s->cfg.policy.n_domains > 1 || bytes == 0)
		return 0;
	rc = packets_create(s, &s->packets, "zstack-packets", bytes);
	if (rc < 0)
		return svc_fail(err, rc, "no memory to share for %zu MB of packets: %s",
				bytes >> 20, strerror(-rc));
	s->node.packets = (struct dev_mem){s->packets.base, s->packets.bytes};
	return 0;
}

static int open_domain(struct service *s, unsigned d, const struct svc_err *err)
{
	size_t each = dev_pool_bytes(DOMAIN_BUFS, 0);
	struct domain *dom = &s->domain[d];
	int rc = packets_create(s, &dom->packets, "zstack-domain", s->node.n * each);

	for (unsigned i = 0; rc == 0 && i < s->node.n; i++) {
		struct dev_mem mem = {(char *)dom->packets.base + i * each, each};
		char kind[16];

		snprintf(kind, sizeof(kind), "dom%u", d);
		dom->pool[i] = dev_pool_create(kind, i, DOMAIN_BUFS, 0, &mem);
		rc = dom->pool[i] != NULL ? 0 : -ENOMEM;
	}
	return rc == 0 ? 0
		       : svc_fail(err, rc, "no memory for the buffers of domain %s (--mem)",
				  s->cfg.policy.domain[d].name);
}

int domains_open(struct service *s, const struct svc_err *err)
{
	int rc = 0;

	if (s->packets.base != NULL)
		return 0;
	for (unsigned d = 0; d < s->cfg.policy.n_domains && rc == 0; d++)
		rc = open_domain(s, d, err);
	return rc;
}

void domains_close(struct service *s)
{
	for (unsigned d = 0; d < POLICY_DOMAINS_MAX; d++) {
		for (unsigned i = 0; i < EMBED_CORES_MAX; i++)
			dev_pool_destroy(s->domain[d].pool[i]);
		region_destroy(&s->domain[d].packets);
	}
}

const struct region *domain_region(const struct service *s, unsigned d)
{
	return s->packets.base != NULL ? &s->packets : &s->domain[d].packets;
}
