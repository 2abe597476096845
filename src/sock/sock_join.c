/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that several processes held at a service that is gone (client/remake.c). Whoever comes
 * first makes it again, and says the key that all of them know, with BIND; the others JOIN it. So it
 * is one queue again, which they need that take turns in accept(). Any of them may still come, so
 * nobody is its only holder: it is shared from the beginning.
 *
 * So does a child that was refused (client/fork.c): its parent OFFERs what they are to have in
 * common, before the fork.
 */
#include <sys/socket.h>

#include "sock/sock_share.h"

struct wanted {
	const struct sock_app *app;
	uint64_t key;
	uint16_t port;
	uint8_t domain;
	bool udp, records;
};

static bool is_it(const struct sock *o, const struct wanted *w)
{
	return o->share != NULL && o->share->key == w->key && o->owner == w->app->owner &&
	       o->zone == w->app->zone && o->domain == w->domain && o->records == w->records;
}

static struct sock *find(const struct wanted *w)
{
	struct sock *o = w->app->s->port[w->udp][w->port];

	while (o != NULL && !is_it(o, w))
		o = o->next_on_port;
	return o;
}

int join_offer(struct sock *k, uint16_t port, uint64_t key)
{
	struct wanted w = {k->app, key, port, k->domain, k->kind == SOCK_UDP, k->records};
	int err;

	if (key == 0)
		return 0;
	if (find(&w) != NULL)
		return -EEXIST;
	err = share_begin(k);
	if (err == 0)
		k->share->key = key;
	return err;
}

int cmd_join(struct sock_cmd *c)
{
	struct wanted w = {.app = c->app,
			   .key = c->q->off,
			   .port = c->q->port,
			   .domain = (uint8_t)c->q->arg[0],
			   .udp = c->q->arg[1] == SOCK_DGRAM,
			   .records = c->q->arg[1] == SOCK_SEQPACKET};
	struct sock *k = w.key != 0 ? find(&w) : NULL, *h;
	int err;

	if (k == NULL)
		return -ENOENT;
	err = share_with(k, c->app, &h);
	if (err != 0)
		return err;
	c->out.sid = h->sid;
	c->out.aux = h->limit;
	return 0;
}

static int offer(struct sock *k, uint64_t key)
{
	if (k->share != NULL && k->share->key != 0)
		return k->share->key == key ? 0 : -EEXIST;
	return join_offer(k, k->lport, key);
}

int cmd_offer(struct sock_cmd *c)
{
	struct sock *k = c->k;
	int err;

	if (c->q->off == 0 || k->lport == 0 ||
	    (k->kind != SOCK_NEW && k->kind != SOCK_LISTEN && k->kind != SOCK_UDP))
		return -EINVAL;
	err = offer(k, c->q->off);
	if (err != 0)
		return err;
	share_ask(k);
	if (share_has_more(k))
		share_readable(k);
	return 0;
}
