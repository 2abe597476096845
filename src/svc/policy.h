/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who may attach, what each may have, which addresses and ports each may bind. Users belong to
 * trust domains: programs of one domain see the same received packets and, when they are connected
 * to one another, each other's payload; those of two domains never do (DESIGN §3.7).
 */
#ifndef ZS_SVC_POLICY_H
#define ZS_SVC_POLICY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "svc/svc_cfg.h"

#define POLICY_DOMAINS_MAX 14 /* chan.h has names for so many regions */
#define POLICY_USERS_MAX   64
#define POLICY_RULES_MAX   64

/* Ports that may be bound. addr any: on every address. */
struct policy_rule {
	struct ip_addr addr;
	uint16_t first, last;
};

struct policy_domain {
	char name[32];
	uid_t user[POLICY_USERS_MAX];
	unsigned n_users;
	bool everybody; /* every user that the host knows */
	struct policy_rule rule[POLICY_RULES_MAX];
	unsigned n_rules;      /* 0: as the kernel does, ports below 1024 are root's */
	uint64_t memory_bytes; /* most payload memory of a program, on each core */
	uint32_t max_sockets;  /* of a program, on each core */
	uint32_t max_programs; /* of a user */
};

struct policy {
	struct policy_domain domain[POLICY_DOMAINS_MAX];
	unsigned n_domains;
};

/* A new domain with the defaults. NULL: too many, or the name is taken. */
struct policy_domain *policy_domain_add(struct policy *p, const char *name,
					const struct svc_err *err);
/* "alice, 1001, *" */
int policy_users_add(struct policy_domain *d, const char *text,
		     const struct svc_err *err) must_check;
/* "any", or "80, 443, 8000-8999, 10.0.0.2:53, [fd00::2]:53" */
int policy_rules_add(struct policy_domain *d, const char *text,
		     const struct svc_err *err) must_check;
/* Without any domain: one of the user who runs the service. */
int policy_complete(struct policy *p, const struct svc_err *err) must_check;

/* The domain of a user, NULL: may not attach. Root is of the first domain unless named elsewhere.
 */
const struct policy_domain *policy_find(const struct policy *p, uid_t user);
bool policy_may_bind(const struct policy_domain *d, uid_t user, const struct ip_addr *addr,
		     uint16_t port);
/* Ports from here on nobody of the domain needs to ask for. */
uint32_t policy_free_ports_from(const struct policy_domain *d);

#endif
