/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Receivers of a passed connection that have not got the library (docs/design/011, 6). Nobody says
 * who will have the end that travels: so, when nobody else holds the connection, the keeper feeds
 * it. It copies the first unread bytes into its own end of the pair, and leaves them unread. Who
 * comes with the end after that takes them out again, and gets the connection as it was. If they
 * are read, or anything is written, the receiver is a stranger, and from then on the pair carries
 * the stream, both ways, until an end.
 *
 *	NEW ──► WAITS ──► FED ──► SERVED          who redeems:
 *	         │ ▲       └─ taken out ◄──────────  FED
 *	         │ └───────┘                         at once ◄── NEW, WAITS
 *	         └── written to ──► SERVED           refused ◄── SERVED
 *
 * While others hold it nothing is fed: they read, and what lies in the pair can't be taken back by
 * us. A word of the stranger's starts it then.
 *
 * All of it is done in the control thread, which is everybody's: one turn of one stream, of CHUNK
 * bytes each way at most, between two events of others. A stream has no memory here but of what its
 * stranger does not read, or its peer not acknowledge; the more there are, the less each may have.
 *
 * The end that travels is only asked here how much is in there, not read: who reads it at the same
 * time, into memory that he does not provide, would stop us.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/bell.h"
#include "svc/kept.h"

#define LOOK_NS	   20000000 /* after the send: who has the library has mostly come by then */
#define FEED_BYTES 16384    /* at most, as it comes */
#define CHUNK	   16384u
#define NEWS	   64 /* at a time */

/* Of what all may have on its way in each direction, each stream may have its part. */
#define FLIGHT_ALL (16u << 20)
#define FLIGHT_MIN (16u << 10)
#define FLIGHT_MAX (256u << 10)

#define EDGES (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static uint32_t flight(const struct service *s)
{
	uint32_t part = FLIGHT_ALL / (s->strangers.n_served + 1);

	return part < FLIGHT_MIN ? FLIGHT_MIN : part > FLIGHT_MAX ? FLIGHT_MAX : part;
}

/* ---- whose turn it is ---- */

static void wants_turn(struct service *s, struct kept *k)
{
	if (list_linked(&k->turn))
		return;
	if (list_empty(&s->strangers.turns))
		bell_wake(s->strangers.bell);
	list_add_tail(&s->strangers.turns, &k->turn);
}

/* ---- the stack's side ---- */

struct turn_call {
	struct sock_app *keeper;
	uint32_t sid;
	struct sock_kept t;
	bool there;
};

static void turn(struct node_core *core, void *arg)
{
	struct turn_call *c = arg;

	(void)core;
	c->there = socks_kept_turn(c->keeper, c->sid, &c->t);
}

static bool make_turn(struct service *s, struct kept *k, struct sock_kept *t)
{
	struct turn_call c = {s->keeper->chan[k->core].app, k->sid[k->core], *t, false};

	c.t.name = (uintptr_t)k;
	c.t.in_flight = flight(s);
	node_call(&s->node.core[k->core], turn, &c);
	*t = c.t;
	return c.there;
}

static void streams(struct node_core *core, void *arg)
{
	struct turn_call *c = arg;

	(void)core;
	c->there = socks_kept_streams(c->keeper, c->sid);
}

/* Is it a connection? Those have a name on one core. */
static bool can_be_served(struct service *s, struct kept *k)
{
	struct turn_call c = {.there = false};
	unsigned n = 0;

	for (unsigned i = 0; i < s->node.n; i++) {
		if (k->sid[i] == 0)
			continue;
		k->core = i;
		n++;
	}
	if (n != 1)
		return false;
	c.keeper = s->keeper->chan[k->core].app;
	c.sid = k->sid[k->core];
	node_call(&s->node.core[k->core], streams, &c);
	return c.there;
}

/* ---- a receiver that is not known yet ---- */

