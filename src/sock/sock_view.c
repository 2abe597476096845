/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Out of another's memory. What an application received over a link lies in the arena of its
 * neighbour (docs/design/013); it sends it on to the wire by naming it there, and gives it back to
 * the neighbour when the send is over. So
 *
 *	a view    is an application's permission to send out of another's arena: from the first link
 *	          between them until it says that it has given back all of it, or is gone. Also of
 *	          one that has died: what that had sent is still to be read to its end
 *	a guest   is a send in flight that lies in another's arena; the sender calls it abroad
 *
 * An application that is gone keeps its memory as long as there are viewers, and guests.
 *
 * When the sender is gone, and TCP has still to deliver what it sent, the neighbour would get its
 * memory back from the dead, and write over it: it waits until nothing of it is abroad. TCP may
 * take as long as it likes, so what has not gone by itself is copied (socks_bring_home).
 */
#include <stdlib.h>

#include "sock/sock_priv.h"

#define CONNS_AT_ONCE 1024 /* bounds the time that the stack stands still */

/* In the list of who may. */
struct sock_view {
	struct list node;
	struct sock_app *of;
};

void app_view_init(struct sock_app *a)
{
	list_init(&a->views);
}

static struct sock_view *find(const struct sock_app *a, uint32_t id)
{
	LIST_EACH (l, &a->views) {
		struct sock_view *v = container_of(l, struct sock_view, node);

		if (v->of->id == id)
			return v;
	}
	return NULL;
}

static void view_free(struct sock_view *v)
{
	struct sock_app *of = v->of;

	list_del(&v->node);
	free(v);
	of->viewers--;
	app_reap(of);
}

void app_view_fini(struct sock_app *a)
{
	while (!list_empty(&a->views))
		view_free(container_of(a->views.next, struct sock_view, node));
}

static bool view_add(struct sock_app *a, struct sock_app *of)
{
	struct sock_view *v = find(a, of->id);

	if (v != NULL || a == of)
		return true;
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return false;
	v->of = of;
	of->viewers++;
	list_init(&v->node);
	list_add_tail(&a->views, &v->node);
	return true;
}

bool app_views_meet(struct sock_app *a, struct sock_app *b)
{
	if (view_add(a, b) && view_add(b, a))
		return true;
	socks_unview(a, b->id);
	return false;
}

struct sock_app *app_view(const struct sock_app *a, uint32_t id)
{
	const struct sock_view *v = find(a, id);

	return v != NULL ? v->of : NULL;
}

void socks_unview(struct sock_app *a, uint32_t of)
{
	struct sock_view *v = find(a, of);

	if (v != NULL)
		view_free(v);
}

/* ---- of who is gone ---- */

uint32_t socks_abroad(const struct socks *s, const struct chan_map *map)
{
	LIST_EACH (l, &s->dying) {
		const struct sock_app *a = container_of(l, struct sock_app, link);

		if (a->map == map)
			return a->abroad;
	}
	return 0;
}

struct copied {
	struct pkt_ext ext;
	uint8_t bytes[];
};

static void copied_free(void *addr, void *arg)
{
	(void)addr;
	free(arg);
}

struct bring {
	struct socks *s;
	const struct chan_map *map;
};

static void bring(void *arg, struct rte_mbuf *seg)
{
	const struct bring *b = arg;
	const struct sock_send *d = send_of(seg);
	struct copied *to;

	if (d == NULL || !d->abroad || d->app->map != b->map)
		return;
	to = malloc(sizeof(*to) + seg->data_len);
	if (to == NULL)
		return; /* the next time, perhaps */
	memcpy(to->bytes, pkt_data(seg), seg->data_len);
	b->s->n.home_copied_bytes += seg->data_len;
	pkt_ext_init(&to->ext, copied_free, to, 1);
	pkt_ext_move(seg, to->bytes, (uintptr_t)to->bytes, &to->ext);
}

static void bring_sent(void *arg, struct tcp_conn *c)
{
	tcp_send_each(c, bring, arg);
}

void socks_bring_home(struct socks *s, const struct chan_map *map, uint32_t *cursor)
{
	tcp_each(s->cfg.tcp, cursor, CONNS_AT_ONCE, bring_sent, &(struct bring){s, map});
}
