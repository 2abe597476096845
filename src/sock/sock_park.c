/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets of which nobody is told anything, so that nothing is pushed to where nobody looks
 * (SOCKF_PARKED). There are two kinds:
 *
 * Connections that one holder of a listener had announced to it, and gives back before there are
 * others (CHAN_OP_UNACCEPT): whoever accepts next gets them. They stand in a list of the listener's
 * description, still in the table of who gave them back; when he leaves, in that of another holder.
 *
 *	UNACCEPT   it is told no more          UNREAD   what it had been told       CLOSE   the list
 *
 * And all sockets of the service's keeper, which holds descriptors that are on their way from one
 * program to another (svc/keeper.c).
 */
#include "sock/sock_share.h"

void park(struct sock *k)
{
	k->flags = (uint16_t)((k->flags | SOCKF_PARKED) & ~SOCKF_WANT);
	k->news = 0;
	list_del(&k->wait);
}

int cmd_unaccept(struct sock_cmd *c)
{
	struct sock *k = c->k, *l = sock_find(c->app, (uint32_t)c->q->arg[0]);

	if (k->kind != SOCK_CONN || k->share != NULL || l == NULL || l->kind != SOCK_LISTEN ||
	    l->announced == 0)
		return -EINVAL;
	if (share_begin(k) != 0)
		return -ENOMEM;
	park(k);
	k->connect_token = l->sid;
	l->announced--;
	return 0;
}

bool park_return(struct sock *k)
{
	struct sock *l = sock_find(k->app, k->connect_token);

	if (l == NULL || l->kind != SOCK_LISTEN || share_begin(l) != 0)
		return false;
	list_add_tail(&l->share->parked, &k->lingering);
	tcp_sock_accept_news(l);
	return true;
}

bool park_accept(struct sock *l)
{
	struct list *first = list_pop(&l->share->parked);
	struct sock *old, *k;

	if (first == NULL)
		return false;
	old = container_of(first, struct sock, lingering);
	if (share_with(old, l->app, &k) != 0) {
		sock_reap(old, false);
		return true;
	}
	tcp_sock_announce(l, k);
	/* Only now: it is told that it is the only one. */
	sock_reap(old, false);
	return true;
}

uint32_t parked_count(const struct sock *l)
{
	uint32_t n = 0;

	LIST_EACH (i, &l->share->parked)
		n++;
	return n;
}

void park_move(struct sock *l, struct sock_app *heir)
{
	LIST_EACH_SAFE (i, &l->share->parked) {
		struct sock *old = container_of(i, struct sock, lingering), *k;

		if (old->app != l->app)
			continue;
		if (share_with(old, heir, &k) == 0) {
			park(k);
			list_insert(i, &k->lingering, i->next);
		}
		list_del(&old->lingering);
		sock_reap(old, false);
	}
}

void park_drop(struct sock_desc *sh)
{
	struct list *i;

	while ((i = list_pop(&sh->parked)) != NULL)
		sock_reap(container_of(i, struct sock, lingering), false);
}