/* Or more of it: there are receivers that look (MSG_PEEK) until they have seen enough. */
static void feed(struct service *s, struct kept *k)
{
	static uint8_t buf[FEED_BYTES];
	struct sock_kept t = {.buf = buf, .max = sizeof(buf), .only_sole = true};
	ssize_t n;

	if (k->fed == FEED_BYTES || k->redeemer != 0 || !make_turn(s, k, &t) || !t.sole)
		return;
	if (t.n > k->fed) {
		n = send(k->fd, buf + k->fed, t.n - k->fed, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return;
		k->fed += (uint32_t)n;
		if (k->state == KEPT_WAITS)
			service_rewatch(s, &k->end, k->fd, EDGES);
		k->state = KEPT_FED;
	} else if (k->fed > 0) {
		return;
	} else if (t.fin || t.error != 0) {
		/* Who only reads is told no more of an error than the end. */
		(void)shutdown(k->fd, SHUT_WR);
	}
}

/* The first look. */
static void meet(struct service *s, struct kept *k)
{
	list_del(&k->turn);
	if (can_be_served(s, k)) {
		k->state = KEPT_WAITS;
		return;
	}
	k->state = KEPT_NONE;
	(void)shutdown(k->fd, SHUT_WR);
}

static int unread_in(int fd)
{
	int n;

	return ioctl(fd, SIOCINQ, &n) == 0 && n > 0 ? n : 0;
}

static bool all_read(int fd)
{
	int n;

	return ioctl(fd, SIOCOUTQ, &n) == 0 && n == 0;
}

static bool left_unread(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) == 0 && err == ECONNRESET;
}

