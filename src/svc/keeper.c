/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets on their way from one program to another (docs/design/011, 6). What travels is one end of
 * a pair of UNIX sockets that is made here; as long as it exists anywhere, in a program or in a
 * message that nobody has read, the other end, which stays here, is not closed. Meanwhile the
 * keeper holds the socket: an application of the service's own, which is told nothing
 * (sock_park.c). Who comes with the end, which is known by the kernel's number for it, becomes a
 * holder.
 *
 * For a connection, which is what is mostly passed, there is a shorter way: programs have some ends
 * in store, each with a name, under which the stack itself keeps a connection and gives it to
 * whoever has the name (sock_keep.c, named.c).
 *
 * Both may be hostile (H32, H37): names are looked up in the application of who asks; an end that
 * is not ours is nothing; what one user has on its way is limited, and so is what goes with it.
 * Who has the end may have the socket, of whatever user or trust domain he is, as with descriptors
 * of the kernel's; the end can't be guessed, only be given.
 *
 * Who has not got the library is served a connection by the pair itself (stranger.c). Of any other
 * socket the end says to him that the stream is over; a byte that he writes ends the keeping, so
 * that he gets EPIPE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "svc/kept.h"

/* On their way, of one user, and of all; and in descriptors, as parts of what the service may have:
 * programs need those to attach. */
#define KEPT_USER_MAX  1024
#define KEPT_MAX       CHAN_KEPT_PLACES
#define KEPT_USER_PART 16
#define KEPT_PART      4
#define SMALL	       64 /* what the keeper's channel has of everything else */

/* ---- the keeper ---- */

static int keeper_make(struct service *s, struct app *a)
{
	struct chan_geometry g = {
		.sq_size = SMALL,
		.cq_size = SMALL,
		.ret_size = SMALL,
		.done_size = SMALL,
		.max_loans = SMALL,
		.max_tokens = SMALL,
		.max_sockets = KEPT_MAX,
		.arena_bytes = 64u << 10,
	};
	int rc = app_make_channels(s, a, &g, NULL, 0);

	s->keeper = a;
	if (rc == 0)
		rc = app_attach(s, a, NULL);
	if (rc == 0)
		rc = strangers_open(s);
	if (rc == 0)
		return 0;
	s->keeper = NULL;
	return rc;
}

/* It stands on no list of programs. */
int keeper_get(struct service *s)
{
	struct app *a;
	int rc;

	if (s->keeper != NULL)
		return 0;
	a = app_new(s, -1);
	if (a == NULL)
		return -ENOMEM;
	list_del(&a->link);
	s->n_apps--;
	a->state = APP_FORKED;
	rc = keeper_make(s, a);
	if (rc == 0)
		return 0;
	s->n_apps++;
	list_add_tail(&s->apps, &a->link);
	app_detach(s, a, false, NULL);
	return rc;
}

/* ---- its sockets ---- */

struct share_call {
	struct sock_app *from, *to;
	uint32_t sid, out;
	int rc;
};

static void share(struct node_core *core, void *arg)
{
	struct share_call *c = arg;

	(void)core;
	c->rc = socks_share(c->from, c->sid, c->to, &c->out);
}

static void drop(struct node_core *core, void *arg)
{
	struct share_call *c = arg;

	(void)core;
	socks_drop(c->to, c->sid);
}

void app_drop_socks(struct service *s, struct app *of, const uint32_t *sid)
{
	for (unsigned i = 0; i < s->node.n; i++) {
		struct share_call c = {.to = of->chan[i].app, .sid = sid[i]};

		if (sid[i] != 0 && c.to != NULL)
			node_call(&s->node.core[i], drop, &c);
	}
}

/* On each core; all or none. */
static int share_all(struct service *s, struct app *from, const uint32_t *sid, struct app *to,
		     uint32_t *out)
{
	bool some = false;

	memset(out, 0, EMBED_CORES_MAX * sizeof(*out));
	for (unsigned i = 0; i < s->node.n; i++) {
		struct share_call c = {from->chan[i].app, to->chan[i].app, .sid = sid[i]};

		if (sid[i] == 0)
			continue;
		node_call(&s->node.core[i], share, &c);
		out[i] = c.out;
		some = true;
		if (c.rc < 0) {
			out[i] = 0;
			app_drop_socks(s, to, out);
			return c.rc;
		}
	}
	return some ? 0 : -EBADF;
}

/* ---- ends ---- */

void kept_free(struct service *s, struct kept *k)
{
	stranger_forget(s, k);
	if (k->fd >= 0) {
		service_unwatch(s, k->fd);
		close(k->fd);
	}
	if (k->twin >= 0)
		close(k->twin);
	list_del(&k->link);
	free(k);
}

struct close_call {
	struct sock_app *keeper;
	uint32_t sid;
	bool reset;
};

static void close_one(struct node_core *core, void *arg)
{
	const struct close_call *c = arg;

	(void)core;
	socks_kept_close(c->keeper, c->sid, c->reset);
}

void kept_end(struct service *s, struct kept *k, bool reset)
{
	if (k->name != 0)
		named_end(s, k);
	for (unsigned i = 0; i < s->node.n; i++) {
		struct close_call c = {s->keeper->chan[i].app, k->sid[i], reset};

		if (c.sid != 0)
			node_call(&s->node.core[i], close_one, &c);
	}
	kept_free(s, k);
}

static void kept_ready(struct service *s, struct source *src, uint32_t events)
{
	struct kept *k = container_of(src, struct kept, end);

	if (k->name != 0 && !named_heard(s, k, events))
		kept_end(s, k, false);
	else
		stranger_heard(s, k, events);
}

