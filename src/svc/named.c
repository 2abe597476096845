/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ends that programs have in store, to pass connections on by their channels (keeper.c). Each has a
 * name, a secret by which the stack itself keeps a connection and gives it away (sock_keep.c); the
 * name stands at the end itself, so who has that has it, too. The control thread has to do with it
 * once for several when they are made, and when the last copy of an end is closed.
 *
 * What has not gone that way is *claimed*: it has no name any more, and is as if it had been passed
 * by the control thread. So it is when somebody brings the end, or writes into it; and when it has
 * been kept for a while, since it may be a stranger's (stranger.c). The stack says once that there
 * is something to look after, and is asked again as long as there is.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "svc/kept.h"

#define LOOK_NS 20000000 /* so long it is left alone, or twice that */
#define OLD_MAX 64	 /* at a time */

/* ---- what the stacks know ---- */

struct keep_call {
	struct sock_app *keeper;
	const uint64_t *name;
	unsigned n;
	int rc;
};

static void keep_begin(struct node_core *core, void *arg)
{
	struct keep_call *c = arg;

	(void)core;
	for (unsigned i = 0; i < c->n && c->rc == 0; i++)
		c->rc = socks_keep(c->keeper, c->name[i]);
}

static void keep_end(struct node_core *core, void *arg)
{
	const struct keep_call *c = arg;

	(void)core;
	for (unsigned i = 0; i < c->n; i++)
		socks_keep_end(c->keeper, c->name[i]);
}

static void call_all(struct service *s, void (*fn)(struct node_core *core, void *arg),
		     struct keep_call *c)
{
	for (unsigned i = 0; i < s->node.n; i++) {
		c->keeper = s->keeper->chan[i].app;
		node_call(&s->node.core[i], fn, c);
	}
}

void named_end(struct service *s, struct kept *k)
{
	struct keep_call c = {.name = &k->name, .n = 1};

	call_all(s, keep_end, &c);
	k->name = 0;
}

/* ---- claiming ---- */

struct claim_call {
	struct sock_app *keeper;
	struct kept *k;
	unsigned core;
};

static void claim(struct node_core *core, void *arg)
{
	struct claim_call *c = arg;
	struct kept *k = c->k;

	(void)core;
	_Static_assert(sizeof(k->image) == CHAN_KEPT_IMAGE_MAX, "it fits");
	k->sid[c->core] = socks_keep_claim(c->keeper, k->name, k->image, &k->n_image);
}

bool named_claim(struct service *s, struct kept *k)
{
	bool some = false;

	for (unsigned i = 0; i < s->node.n; i++) {
		struct claim_call c = {s->keeper->chan[i].app, k, i};

		node_call(&s->node.core[i], claim, &c);
		some |= k->sid[i] != 0;
	}
	if (!some)
		return false;
	/* Of cores on which nothing was kept. */
	named_end(s, k);
	stranger_begin(s, k);
	return true;
}

