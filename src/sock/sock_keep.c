/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Connections that go from one program to another without a word of the service's control thread
 * (docs/design/011, 6). The service has issued names for what is to be kept; who knows one has made
 * it, or holds the descriptor that it belongs to. The sender KEEPs its socket under the name, and
 * goes on giving back what it has not read, until it says KEPT: nobody reads before that. So it
 * waits for one answer only. The receiver REDEEMs the name.
 *
 * What is kept and not redeemed for a while the service claims (svc/named.c): it may have been given
 * to who has not got the library.
 *
 * The first bits of a name say where it stands, the others are a secret.
 */
#include <stdlib.h>

#include "sock/sock_share.h"

struct sock_keep {
	uint64_t name;	  /* 0: none is issued */
	uint32_t sid;	  /* of the keeper; 0: nothing is kept yet */
	uint32_t n_image; /* what the sender knows of it */
	uint8_t *image;
	struct list link; /* of socks.keeping */
	bool old;	  /* it was looked at */
};

static struct sock_keep *find(struct socks *s, uint64_t name)
{
	struct sock_keep *e;

	if (s->keeps == NULL || name == 0)
		return NULL;
	e = &s->keeps[chan_kept_place(name)];
	return e->name == name ? e : NULL;
}

static void clear(struct sock_keep *e)
{
	if (e->sid != 0)
		list_del(&e->link);
	free(e->image);
	*e = (struct sock_keep){.name = 0};
}

int socks_keep(struct sock_app *keeper, uint64_t name)
{
	struct socks *s = keeper->s;
	struct sock_keep *e;

	if (s->keeps == NULL)
		s->keeps = calloc(CHAN_KEPT_PLACES, sizeof(*s->keeps));
	if (s->keeps == NULL)
		return -ENOMEM;
	e = &s->keeps[chan_kept_place(name)];
	if (e->name != 0)
		return -EEXIST;
	e->name = name;
	return 0;
}

void socks_keep_end(struct sock_app *keeper, uint64_t name)
{
	struct sock_keep *e = find(keeper->s, name);

	if (e == NULL)
		return;
	if (e->sid != 0)
		socks_drop(keeper, e->sid);
	clear(e);
}

uint32_t socks_keep_claim(struct sock_app *keeper, uint64_t name,
			  uint8_t image[CHAN_KEPT_IMAGE_MAX], uint32_t *n_image)
{
	struct sock_keep *e = find(keeper->s, name);
	uint32_t sid = e != NULL ? e->sid : 0;

	if (sid == 0)
		return 0;
	memcpy(image, e->image, e->n_image);
	*n_image = e->n_image;
	clear(e);
	return sid;
}

unsigned socks_keep_old(struct sock_app *keeper, uint64_t *name, unsigned n, bool *more)
{
	struct socks *s = keeper->s;
	unsigned found = 0;

	s->keeping_told = *more = !list_empty(&s->keeping);
	LIST_EACH (l, &s->keeping) {
		struct sock_keep *e = container_of(l, struct sock_keep, link);

		if (e->old && found < n)
			name[found++] = e->name;
		e->old = true;
	}
	return found;
}

void keep_free(struct socks *s)
{
	for (uint32_t i = 0; s->keeps != NULL && i < CHAN_KEPT_PLACES; i++)
		clear(&s->keeps[i]);
	free(s->keeps);
	s->keeps = NULL;
}

static uint64_t name_of(const struct chan_sqe *q)
{
	uint64_t name;

	memcpy(&name, q->data, sizeof(name));
	return name;
}

static bool image_in_arena(const struct sock_cmd *c)
{
	uint64_t bytes = c->app->end.hdr.arena_bytes;
	const struct chan_sqe *q = c->q;

	return q->len > 0 && q->len <= CHAN_KEPT_IMAGE_MAX && q->off <= bytes &&
	       q->len <= bytes - q->off;
}

static int keep(struct sock_cmd *c, struct sock_keep *e)
{
	uint8_t *image = malloc(c->q->len);
	struct sock *h;
	int err;

	if (image == NULL)
		return -ENOMEM;
	err = share_with(c->k, c->s->keeper, &h);
	if (err != 0) {
		free(image);
		return err;
	}
	memcpy(image, (const uint8_t *)c->app->map->arena + c->q->off, c->q->len);
	e->image = image;
	e->n_image = c->q->len;
	e->sid = h->sid;
	e->old = false;
	list_init(&e->link);
	list_add_tail(&c->s->keeping, &e->link);
	if (!c->s->keeping_told)
		bell_wake(c->s->keeper->map->app_bell_fd);
	c->s->keeping_told = true;
	/* Who waits for what another gives back has nothing to give back. */
	if (c->k->share->owes == NULL)
		c->k->share->owes = c->k;
	return 0;
}

int cmd_keep(struct sock_cmd *c)
{
	struct sock_keep *e = find(c->s, name_of(c->q));

	if (!image_in_arena(c)) {
		c->s->n.bad_commands++;
		return -EINVAL;
	}
	if (e == NULL || c->s->keeper == NULL)
		return -ENOENT;
	if (e->sid != 0)
		return -EEXIST;
	if (c->k->kind != SOCK_CONN || c->k->revive != NULL)
		return -EBUSY;
	return keep(c, e);
}

int cmd_kept(struct sock_cmd *c)
{
	if (c->k->share != NULL && c->k->share->owes == c->k)
		share_owes_no_more(c->k);
	return SOCK_LATER;
}

int cmd_redeem(struct sock_cmd *c)
{
	struct sock_keep *e = find(c->s, name_of(c->q));
	const struct chan_sqe *q = c->q;
	struct sock *k, *h;
	int err;

	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	k = e != NULL && e->sid != 0 && c->s->keeper != NULL ? sock_find(c->s->keeper, e->sid)
							     : NULL;
	if (k == NULL || k->kind != SOCK_CONN)
		return -ENOENT;
	if (q->len < e->n_image)
		return -ENOBUFS;
	err = share_with(k, c->app, &h);
	if (err != 0)
		return err;
	memcpy(c->app->end.scratch + q->off, e->image, e->n_image);
	c->out.sid = h->sid;
	c->out.aux = h->limit;
	return (int)e->n_image;
}
