/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See sock_share.h: who holds a description, how one comes and goes.
 */
#include <stdlib.h>

#include "sock/sock_share.h"
#include "sock/sock_udp.h"

#define HOLDERS_MAX 2048 /* of one socket: each is looked at when something comes */

/* ---- holders ---- */

static struct sock_app *child_of(struct sock_app *a, uint32_t id)
{
	LIST_EACH (l, &a->s->apps) {
		struct sock_app *b = container_of(l, struct sock_app, link);

		if (b->parent == a && b->id == id)
			return b;
	}
	return NULL;
}

#define OWN_FLAGS (SOCKF_WANT | SOCKF_PARKED) /* of a holder */

static void copy_common(struct sock *to, const struct sock *from)
{
	to->conn = from->conn; /* or listener, or pcb */
	to->kind = from->kind;
	to->flags = (uint16_t)((from->flags & ~OWN_FLAGS) | (to->flags & OWN_FLAGS));
	to->laddr = from->laddr;
	to->lport = from->lport;
	to->fam = from->fam;
	to->owner = from->owner;
	to->zone = from->zone;
	to->records = from->records;
	to->recverr = from->recverr;
	to->backlog = from->backlog;
	to->udp = from->udp;
}

void share_sync(struct sock *k)
{
	struct sock_desc *sh = k->share;

	for (uint32_t i = 0; i < sh->n; i++)
		if (sh->holder[i] != k)
			copy_common(sh->holder[i], k);
}

