/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The buffers of a trust domain, which payload that its applications can't see is copied to. All
 * applications of the domain share them, so what is fair is decided here: one of many holds no more
 * than it leaves to the others, as with what the ports receive into (app_lend_room). Whatever those
 * that came before keep for ever, there is something for the next (H34).
 *
 * Copying must not fail halfway, so an application has `spare` buffers before it is told anything.
 * Those of who is idle are taken back when others find none.
 */
#include <errno.h>
#include <stdlib.h>

#include "sock/sock_priv.h"

int own_get(struct socks *s, struct rte_mempool *pool, uint32_t max, struct sock_own **out)
{
	struct sock_own *o;

	LIST_EACH (l, &s->owns) {
		o = container_of(l, struct sock_own, link);
		if (o->pool == pool)
			goto found;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		return -ENOMEM;
	o->pool = pool;
	o->max = max;
	list_init(&o->link);
	list_add_tail(&s->owns, &o->link);
found:
	o->users++;
	*out = o;
	return 0;
}

void own_put(struct sock_own *o)
{
	if (o == NULL || --o->users > 0)
		return;
	list_del(&o->link);
	free(o);
}

void app_spare_free(struct sock_app *a)
{
	while (a->n_spare != 0) {
		pkt_free(a->spare[--a->n_spare]);
		a->own->spare--;
	}
}

/* What others have in reserve comes back: they get new ones when they are told something. */
static void take_back(struct sock_app *a)
{
	LIST_EACH (l, &a->s->apps) {
		struct sock_app *other = container_of(l, struct sock_app, link);

		if (other->own == a->own && other != a)
			app_spare_free(other);
	}
}

static uint32_t left_for(const struct sock_app *a)
{
	const struct sock_own *o = a->own;
	uint32_t taken = o->lent + o->spare - a->n_spare;
	uint32_t left = o->max > taken ? o->max - taken : 0;

	if (!a->alone)
		return left;
	return left > a->loans.held ? (left - a->loans.held + 1) / 2 : 0;
}

uint32_t app_spare(struct sock_app *a, uint32_t n)
{
	uint32_t left = left_for(a);

	n = n < SOCK_SPARE_MAX ? n : SOCK_SPARE_MAX;
	if (left < n && a->own->spare > a->n_spare) {
		take_back(a);
		left = left_for(a);
	}
	n = n < left ? n : left;
	while (a->n_spare < n) {
		struct rte_mbuf *m = pkt_alloc(a->own->pool);

		if (m == NULL)
			return a->n_spare;
		a->spare[a->n_spare++] = m;
		a->own->spare++;
	}
	return n;
}

struct rte_mbuf *own_take(struct sock_app *a, uint32_t len)
{
	if (a->n_spare == 0 || pkt_room(a->spare[a->n_spare - 1]) < len)
		return NULL;
	a->own->spare--;
	return a->spare[--a->n_spare];
}
