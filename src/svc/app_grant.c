/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program asks for a port before it binds it: because its user may not have every one, or because
 * the kernel has the stack's addresses, too, and must not have the port (shared_port.c).
 */
#include <errno.h>
#include <string.h>

#include "chan/voucher.h"
#include "svc/service.h"
#include "svc/shared.h"

struct grant_call {
	const struct app *app;
	struct ip_addr addr;
	struct sock_port p;
	unsigned protos;
	int rc;
};

static void grant(struct node_core *core, void *arg)
{
	struct grant_call *g = arg;
	struct sock_app *app = g->app->chan[core - core->node->core].app;
	int rc = socks_grant(app, &g->addr, g->p.port, g->protos);

	if (rc < 0)
		g->rc = rc;
}

static int grant_all(struct service *s, struct grant_call *g)
{
	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], grant, g);
	return g->rc;
}

/* A port of a shared address, which is the program's alone then. */
static int grant_shared(struct service *s, struct app *a, struct grant_call *g)
{
	int rc = shared_grant(s, a, &g->addr, &g->p);

	if (rc < 0)
		return rc;
	g->protos = g->p.udp ? SOCK_GRANT_UDP : SOCK_GRANT_TCP;
	rc = grant_all(s, g);
	if (rc < 0)
		shared_ungrant(s, a, g->p);
	return rc;
}

/* By the kernel's word: who sent the message, since programs change their user after attaching; or
 * who had this port at another service, and vouches for who has it now. */
static bool asks_as(const struct attach_msg *m, uint32_t *user)
{
	char purpose[VOUCHER_MAX];

	if (m->n_fds == 0) {
		*user = m->cred.uid;
		return m->has_cred;
	}
	voucher_for_bind(purpose, m->grant.addr, m->grant.port, m->grant.udp != 0);
	return voucher_read(m->fd[0], purpose, user) == 0;
}

/* Who has left the domain's users asks for nothing of theirs. */
static bool may_have(const struct service *s, const struct app *a, const struct attach_msg *m,
		     const struct grant_call *g)
{
	const struct policy_domain *d = &s->cfg.policy.domain[a->domain];
	uint32_t user;

	if (!asks_as(m, &user) || (user != 0 && policy_find(&s->cfg.policy, user) != d))
		return false;
	/* A port that is chosen is nobody's secret. */
	return (g->p.port == 0 && s->shared != NULL) ||
	       policy_may_bind(d, user, &g->addr, g->p.port);
}

void app_take_grant(struct service *s, struct app *a, struct attach_msg *m)
{
	struct attach_granted out = {.id = m->grant.id, .res = -EACCES};
	struct grant_call g = {
		.app = a, .p = {m->grant.port, m->grant.udp != 0}, .protos = SOCK_GRANT_BOTH};

	memcpy(&g.addr, m->grant.addr, sizeof(g.addr));
	if (may_have(s, a, m, &g))
		out.res = s->shared != NULL ? grant_shared(s, a, &g) : grant_all(s, &g);
	out.port = g.p.port;
	if (out.res < 0)
		s->n.grants_refused++;
	(void)!attach_send(a->sock, ATTACH_GRANTED, &out, sizeof(out), NULL, 0);
}