static int holder_add(struct sock *k, struct sock *h)
{
	struct sock_desc *sh = k->share;
	struct sock **grown = realloc(sh->holder, (sh->n + 1) * sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	sh->holder = grown;
	sh->holder[sh->n++] = h;
	h->share = sh;
	return 0;
}

int share_begin(struct sock *k)
{
	struct sock_desc *sh = k->share;

	if (sh != NULL)
		return 0;
	sh = calloc(1, sizeof(*sh));
	if (sh == NULL)
		return -ENOMEM;
	list_init(&sh->parked);
	sh->id = ++k->app->s->last_desc;
	k->share = sh;
	if (holder_add(k, k) == 0) {
		k->flags |= SOCKF_WANT;
		sock_link_shared(k);
		return 0;
	}
	share_free(k);
	return -ENOMEM;
}

static int options_copy(struct sock *to, const struct sock *from)
{
	if (from->opt == NULL)
		return 0;
	to->opt = malloc(sizeof(*to->opt));
	if (to->opt == NULL)
		return -ENOMEM;
	*to->opt = *from->opt;
	return 0;
}

bool share_has_more(struct sock *k)
{
	switch (k->kind) {
	case SOCK_LISTEN:
		return !list_empty(&k->share->parked) || tcp_listener_ready(k->listener);
	case SOCK_UDP:
		return k->udp->count > 0;
	case SOCK_CONN:
		if (unlikely(k->share->owes != NULL))
			return false;
		/* Nothing is taken from it yet: what comes back unread stands before that. */
		return pending_any(k->share) || lease_unread(k->share) > 0 ||
		       tcp_conn_readable(k->conn) || tcp_conn_got_fin(k->conn) ||
		       tcp_conn_error(k->conn) != 0;
	default:
		return false;
	}
}

/* Whoever has a lease has none any more, and is told. 0, SOCK_STALL. */
static int lease_stop(struct sock_desc *sh)
{
	struct sock *reader = lease_holder(sh);

	if (likely(reader == NULL))
		return 0;
	if (lease_end(sh) != 0)
		return SOCK_STALL;
	sock_news(reader, 0);
	return 0;
}

int share_with(struct sock *k, struct sock_app *b, struct sock **out)
{
	struct sock *h;
	int err;

	/* What several hold goes by the service. One that nobody has accepted changes hands. */
	if (k->records && k->kind == SOCK_CONN && !(k->flags & SOCKF_PARKED))
		return -EOPNOTSUPP;
	err = share_begin(k);
	if (err != 0)
		return err;
	if (k->share->n >= HOLDERS_MAX)
		return -ETOOMANYREFS;
	err = lease_stop(k->share);
	if (err != 0)
		return err;
	h = sock_alloc(b, k->kind, k->domain);
	err = h == NULL ? -ENFILE : holder_add(k, h);
	if (err == 0)
		err = options_copy(h, k);
	if (err != 0) {
		if (h != NULL)
			sock_reap(h, true);
		return err;
	}
	copy_common(h, k);
	h->limit = k->limit;
	h->flags |= SOCKF_WANT;
	if (b->keeps)
		park(h);
	share_ask(k);
	/* The others were told already. */
	if (k->kind == SOCK_CONN && tcp_conn_error(k->conn) != 0) {
		h->error = tcp_conn_error(k->conn);
		sock_news(h, NEWS_FATAL);
	}
	if (share_has_more(k))
		share_readable(k);
	*out = h;
	return 0;
}

void share_ask(struct sock *k)
{
	k->news &= (uint16_t) ~(NEWS_DATA | NEWS_FIN | NEWS_URG | NEWS_ACCEPT);
	k->share->told = false;
}

static bool can_be_shared(const struct sock *k)
{
	/* One that waits to be a connection is nobody else's before it is. */
	if (k->kind != SOCK_UDP && k->revive != NULL)
		return false;
	return k->kind == SOCK_NEW || k->kind == SOCK_LISTEN || k->kind == SOCK_CONN ||
	       k->kind == SOCK_UDP;
}

int socks_share(struct sock_app *from, uint32_t sid, struct sock_app *to, uint32_t *out)
{
	struct sock *k = sock_find(from, sid), *h;
	int err;

	if (k == NULL)
		return -EBADF;
	if (!can_be_shared(k))
		return -EBUSY;
	err = share_with(k, to, &h);
	if (err == 0)
		*out = h->sid;
	return err != SOCK_STALL ? err : -ENOMEM;
}

void socks_drop(struct sock_app *app, uint32_t sid)
{
	struct sock *k = sock_find(app, sid);

	if (k != NULL)
		sock_reap(k, true);
}

int cmd_share(struct sock_cmd *c)
{
	struct sock_app *b = child_of(c->app, (uint32_t)c->q->arg[0]);
	struct sock *h;
	int err;

	if (b == NULL)
		return -ESRCH;
	if (!can_be_shared(c->k))
		return -EBUSY;
	err = share_with(c->k, b, &h);
	if (err == 0)
		c->out.aux = h->sid;
	return err;
}

/* The protocols know the first holder; the port table knows who bound. */
static void hand_over(struct sock *k, struct sock *heir)
{
	if (k->kind == SOCK_CONN)
		tcp_conn_set_user(k->conn, (uintptr_t)heir);
	else if (k->kind == SOCK_LISTEN)
		tcp_listener_set_user(k->listener, (uintptr_t)heir);
	else if (k->kind == SOCK_UDP && k->pcb != NULL)
		udp_set_user(k->pcb, (uintptr_t)heir);
	port_hand_over(k, heir);
}

/* It was told, perhaps in the place of others, and has not asked since. */
static bool alone_told(const struct sock *k)
{
	return k->exclusive && !(k->flags & SOCKF_WANT);
}

bool share_leave(struct sock *k)
{
	struct sock_desc *sh = k->share;
	uint32_t i = 0;

	if (sh == NULL || sh->n == 1) {
		if (sh != NULL)
			share_free(k);
		return false;
	}
	if (unlikely(lease_holder(sh) == k))
		lease_leave(sh);
	if (sh->owes == k)
		share_owes_no_more(k);
	while (sh->holder[i] != k)
		i++;
	park_move(k, sh->holder[i == 0]->app);
	if (k->kind == SOCK_UDP)
		udp_sock_holder_left(k);
	memmove(&sh->holder[i], &sh->holder[i + 1], (sh->n - i - 1) * sizeof(*sh->holder));
	sh->n--;
	hand_over(k, sh->holder[0]);
	k->share = NULL;
	k->conn = NULL;
	k->udp = NULL;
	k->flags &= (uint16_t)~SOCKF_BOUND;
	if (share_is_sole(sh))
		sock_news(sh->holder[0], NEWS_DATA | NEWS_ACCEPT);
	else if (alone_told(k) && share_has_more(sh->holder[0]))
		share_readable(sh->holder[0]);
	return true;
}

void share_owes_no_more(struct sock *k)
{
	struct sock_desc *sh = k->share;

	sh->owes = NULL;
	if (share_is_sole(sh))
		sock_news(sh->holder[0], NEWS_DATA | NEWS_ACCEPT);
	else if (share_has_more(k))
		share_readable(k);
}

void share_free(struct sock *k)
{
	struct sock_desc *sh = k->share;

	lease_free(sh);
	park_drop(sh);
	pending_free(sh);
	free(sh->holder);
	free(sh);
	k->share = NULL;
}
