/* SPDX-License-Identifier: BSD-3-Clause
 *
 * SIGHUP: the command line and the file are read again, and what differs is applied while
 * everything runs: addresses, gateways, and of trust domains the users, what they may bind and how
 * much they may have. Connections stay, but those of an address that goes. What can't change is
 * named, in the one line that says what happened.
 *
 * All or nothing: a file that says something impossible, as far as it alone tells (conf_check.c),
 * changes nothing; nor does one that zstackd would not start with because it has no port or no
 * address, as an editor leaves it that truncates before it writes; when a stack refuses what the
 * file may say, what was done before is undone. So what can fail comes first, and addresses that
 * only go, with their connections, go last.
 *
 * Programs that are attached stay so, with what they have bound, whatever their user may now.
 * What zstack addr and route added is in no file, and stays; what the file says and is so already,
 * by that tool, is no error.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svc/notify.h"
#include "svc/service.h"
#include "svc/shared.h"

struct report {
	unsigned added, removed, domains;
	char fixed[256]; /* keys that need a restart */
};

typedef int (*change_fn)(struct service *s, const char *text, const struct svc_err *err);

/* What was done, and how it is undone. */
struct step {
	change_fn undo;
	const char *text;
};

struct plan {
	struct service *s;
	const struct service_cfg *next;
	const struct svc_err *err;
	struct report *r;
	struct step done[4 * CONF_LIST_MAX];
	unsigned n_done;
};

static bool among(const char *const *list, const char *text)
{
	for (unsigned i = 0; i < svc_count(list); i++)
		if (strcmp(list[i], text) == 0)
			return true;
	return false;
}

static int gateway_add(struct service *s, const char *text, const struct svc_err *err)
{
	return service_route_add(s, "default", text, err);
}

static int gateway_del(struct service *s, const char *text, const struct svc_err *err)
{
	return service_route_del(s, "default", text, err);
}

/* One step. Where it fails is said with the line of the next configuration that asks for it. */
static int add(struct plan *p, const char *key, const char *text, int line)
{
	bool gateway = strcmp(key, "gateway") == 0;
	char why[200] = "";
	struct svc_err err = {why, sizeof(why)};
	int rc = (gateway ? gateway_add : service_addr_add)(p->s, text, &err);

	if (rc == -EEXIST)
		return 0;
	if (rc < 0)
		return conf_fail(p->next, line, key, text, p->err, "%s", why);
	p->done[p->n_done++] = (struct step){gateway ? gateway_del : service_addr_del, text};
	p->r->added++;
	return 0;
}

/* Whatever length zstack addr has given it since. */
static int addr_del(struct service *s, const char *text, const struct svc_err *err)
{
	char ip[ADDR_TEXT_MAX];

	snprintf(ip, sizeof(ip), "%.*s", (int)strcspn(text, "/"), text);
	return service_addr_del(s, ip, err);
}

/* That it is not there is what was wanted. */
static void take(struct plan *p, bool gateway, const char *text)
{
	struct svc_err ignored = {(char[8]){0}, 8};

	if ((gateway ? gateway_del : addr_del)(p->s, text, &ignored) < 0)
		return;
	p->done[p->n_done++] = (struct step){gateway ? gateway_add : service_addr_add, text};
	p->r->removed++;
}

/* The last one first. */
static void undo(struct plan *p)
{
	char why[256];
	struct svc_err err = {why, sizeof(why)};

	while (p->n_done > 0) {
		const struct step *d = &p->done[--p->n_done];

		if (d->undo(p->s, d->text, &err) < 0)
			svc_log("reload: what was before does not come back: %s", why);
	}
}

/* Does the list have the same address with another length, or at another port? */
static bool is_changed(const char *text, const char *const *list)
{
	struct svc_addr a, other;

	for (unsigned i = 0; svc_addr_wrong(text, &a) == NULL && i < svc_count(list); i++)
		if (svc_addr_wrong(list[i], &other) == NULL && ip_addr_eq(&a.addr, &other.addr))
			return true;
	return false;
}

/* Addresses that are in no list any more; or, earlier, those that come again otherwise. */
static void take_addrs(struct plan *p, bool changed)
{
	const char *const *was = p->s->cfg.node.addrs, *const *is = p->next->node.addrs;

	for (unsigned i = 0; i < svc_count(was); i++)
		if (!among(is, was[i]) && is_changed(was[i], is) == changed)
			take(p, false, was[i]);
}

static void swap(const char *const **a, const char *const **b)
{
	const char *const *t = *a;

	*a = *b;
	*b = t;
}

static int add_all(struct plan *p)
{
	const struct embed_cfg *was = &p->s->cfg.node, *is = &p->next->node;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < svc_count(is->addrs); i++)
		if (!among(was->addrs, is->addrs[i]))
			rc = add(p, "addr", is->addrs[i], p->next->addr_line[i]);
	for (unsigned i = 0; rc == 0 && i < svc_count(is->gateways); i++)
		if (!among(was->gateways, is->gateways[i]))
			rc = add(p, "gateway", is->gateways[i], p->next->gateway_line[i]);
	return rc;
}

/* Routes go before the addresses that they lean on, and come after. */
static int apply_addrs(struct service *s, struct service_cfg *next, struct report *r,
		       const struct svc_err *err)
{
	struct embed_cfg *was = &s->cfg.node, *is = &next->node;
	struct plan p = {.s = s, .next = next, .err = err, .r = r};
	int rc;

	for (unsigned i = 0; i < svc_count(was->gateways); i++)
		if (!among(is->gateways, was->gateways[i]))
			take(&p, true, was->gateways[i]);
	take_addrs(&p, true);
	rc = add_all(&p);
	if (rc < 0) {
		undo(&p);
		return rc;
	}
	take_addrs(&p, false);
	swap(&was->addrs, &is->addrs);
	swap(&was->gateways, &is->gateways);
	return 0;
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

static int apply(struct service *s, struct service_cfg *next, const struct svc_err *err)
{
	struct report r = {.added = 0};
	const char *key;
	int rc = apply_addrs(s, next, &r, err);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; (key = conf_fixed_key(i)) != NULL; i++)
		if (conf_differs(&s->cfg, next, i))
			fixed_add(&r, key);
	apply_policy(s, &next->policy, &r);
	svc_log("reloaded: %u added, %u removed; %u domains changed%s%s", r.added, r.removed,
		r.domains, r.fixed[0] != '\0' ? "; what takes a restart: " : "", r.fixed);
	return 0;
}

void service_reload(struct service *s)
{
	char why[512] = "";
	struct svc_err err = {why, sizeof(why)};
	struct service_cfg *next = calloc(1, sizeof(*next));

	if (next == NULL)
		return;
	svc_notify("RELOADING=1");
	if (conf_parse(s->argc, s->argv, next, &err) != 0 ||
	    node_cfg_check(&next->node, &err) < 0 || apply(s, next, &err) < 0)
		svc_log("reload: %s; nothing was changed", why);
	conf_free(next);
	free(next);
	svc_notify("READY=1");
}