static uint64_t cookie_of(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t cookie = 0;

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/* By its name a program sees what it has got. */
static int name(int fd)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	uint64_t r;
	int n;

	if (getrandom(&r, sizeof(r), 0) != sizeof(r))
		return -EAGAIN;
	n = snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, ATTACH_KEPT "%016llx",
		     (unsigned long long)r);
	return bind(fd, (struct sockaddr *)&at,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0
		       ? -errno
		       : 0;
}

int kept_open(struct service *s, struct kept *k)
{
	int pair[2], rc;

	k->end.ready = kept_ready;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	k->fd = pair[0];
	k->cookie = cookie_of(pair[1]);
	rc = k->cookie != 0 ? name(k->fd) : -ENOTSUP;
	if (rc == 0)
		rc = service_watch(s, &k->end, k->fd);
	if (rc == 0)
		return pair[1];
	close(pair[1]);
	return rc;
}

/* ---- messages ---- */

struct kept_count {
	unsigned n;
	rlim_t fds;
};

static void count(struct kept_count *c, const struct kept *k)
{
	c->n++;
	c->fds += k->twin >= 0 ? 2 : 1;
}

bool kept_room(const struct service *s, uid_t uid)
{
	struct kept_count mine = {0}, all = {0};
	struct rlimit r;

	LIST_EACH (l, &s->kept) {
		const struct kept *k = container_of(l, struct kept, link);

		count(&all, k);
		if (k->uid == uid)
			count(&mine, k);
	}
	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return false;
	return mine.n < KEPT_USER_MAX && all.n < KEPT_MAX &&
	       mine.fds + 2 <= r.rlim_cur / KEPT_USER_PART && all.fds + 2 <= r.rlim_cur / KEPT_PART;
}

/* A kernel's socket of the same port. Nothing that others can be put into: what travels, sent to a
 * UNIX socket that only the keeper has, would keep itself for ever. */
static bool may_go_with(int fd)
{
	socklen_t len = sizeof(int);
	int domain;

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       (domain == AF_INET || domain == AF_INET6);
}

static int take(struct service *s, struct app *a, struct attach_msg *m)
{
	const struct attach_pass *p = &m->pass;
	struct kept *k;
	int rc;

	if (!kept_room(s, a->uid))
		return -ETOOMANYREFS;
	if (p->n_image > sizeof(p->image) || m->n_fds > 1 ||
	    (m->n_fds == 1 && !may_go_with(m->fd[0])))
		return -EINVAL;
	rc = keeper_get(s);
	k = rc == 0 ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL)
		return rc < 0 ? rc : -ENOMEM;
	k->fd = k->twin = -1;
	if (m->n_fds == 1) {
		k->twin = m->fd[0];
		m->fd[0] = -1;
	}
	k->note = p->note;
	k->uid = a->uid;
	k->n_image = p->n_image;
	memcpy(k->image, p->image, sizeof(k->image));
	list_init(&k->link);
	list_add_tail(&s->kept, &k->link);
	list_init(&k->turn);
	stranger_begin(s, k);
	rc = share_all(s, a, p->sid, s->keeper, k->sid);
	if (rc == 0)
		rc = kept_open(s, k);
	if (rc >= 0)
		return rc;
	app_drop_socks(s, s->keeper, k->sid);
	kept_free(s, k);
	return rc;
}

void keeper_take(struct service *s, struct app *a, struct attach_msg *m)
{
	struct attach_pass out = {.id = m->pass.id};
	int fd = take(s, a, m);

	out.res = fd < 0 ? fd : 0;
	(void)!attach_send(a->sock, ATTACH_PASSED, &out, sizeof(out), &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

static struct kept *find(const struct service *s, const struct attach_msg *m)
{
	uint64_t cookie = m->n_fds == 1 ? cookie_of(m->fd[0]) : 0;

	LIST_EACH (l, &s->kept) {
		struct kept *k = container_of(l, struct kept, link);

		if (cookie != 0 && k->cookie == cookie)
			return k;
	}
	return NULL;
}

void keeper_give(struct service *s, struct app *a, struct attach_msg *m)
{
	struct attach_pass out = {.id = m->pass.id, .res = -ENOENT};
	struct kept *k = find(s, m);

	_Static_assert(sizeof(out.sid) == sizeof(k->sid), "a name for each core");
	if (k != NULL && k->name != 0 && !named_claim(s, k))
		k = NULL;
	if (k != NULL)
		out.res = stranger_yields(s, k, a, m->fd[0], m->pass.note);
	if (out.res < 0)
		k = NULL;
	if (k != NULL) {
		out.res = share_all(s, s->keeper, k->sid, a, out.sid);
		out.n_image = k->n_image;
		out.note = k->note;
		memcpy(out.image, k->image, sizeof(out.image));
	}
	(void)!attach_send(a->sock, ATTACH_REDEEMED, &out, sizeof(out), k != NULL ? &k->twin : NULL,
			   out.res == 0 && k->twin >= 0);
}

void keeper_close(struct service *s)
{
	while (!list_empty(&s->kept))
		kept_free(s, container_of(s->kept.next, struct kept, link));
	if (s->keeper == NULL)
		return;
	strangers_close(s);
	app_detach(s, s->keeper, true, NULL);
}

void keeper_free(struct service *s)
{
	if (s->keeper == NULL)
		return;
	s->n_apps++;
	app_free(s, s->keeper);
	s->keeper = NULL;
}
