/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See rules.h.
 */
#include "preload/rules.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one rule ---- */

static const char *number(const char **p, unsigned long max, unsigned long *out)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return "a number is missing";
	errno = 0;
	*out = strtoul(*p, &end, 10);
	if (errno != 0 || *out > max)
		return "a number is too large";
	*p = end;
	return NULL;
}

/* ":80", ":80-90", or nothing. */
static const char *ports(struct rule *r, const char *p)
{
	unsigned long from, to;
	const char *wrong;

	if (*p == '\0')
		return NULL;
	if (*p++ != ':')
		return "behind the address comes :PORT";
	wrong = number(&p, UINT16_MAX, &from);
	if (wrong != NULL)
		return wrong;
	to = from;
	if (*p == '-') {
		p++;
		wrong = number(&p, UINT16_MAX, &to);
		if (wrong != NULL)
			return wrong;
	}
	if (*p != '\0')
		return "a port is a number, or two with - between";
	if (from > to)
		return "a range of ports goes from low to high";
	r->port_min = (uint16_t)from;
	r->port_max = (uint16_t)to;
	return NULL;
}

/* "/24", or nothing. */
static const char *prefix(struct rule *r, const char *p)
{
	unsigned long bits;
	const char *wrong;

	if (*p == '\0')
		return NULL;
	p++;
	wrong = number(&p, r->v4 ? 32 : 128, &bits);
	if (wrong != NULL)
		return wrong;
	if (*p != '\0')
		return "behind / comes a number of bits";
	r->addr_bits = (uint8_t)(bits + (r->v4 ? 96 : 0));
	return NULL;
}

/* "10.0.0.2", "10.0.0.0/8", "fd00::/64" */
static const char *address(struct rule *r, const char *from, size_t len)
{
	char text[INET6_ADDRSTRLEN + 8], *slash;
	struct in_addr v4;

	if (len >= sizeof(text))
		return "that is no address";
	memcpy(text, from, len);
	text[len] = '\0';
	slash = strchr(text, '/');
	if (slash != NULL)
		*slash = '\0';
	r->v4 = inet_pton(AF_INET, text, &v4) == 1;
	r->v6 = !r->v4;
	if (r->v4) {
		memset(&r->addr, 0, 10);
		memset(&r->addr.s6_addr[10], 0xff, 2);
		memcpy(&r->addr.s6_addr[12], &v4, 4);
	} else if (inet_pton(AF_INET6, text, &r->addr) != 1) {
		return "that is no address";
	}
	r->addr_bits = 128;
	if (slash == NULL)
		return NULL;
	*slash = '/';
	return prefix(r, slash);
}

/* ADDR[/LEN][:PORT[-PORT]]: two colons and no bracket are an IPv6 address alone. */
static const char *place(struct rule *r, const char *p)
{
	const char *colon = strchr(p, ':'), *end = p + strlen(p), *wrong = NULL;

	if (*p == '[') {
		end = strchr(p++, ']');
		if (end == NULL)
			return "] is missing";
		wrong = address(r, p, (size_t)(end - p));
		if (wrong == NULL && r->v4)
			return "only IPv6 addresses have brackets";
		return wrong != NULL ? wrong : ports(r, end + 1);
	}
	if (colon != NULL && strchr(colon + 1, ':') == NULL)
		end = colon;
	if (end != p)
		wrong = address(r, p, (size_t)(end - p));
	return wrong != NULL ? wrong : ports(r, end);
}

static const char *word(struct rule *r, const char *w)
{
	if (strcmp(w, "tcp") == 0)
		r->udp = false;
	else if (strcmp(w, "udp") == 0)
		r->tcp = false;
	else if (strcmp(w, "bind") == 0)
		r->connect = false;
	else if (strcmp(w, "connect") == 0)
		r->bind = false;
	else
		return place(r, w);
	return NULL;
}