bool named_heard(struct service *s, struct kept *k, uint32_t events)
{
	char byte;

	if ((events & EPOLLHUP) != 0 && recv(k->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
		return false;
	return named_claim(s, k);
}

/* ---- what has been kept for a while ---- */

struct old_call {
	struct sock_app *keeper;
	uint64_t name[OLD_MAX];
	unsigned n;
	bool more;
};

static void ask_old(struct node_core *core, void *arg)
{
	struct old_call *c = arg;

	(void)core;
	c->n = socks_keep_old(c->keeper, c->name, OLD_MAX, &c->more);
}

static void claim_named(struct service *s, uint64_t name)
{
	LIST_EACH (l, &s->kept) {
		struct kept *k = container_of(l, struct kept, link);

		if (k->name != name)
			continue;
		if (!named_claim(s, k))
			return;
		/* Now. */
		k->look_ns = 0;
		list_del(&k->turn);
		list_insert(&s->strangers.fresh, &k->turn, s->strangers.fresh.next);
		return;
	}
}

void named_news(struct service *s)
{
	if (s->strangers.old_ns == 0)
		s->strangers.old_ns = node_now_ns() + LOOK_NS;
}

int64_t named_tick(struct service *s)
{
	int64_t now = s->strangers.old_ns != 0 ? node_now_ns() : 0;
	bool more = false;

	if (s->strangers.old_ns == 0 || s->strangers.old_ns > now)
		return s->strangers.old_ns == 0 ? -1 : s->strangers.old_ns - now;
	for (unsigned i = 0; i < s->node.n; i++) {
		struct old_call c = {.keeper = s->keeper->chan[i].app};

		node_call(&s->node.core[i], ask_old, &c);
		for (unsigned n = 0; n < c.n; n++)
			claim_named(s, c.name[n]);
		more |= c.more;
	}
	s->strangers.old_ns = more ? now + LOOK_NS : 0;
	return more ? LOOK_NS : -1;
}

/* ---- ends ---- */

static bool place_taken(const struct service *s, uint64_t name)
{
	LIST_EACH (l, &s->kept) {
		const struct kept *k = container_of(l, struct kept, link);

		if (k->name != 0 && chan_kept_place(k->name) == chan_kept_place(name))
			return true;
	}
	return false;
}

/* A secret, and the first place from a random one on that is free: kept_room() leaves one. */
static uint64_t name_new(const struct service *s)
{
	uint64_t name;

	if (getrandom(&name, sizeof(name), 0) != sizeof(name))
		return 0;
	name = (name >> 1) | CHAN_KEPT_PLACES; /* neither 0 nor all ones */
	while (place_taken(s, name))
		name = (name & ~(uint64_t)(CHAN_KEPT_PLACES - 1)) |
		       ((name + 1) & (CHAN_KEPT_PLACES - 1));
	return name;
}

static int end_named(struct service *s, struct kept *k)
{
	int end = kept_open(s, k);

	if (end < 0)
		return end;
	if (setsockopt(end, SOL_SOCKET, SO_MAX_PACING_RATE, &k->name, sizeof(k->name)) == 0)
		return end;
	close(end);
	return -ENOTSUP;
}

/* One more for this program: the descriptor, or -errno. */
static int end_new(struct service *s, const struct app *a, uint64_t *name)
{
	struct kept *k;
	int rc;

	if (!kept_room(s, a->uid))
		return -ETOOMANYREFS;
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return -ENOMEM;
	*k = (struct kept){.fd = -1, .twin = -1, .uid = a->uid, .state = KEPT_NAMED};
	k->name = *name = name_new(s);
	list_init(&k->link);
	list_init(&k->turn);
	list_add_tail(&s->kept, &k->link);
	rc = k->name != 0 ? end_named(s, k) : -EAGAIN;
	if (rc < 0)
		kept_free(s, k);
	return rc;
}

static int names_issue(struct service *s, const uint64_t *name, unsigned n)
{
	struct keep_call c = {.name = name, .n = n};

	call_all(s, keep_begin, &c);
	return c.rc;
}

void keeper_ends(struct service *s, struct app *a, struct attach_msg *m)
{
	uint32_t want = m->ends.n < ATTACH_ENDS_MAX ? m->ends.n : ATTACH_ENDS_MAX;
	struct attach_ends out = {.id = m->ends.id, .res = keeper_get(s)};
	int fd[ATTACH_ENDS_MAX];

	while (out.res == 0 && out.n < want) {
		int end = end_new(s, a, &out.name[out.n]);

		if (end >= 0)
			fd[out.n++] = end;
		else
			out.res = end;
	}
	if (out.n > 0)
		out.res = names_issue(s, out.name, out.n);
	(void)!attach_send(a->sock, ATTACH_ENDS_ARE, &out, sizeof(out), fd,
			   out.res == 0 ? out.n : 0);
	while (out.n > 0)
		close(fd[--out.n]);
}
