/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See policy.h. A user of another user namespace that the host has no number for appears as the
 * overflow user (65534, "nobody"): it gets nothing unless somebody names it.
 */
#include "svc/policy.h"

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRIVILEGED_BELOW 1024
#define OVERFLOW_USER	 65534
#define MEMORY_DEFAULT	 (256ull << 20)
#define SOCKETS_DEFAULT	 65536
#define PROGRAMS_DEFAULT 64

struct policy_domain *policy_domain_add(struct policy *p, const char *name,
					const struct svc_err *err)
{
	struct policy_domain *d;

	for (unsigned i = 0; i < p->n_domains; i++) {
		if (strcmp(p->domain[i].name, name) != 0)
			continue;
		svc_fail(err, -EEXIST, "domain %s: there is another one of this name", name);
		return NULL;
	}
	if (p->n_domains == POLICY_DOMAINS_MAX || strlen(name) >= sizeof(d->name)) {
		svc_fail(err, -EINVAL, "domain %s: at most %d, with names of at most %zu letters",
			 name, POLICY_DOMAINS_MAX, sizeof(d->name) - 1);
		return NULL;
	}
	d = &p->domain[p->n_domains++];
	*d = (struct policy_domain){.memory_bytes = MEMORY_DEFAULT,
				    .max_sockets = SOCKETS_DEFAULT,
				    .max_programs = PROGRAMS_DEFAULT};
	strcpy(d->name, name);
	return d;
}

/* The next item of a list with commas, without blanks around it; false at the end. */
static bool item_next(const char **at, char *out, size_t len)
{
	const char *p = *at, *end;

	while (*p == ',' || isspace((unsigned char)*p))
		p++;
	if (*p == '\0')
		return false;
	end = p + strcspn(p, ",");
	*at = end;
	while (end > p && isspace((unsigned char)end[-1]))
		end--;
	snprintf(out, len, "%.*s", (int)(end - p), p);
	return true;
}

static int user_number(const char *name, uid_t *out)
{
	struct passwd *pw;
	char *end;
	unsigned long n;

	if (isdigit((unsigned char)name[0])) {
		errno = 0;
		n = strtoul(name, &end, 10);
		*out = (uid_t)n;
		return *end == '\0' && errno == 0 && n < UINT32_MAX ? 0 : -EINVAL;
	}
	pw = getpwnam(name);
	if (pw == NULL)
		return -ENOENT;
	*out = pw->pw_uid;
	return 0;
}

int policy_users_add(struct policy_domain *d, const char *text, const struct svc_err *err)
{
	char item[64];

	while (item_next(&text, item, sizeof(item))) {
		if (strcmp(item, "*") == 0) {
			d->everybody = true;
			continue;
		}
		if (d->n_users == POLICY_USERS_MAX)
			return svc_fail(err, -EINVAL, "%s: at most %d users in a domain", item,
					POLICY_USERS_MAX);
		if (user_number(item, &d->user[d->n_users]) < 0)
			return svc_fail(
				err, -EINVAL,
				"%s: no such user; give names or numbers, or * for everybody",
				item);
		d->n_users++;
	}
	return 0;
}

/* "80" or "8000-8999" */
static bool ports_parse(const char *p, struct policy_rule *r)
{
	unsigned first, last;
	int used = 0;

	/* Five digits at most: a longer number has a value of its own choosing. */
	if (sscanf(p, "%5u%n-%5u%n", &first, &used, &last, &used) < 1 || used == 0)
		return false;
	if (strchr(p, '-') == NULL)
		last = first;
	if (p[used] != '\0' || first == 0 || first > last || last > UINT16_MAX)
		return false;
	r->first = (uint16_t)first;
	r->last = (uint16_t)last;
	return true;
}

static bool rule_parse(char *item, struct policy_rule *r)
{
	char *colon = strrchr(item, ':'), *host = item;

	*r = (struct policy_rule){0};
	if (strcmp(item, "any") == 0) {
		r->first = 1;
		r->last = UINT16_MAX;
		return true;
	}
	if (colon == NULL)
		return ports_parse(item, r);
	*colon = '\0';
	if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
		host++;
		colon[-1] = '\0';
	}
	return ip_addr_parse(host, &r->addr) == 0 && ports_parse(colon + 1, r);
}

int policy_rules_add(struct policy_domain *d, const char *text, const struct svc_err *err)
{
	char item[80], copy[80];

	while (item_next(&text, item, sizeof(item))) {
		if (d->n_rules == POLICY_RULES_MAX)
			return svc_fail(err, -EINVAL, "%s: at most %d ports and ranges", item,
					POLICY_RULES_MAX);
		strcpy(copy, item);
		if (!rule_parse(copy, &d->rule[d->n_rules]))
			return svc_fail(err, -EINVAL,
					"%s: write any, 80, 8000-8999, 10.0.0.2:53 or [fd00::2]:53",
					item);
		d->n_rules++;
	}
	return 0;
}

int policy_complete(struct policy *p, const struct svc_err *err)
{
	struct policy_domain *d;

	for (unsigned i = 0; i < p->n_domains; i++)
		if (p->domain[i].n_users == 0 && !p->domain[i].everybody)
			return svc_fail(err, -EINVAL, "domain %s has no users", p->domain[i].name);
	if (p->n_domains > 0)
		return 0;
	d = policy_domain_add(p, "default", err);
	if (d == NULL)
		return -EINVAL;
	d->user[d->n_users++] = geteuid();
	return 0;
}

const struct policy_domain *policy_find(const struct policy *p, uid_t user)
{
	for (unsigned i = 0; i < p->n_domains; i++)
		for (unsigned k = 0; k < p->domain[i].n_users; k++)
			if (p->domain[i].user[k] == user)
				return &p->domain[i];
	if (user == OVERFLOW_USER)
		return NULL;
	for (unsigned i = 0; i < p->n_domains; i++)
		if (p->domain[i].everybody)
			return &p->domain[i];
	return user == 0 && p->n_domains > 0 ? &p->domain[0] : NULL;
}

bool policy_may_bind(const struct policy_domain *d, uid_t user, const struct ip_addr *addr,
		     uint16_t port)
{
	if (d->n_rules == 0)
		return port >= PRIVILEGED_BELOW || user == 0;
	for (unsigned i = 0; i < d->n_rules; i++) {
		const struct policy_rule *r = &d->rule[i];

		if (port >= r->first && port <= r->last &&
		    (ip_addr_is_any(&r->addr) || ip_addr_eq(&r->addr, addr)))
			return true;
	}
	return false;
}

uint32_t policy_free_ports_from(const struct policy_domain *d)
{
	return d->n_rules == 0 ? PRIVILEGED_BELOW : UINT16_MAX + 1u;
}
