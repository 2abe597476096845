/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which sockets are Z-Stack's: the rules of `zstack run`, in order, the first that fits decides.
 * run.h says how one is written. Pure: texts and addresses in, an answer out; also in the tool,
 * which checks rules before it hands them over. What holds where no rule fits is decide.c's.
 */
#ifndef ZS_PRELOAD_RULES_H
#define ZS_PRELOAD_RULES_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "preload/run.h"

/* NO_LINK: whosever it is, its connections go by no shared memory; does not decide. */
enum rule_answer { RULE_NONE, RULE_TAKE, RULE_LEAVE, RULE_NO_LINK };

struct rule {
	enum rule_answer answer;
	bool gateway;	      /* fits what is reached by a gateway, the rest is unset */
	bool udp, tcp;	      /* protocols it is for */
	bool bind, connect;   /* calls it is for */
	struct in6_addr addr; /* IPv4 mapped */
	uint8_t addr_bits;    /* that count, of 128 */
	bool v4, v6;	      /* families it is for */
	uint16_t port_min, port_max;
};

/* What is asked for. */
struct rule_case {
	bool udp;
	bool connect;	      /* or send; else bind or listen */
	bool by_gateway;      /* connect: the stack reaches addr by a gateway only */
	struct in6_addr addr; /* IPv4 mapped: the own address of bind, the peer's of connect */
	uint16_t port;
};

struct rules {
	struct rule *r; /* n of them, of malloc */
	unsigned n;
	unsigned no_link; /* of them are RULE_NO_LINK */
	unsigned bad;	  /* that could not be understood, and are skipped */
	bool verbose;
	bool no_loopback; /* is the kernel's alone */
};

/* A RULE behind take (RULE_TAKE) or leave. NULL: understood; else what is wrong, static. */
const char *rule_parse(struct rule *r, enum rule_answer answer, const char *text) must_check;
/* The value of ZSTACK_RUN; NULL: as "". 0, -ENOMEM. */
int rules_parse(struct rules *rs, const char *env) must_check;
void rules_free(struct rules *rs);
enum rule_answer rules_ask(const struct rules *rs, const struct rule_case *c);
/* Does a RULE_NO_LINK fit? */
bool rules_no_link(const struct rules *rs, const struct rule_case *c);

#endif