const char *rule_parse(struct rule *r, enum rule_answer answer, const char *text)
{
	char copy[RUN_RULE_MAX + 1], *rest = NULL;
	const char *wrong;

	*r = (struct rule){answer,	    .udp = true, .tcp = true, .bind = true,
			   .connect = true, .v4 = true,	 .v6 = true,  .port_max = UINT16_MAX};
	if (strlen(text) > RUN_RULE_MAX)
		return "that is too long";
	if (strcmp(text, "gateway") == 0) {
		r->gateway = true;
		r->bind = false;
		return answer == RULE_TAKE ? NULL : "what is behind a gateway can only be taken";
	}
	strcpy(copy, text);
	for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest)) {
		wrong = word(r, w);
		if (wrong != NULL)
			return wrong;
	}
	if ((!r->udp && !r->tcp) || (!r->bind && !r->connect))
		return "that can fit nothing";
	return NULL;
}

static bool addr_fits(const struct rule *r, const struct in6_addr *a)
{
	unsigned bytes = r->addr_bits / 8, bits = r->addr_bits % 8;

	if (!(IN6_IS_ADDR_V4MAPPED(a) ? r->v4 : r->v6))
		return false;
	if (memcmp(&r->addr, a, bytes) != 0)
		return false;
	return bits == 0 || ((r->addr.s6_addr[bytes] ^ a->s6_addr[bytes]) >> (8 - bits)) == 0;
}

static bool fits(const struct rule *r, const struct rule_case *c)
{
	return (c->udp ? r->udp : r->tcp) && (c->connect ? r->connect : r->bind) &&
	       (!r->gateway || c->by_gateway) && c->port >= r->port_min && c->port <= r->port_max &&
	       addr_fits(r, &c->addr);
}

/* ---- all of them ---- */

enum rule_answer rules_ask(const struct rules *rs, const struct rule_case *c)
{
	for (unsigned i = 0; i < rs->n; i++) {
		if (rs->r[i].answer != RULE_NO_LINK && fits(&rs->r[i], c))
			return rs->r[i].answer;
	}
	return RULE_NONE;
}

bool rules_no_link(const struct rules *rs, const struct rule_case *c)
{
	for (unsigned i = 0; rs->no_link > 0 && i < rs->n; i++) {
		if (rs->r[i].answer == RULE_NO_LINK && fits(&rs->r[i], c))
			return true;
	}
	return false;
}

/* One KEY[=VALUE]. What a later version may say is skipped like what makes no sense. */
static void item(struct rules *rs, const char *text)
{
	enum rule_answer answer = RULE_NONE;
	const char *rule = strchr(text, '=');

	if (strcmp(text, "verbose") == 0) {
		rs->verbose = true;
		return;
	}
	if (strcmp(text, "no-loopback") == 0) {
		rs->no_loopback = true;
		return;
	}
	if (strncmp(text, "take=", 5) == 0)
		answer = RULE_TAKE;
	else if (strncmp(text, "leave=", 6) == 0)
		answer = RULE_LEAVE;
	else if (strncmp(text, "no-link=", 8) == 0)
		answer = RULE_NO_LINK;
	if (answer != RULE_NONE && rs->n < RUN_RULES_MAX &&
	    rule_parse(&rs->r[rs->n], answer, rule + 1) == NULL) {
		rs->n++;
		rs->no_link += answer == RULE_NO_LINK;
	} else {
		rs->bad++;
	}
}

int rules_parse(struct rules *rs, const char *env)
{
	char *copy, *rest = NULL;

	*rs = (struct rules){0};
	if (env == NULL || *env == '\0')
		return 0;
	copy = strdup(env);
	rs->r = malloc(RUN_RULES_MAX * sizeof(*rs->r));
	if (copy == NULL || rs->r == NULL) {
		free(copy);
		rules_free(rs);
		return -ENOMEM;
	}
	for (char *i = strtok_r(copy, ";", &rest); i != NULL; i = strtok_r(NULL, ";", &rest))
		item(rs, i);
	free(copy);
	return 0;
}

void rules_free(struct rules *rs)
{
	free(rs->r);
	*rs = (struct rules){0};
}