/* From here on what is in the pair is the stranger's. */
static void serve(struct service *s, struct kept *k)
{
	int bytes = (int)flight(s) / 2; /* the kernel takes it twice */

	k->state = KEPT_SERVED;
	s->strangers.n_served++;
	(void)setsockopt(k->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	service_rewatch(s, &k->end, k->fd, EDGES);
	wants_turn(s, k);
}

/* ---- a stranger ---- */

/* To the stranger: how many of the bytes. */
static uint32_t put(struct kept *k, const uint8_t *bytes, uint32_t n)
{
	ssize_t r = k->discards ? (ssize_t)n : send(k->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (r >= 0)
		return (uint32_t)r;
	if (errno != EPIPE && errno != ECONNRESET)
		return 0;
	k->discards = true; /* or it hung up, which is seen by itself */
	k->unread = true;
	return n;
}

static void put_left(struct kept *k)
{
	uint32_t n = put(k, k->left + k->at, k->n_left);

	k->at += n;
	k->n_left -= n;
	if (k->n_left > 0)
		return;
	free(k->left);
	k->left = NULL;
}

/* False: there is no memory for the rest. */
static bool put_or_leave(struct kept *k, const uint8_t *bytes, uint32_t n)
{
	uint32_t done = n > 0 ? put(k, bytes, n) : 0;

	if (done == n)
		return true;
	k->left = malloc(n - done);
	if (k->left == NULL)
		return false;
	memcpy(k->left, bytes + done, n - done);
	k->at = 0;
	k->n_left = n - done;
	return true;
}

static bool hangs_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
}

/* From the stranger, without taking it out: it may be that it can't be sent. */
static uint32_t look_out(struct kept *k, uint8_t *buf)
{
	ssize_t n = 0;

	if (k->room == 0 || k->out_end)
		return 0;
	n = recv(k->fd, buf, k->room < CHUNK ? k->room : CHUNK, MSG_DONTWAIT | MSG_PEEK);
	if (n < 0 && errno == ECONNRESET) {
		k->unread = true;
		n = 0;
	} else if (n < 0) {
		return 0;
	}
	k->out_end = n == 0;
	k->hung_up |= n == 0 && hangs_up(k->fd);
	return (uint32_t)n;
}

/* What the stranger wrote was taken, or will never be. */
static void took_out(struct kept *k, const struct sock_kept *t)
{
	static uint8_t thrown[CHUNK];
	ssize_t n = 1;

	if (t->n_send == 0 || t->send_error == -ENOMEM)
		return;
	/* With descriptors among it, it may come in pieces. */
	for (uint32_t left = t->n_send; left > 0 && n > 0; left -= (uint32_t)n) {
		n = recv(k->fd, thrown, left, MSG_DONTWAIT);
		n = n < 0 ? 0 : n;
	}
	if (t->send_error == 0)
		return;
	(void)shutdown(k->fd, SHUT_RD); /* EPIPE */
	k->out_end = true;
}

static bool is_over(const struct kept *k, const struct sock_kept *t)
{
	if (k->out_end && (k->hung_up || k->in_end))
		return true;
	return t->error != 0 && t->n == 0 && k->left == NULL;
}

/* One turn. True: there may be more to do. */
static bool carry(struct service *s, struct kept *k)
{
	static uint8_t in[CHUNK], out[CHUNK];
	struct sock_kept t = {.consume = k->fed, .take = true, .buf = in, .send = out};
	bool ended = k->out_end, was_full = k->room == 0;

	if (k->left != NULL)
		put_left(k);
	t.max = k->left == NULL && !k->in_end ? CHUNK : 0;
	t.n_send = look_out(k, out);
	/* Who hangs up ends his own hold alone. */
	t.end = k->out_end && !ended && !k->hung_up;
	if (!make_turn(s, k, &t)) {
		kept_end(s, k, false);
		return false;
	}
	k->fed = 0;
	k->room = t.room;
	took_out(k, &t);
	if (!put_or_leave(k, in, t.n)) {
		kept_end(s, k, true);
		return false;
	}
	if (t.fin && k->left == NULL && !k->in_end) {
		(void)shutdown(k->fd, SHUT_WR);
		k->in_end = true;
	}
	if (!is_over(k, &t))
		return t.n > 0 || t.n_send > 0 || t.end || (was_full && k->room > 0);
	kept_end(s, k, k->unread || k->left != NULL);
	return false;
}

/* ---- what happens ---- */

static void heard_unknown(struct service *s, struct kept *k, bool hung_up)
{
	if (hung_up && unread_in(k->fd) == 0) {
		kept_end(s, k, false);
		return;
	}
	if (k->state == KEPT_NEW)
		meet(s, k);
	if (k->state == KEPT_NONE) {
		kept_end(s, k, false);
		return;
	}
	k->hung_up = hung_up;
	serve(s, k);
}

static bool is_here(const struct service *s, uint64_t id)
{
	LIST_EACH (l, &s->apps) {
		const struct app *a = container_of(l, struct app, link);

		if (a->id == id && a->state == APP_READY)
			return true;
	}
	return false;
}

static void heard_fed(struct service *s, struct kept *k, uint32_t events)
{
	bool hung_up = (events & EPOLLHUP) != 0;

	if (k->redeemer != 0) {
		/* How far that one came nobody knows. */
		if (hung_up || !is_here(s, k->redeemer))
			kept_end(s, k, true);
		return;
	}
	if (!(events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) && !all_read(k->fd))
		return;
	k->hung_up = hung_up;
	k->unread = hung_up && left_unread(k->fd);
	serve(s, k);
}

static void heard_served(struct service *s, struct kept *k, uint32_t events)
{
	if (events & EPOLLHUP) {
		k->hung_up = true;
		k->unread |= left_unread(k->fd);
	}
	if (k->left != NULL || (events & ~(uint32_t)EPOLLOUT) != 0)
		wants_turn(s, k);
}

void stranger_heard(struct service *s, struct kept *k, uint32_t events)
{
	if (k->state == KEPT_SERVED)
		heard_served(s, k, events);
	else if (k->state == KEPT_FED)
		heard_fed(s, k, events);
	else
		heard_unknown(s, k, (events & EPOLLHUP) != 0);
}

static void turn_ready(struct service *s, struct source *src, uint32_t events)
{
	struct list *l = list_pop(&s->strangers.turns);
	struct kept *k = container_of(l, struct kept, turn);

	(void)src;
	(void)events;
	if (l != NULL && (k->state == KEPT_WAITS || k->state == KEPT_FED))
		feed(s, k);
	else if (l != NULL && k->state == KEPT_SERVED && carry(s, k))
		list_add_tail(&s->strangers.turns, &k->turn);
	if (list_empty(&s->strangers.turns))
		bell_drain(s->strangers.bell);
}

struct news_call {
	struct sock_app *keeper;
	uint64_t name[NEWS];
	unsigned n;
};

static void ask_news(struct node_core *core, void *arg)
{
	struct news_call *c = arg;

	(void)core;
	c->n = socks_kept_news(c->keeper, c->name, NEWS);
}

static void news_ready(struct service *s, struct source *src, uint32_t events)
{
	unsigned core = (unsigned)(src - s->strangers.news);
	struct news_call c = {.keeper = s->keeper->chan[core].app};

	(void)events;
	bell_empty(s->keeper->chan[core].shared_bell);
	named_news(s);
	do {
		node_call(&s->node.core[core], ask_news, &c);
		for (unsigned i = 0; i < c.n; i++)
			wants_turn(s, (struct kept *)(uintptr_t)c.name[i]);
	} while (c.n == NEWS);
}

int64_t strangers_tick(struct service *s)
{
	int64_t now, named;

	if (s->keeper == NULL)
		return -1;
	named = named_tick(s);
	if (list_empty(&s->strangers.fresh))
		return named;
	now = node_now_ns();
	while (!list_empty(&s->strangers.fresh)) {
		struct kept *k = container_of(s->strangers.fresh.next, struct kept, turn);

		if (k->look_ns > now)
			return sooner(named, k->look_ns - now);
		meet(s, k);
		if (k->state == KEPT_WAITS)
			wants_turn(s, k);
	}
	return named;
}

/* ---- who redeems it ---- */

/* What was fed lies nowhere any more. What its receiver did not take out somebody has read. */
static int taken_out(struct service *s, struct kept *k)
{
	struct sock_kept t = {.consume = k->fed - k->out_again, .only_sole = true};

	k->fed = 0;
	k->redeemer = 0;
	k->state = KEPT_WAITS;
	service_rewatch(s, &k->end, k->fd, EPOLLIN);
	return make_turn(s, k, &t) ? 0 : -ENOENT;
}

int stranger_yields(struct service *s, struct kept *k, const struct app *a, int fd, uint32_t n)
{
	if (k->state == KEPT_SERVED)
		return -EALREADY;
	if (k->state != KEPT_FED)
		return 0;
	if (k->redeemer == 0) {
		k->redeemer = a->id;
		k->out_again = 0;
	} else if (k->redeemer == a->id) {
		k->out_again += n < k->fed - k->out_again ? n : k->fed - k->out_again;
	} else if (is_here(s, k->redeemer)) {
		return -EBUSY;
	} else {
		kept_end(s, k, true);
		return -ENOENT;
	}
	return unread_in(fd) > 0 ? -EAGAIN : taken_out(s, k);
}

/* ---- its life ---- */

void stranger_begin(struct service *s, struct kept *k)
{
	k->state = KEPT_NEW;
	k->look_ns = node_now_ns() + LOOK_NS;
	list_add_tail(&s->strangers.fresh, &k->turn);
}

void stranger_forget(struct service *s, struct kept *k)
{
	list_del(&k->turn);
	free(k->left);
	k->left = NULL;
	if (k->state == KEPT_SERVED)
		s->strangers.n_served--;
}

int strangers_open(struct service *s)
{
	int rc = 0;

	list_init(&s->strangers.fresh);
	list_init(&s->strangers.turns);
	s->strangers.on_turn.ready = turn_ready;
	s->strangers.bell = bell_open();
	if (s->strangers.bell < 0)
		return s->strangers.bell;
	rc = service_watch(s, &s->strangers.on_turn, s->strangers.bell);
	for (unsigned i = 0; i < s->node.n && rc == 0; i++) {
		s->strangers.news[i].ready = news_ready;
		rc = service_watch(s, &s->strangers.news[i], s->keeper->chan[i].shared_bell);
	}
	if (rc < 0)
		strangers_close(s);
	return rc;
}

void strangers_close(struct service *s)
{
	for (unsigned i = 0; i < s->node.n; i++)
		service_unwatch(s, s->keeper->chan[i].shared_bell);
	if (s->strangers.bell < 0)
		return;
	service_unwatch(s, s->strangers.bell);
	close(s->strangers.bell);
	s->strangers.bell = -1;
}
