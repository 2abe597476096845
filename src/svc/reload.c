/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SIGHUP: the command line and the file are read again, and what differs is applied while
 * everything runs: addresses, gateways, and of trust domains the users, what they may bind and how
 * much they may have. Connections stay, but those of an address that goes. What can't change is
 * named, in the one line that says what happened. A file with an error changes
 * nothing; an address that can't be had is named, and the rest applied.
 *
 * Programs that are attached stay so, with what they were granted, whatever their user may now.
 * What zstack addr and route added is in no file, and stays.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svc/notify.h"
#include "svc/service.h"
#include "svc/shared.h"

struct report {
	unsigned added, removed, failed, domains;
	char fixed[256]; /* keys that need a restart */
};

static bool among(const char *const *list, const char *text)
{
	for (unsigned i = 0; i < svc_count(list); i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

typedef int (*change_fn)(struct service *s, const char *text, const struct svc_err *err);

static int gateway_add(struct service *s, const char *text, const struct svc_err *err)
{
	return service_route_add(s, "default", text, err);
}

static int gateway_del(struct service *s, const char *text, const struct svc_err *err)
{
	return service_route_del(s, "default", text, err);
}

/* fn for each text of `of` that is not in `without`. */
static unsigned each(struct service *s, const char *const *of, const char *const *without,
		     change_fn fn, struct report *r)
{
	unsigned n = 0;

	for (unsigned i = 0; i < svc_count(of); i++) {
		char why[256] = "";
		struct svc_err err = {why, sizeof(why)};

		if (among(without, of[i]))
			continue;
		if (fn(s, of[i], &err) == 0) {
			n++;
			continue;
		}
		r->failed++;
		svc_log("reload: %s", why);
	}
	return n;
}

static void swap(const char *const **a, const char *const **b)
{
	const char *const *t = *a;

	*a = *b;
	*b = t;
}

/* Routes go before the addresses that they lean on, and come after. */
static void apply_addrs(struct service *s, struct service_cfg *next, struct report *r)
{
	struct embed_cfg *was = &s->cfg.node, *is = &next->node;

	r->removed += each(s, was->gateways, is->gateways, gateway_del, r);
	r->removed += each(s, was->addrs, is->addrs, service_addr_del, r);
	r->added += each(s, is->addrs, was->addrs, service_addr_add, r);
	r->added += each(s, is->gateways, was->gateways, gateway_add, r);
	swap(&was->addrs, &is->addrs);
	swap(&was->gateways, &is->gateways);
}

static struct policy_domain *domain_named(struct policy *p, const char *name)
{
	for (unsigned i = 0; i < p->n_domains; i++)
		if (strcmp(p->domain[i].name, name) == 0)
			return &p->domain[i];
	return NULL;
}

static void fixed_add(struct report *r, const char *what)
{
	size_t used = strlen(r->fixed);

	snprintf(r->fixed + used, sizeof(r->fixed) - used, "%s%s", used > 0 ? ", " : "", what);
}

/* A domain keeps its place, and its memory. One that is gone from the file has no users any more.
 */
static void apply_policy(struct service *s, struct policy *next, struct report *r)
{
	for (unsigned i = 0; i < s->cfg.policy.n_domains; i++) {
		struct policy_domain *d = &s->cfg.policy.domain[i], gone = *d;
		const struct policy_domain *is = domain_named(next, d->name);

		gone.n_users = 0;
		gone.everybody = false;
		is = is != NULL ? is : &gone;
		r->domains += memcmp(d, is, sizeof(*d)) != 0;
		*d = *is;
	}
	for (unsigned i = 0; i < next->n_domains; i++) {
		char what[64];

		snprintf(what, sizeof(what), "domain %s", next->domain[i].name);
		if (domain_named(&s->cfg.policy, next->domain[i].name) == NULL)
			fixed_add(r, what);
	}
}

static void apply(struct service *s, struct service_cfg *next)
{
	struct report r = {.added = 0};
	const char *key;

	for (unsigned i = 0; (key = conf_fixed_key(i)) != NULL; i++)
		if (conf_differs(&s->cfg, next, i))
			fixed_add(&r, key);
	apply_addrs(s, next, &r);
	apply_policy(s, &next->policy, &r);
	svc_log("reloaded: %u added, %u removed, %u failed; %u domains changed%s%s", r.added,
		r.removed, r.failed, r.domains,
		r.fixed[0] != '\0' ? "; what takes a restart: " : "", r.fixed);
}

void service_reload(struct service *s)
{
	char why[512] = "";
	struct svc_err err = {why, sizeof(why)};
	struct service_cfg *next = calloc(1, sizeof(*next));

	if (next == NULL)
		return;
	svc_notify("RELOADING=1");
	if (conf_parse(s->argc, s->argv, next, &err) == 0)
		apply(s, next);
	else
		svc_log("reload: %s; nothing was changed", why);
	conf_free(next);
	free(next);
	svc_notify("READY=1");
}
