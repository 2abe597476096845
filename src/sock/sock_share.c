/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See sock_share.h.
 *
 * Reading from a shared connection copies: a reader gets the bytes that it asked for and no more,
 * in buffers of its own, which are counted in domain_copied_bytes. Not done: urgent data of shared
 * connections stands in the stream like any other; errors that ICMP reports go to one holder.
 */
#include <stdlib.h>

#include "sock/sock_share.h"
#include "sock/sock_udp.h"

#define HOLDERS_MAX    2048 /* of one socket: each is looked at when something comes */
#define READ_BUFS_MAX  16   /* of one CHAN_OP_READ */
#define READ_BYTES_MAX (READ_BUFS_MAX * 2048u)

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

/* ---- news ---- */

static void tell_readable(struct sock *h)
{
	h->flags &= (uint16_t)~SOCKF_WANT;
	sock_news(h, NEWS_READABLE);
}

/* Will what it is told now wake it? */
static bool app_sleeps(const struct sock_app *a)
{
	return atomic_load_explicit(&a->end.sh->bells.app_armed, memory_order_relaxed) != 0;
}

/* EPOLLEXCLUSIVE: who is awake looks before it sleeps, and is told; of those that sleep one is
 * woken, each in its turn. Who was told and goes without having asked is replaced (share_leave). */
static void tell_one(struct sock_desc *sh)
{
	uint32_t first = sh->turn;

	for (uint32_t i = 0; i < sh->n; i++) {
		uint32_t at = (first + i) % sh->n;
		struct sock *h = sh->holder[at];
		bool sleeps = app_sleeps(h->app);

		if (!h->exclusive || !(h->flags & SOCKF_WANT))
			continue;
		tell_readable(h);
		if (!sleeps)
			continue;
		sh->turn = at + 1;
		return;
	}
}

void share_readable(struct sock *k)
{
	struct sock_desc *sh = k->share;
	bool one = false;

	if (unlikely(sh->owes != NULL))
		return;

	for (uint32_t i = 0; i < sh->n; i++) {
		struct sock *h = sh->holder[i];

		if (unlikely(lease_holder(sh) == h)) {
			sock_news(h, NEWS_DATA);
			continue;
		}
		if (!(h->flags & SOCKF_WANT))
			continue;
		if (h->exclusive)
			one = true;
		else
			tell_readable(h);
	}
	if (one)
		tell_one(sh);
}

int cmd_exclusive(struct sock_cmd *c)
{
	struct sock *k = c->k;

	if (k->share == NULL)
		return 0; /* it is being told so */
	k->exclusive = c->q->arg[0] != 0;
	if (!k->exclusive && !share_is_sole(k->share) && share_has_more(k))
		share_readable(k);
	return 0;
}

void share_tcp_event(struct sock *k, uint32_t events)
{
	struct sock_desc *sh = k->share;

	/* Behind the data that it is lent. */
	if ((events & TCP_EV_FIN) && lease_holder(sh) != NULL)
		lease_holder(sh)->news |= NEWS_DATA | NEWS_READABLE;
	if (events & (TCP_EV_DATA | TCP_EV_FIN | TCP_EV_ERROR))
		share_readable(k);
	/* The last holder waits for what stands before a gap. */
	if (sh->n == 1 && (events & TCP_EV_DATA))
		sock_news(k, NEWS_DATA);
	for (uint32_t i = 0; i < sh->n; i++) {
		struct sock *h = sh->holder[i];

		if (events & TCP_EV_ERROR) {
			h->error = tcp_conn_error(h->conn);
			sock_news(h, NEWS_FATAL);
		} else if (tcp_sock_limit(h) != h->limit) {
			h->limit = tcp_sock_limit(h);
			sock_news(h, NEWS_LIMIT);
		}
	}
}

/* What the connection has, as far as it is not told otherwise. */
static uint16_t news_of(const struct sock *k)
{
	if (k->kind == SOCK_LISTEN)
		return NEWS_ACCEPT;
	if (k->kind == SOCK_UDP)
		return NEWS_DATA;
	if (k->kind != SOCK_CONN)
		return 0;
	return NEWS_DATA | (tcp_conn_got_fin(k->conn) ? NEWS_FIN : 0);
}

/* Connections that were given back when there were several. */
static bool tell_parked(struct sock *k)
{
	while (!list_empty(&k->share->parked)) {
		if (!app_room(k->app, 1) || !sock_slot_free(k->app))
			return false;
		(void)park_accept(k);
	}
	return true;
}

bool share_tell_sole(struct sock *k)
{
	struct sock_desc *sh = k->share;
	bool wait = false;

	if (k->flags & SOCKF_PARKED) {
		bool limit = k->news == NEWS_LIMIT; /* in which the keeper takes no interest */

		k->news = 0;
		if (unlikely(k->watched) && !limit)
			kept_news(k);
		return true;
	}
	if (unlikely(sh->n == 1 && sh->lease != NULL) && lease_end(sh) != 0)
		return false;
	if (!lease_tell_end(k))
		return false;
	if (!share_is_sole(sh) || sh->owes != NULL) {
		k->news &= (uint16_t) ~(NEWS_FIN | NEWS_URG | NEWS_ACCEPT);
		if (lease_holder(sh) != k)
			k->news &= (uint16_t)~NEWS_DATA;
		return true;
	}
	if (!app_room(k->app, 1))
		return false;
	if (!sh->told) {
		struct chan_cqe *e = app_event(k->app);

		*e = (struct chan_cqe){.ev = CHAN_EV_SOLE, .sid = k->sid};
		sh->told = true;
	}
	if (!pending_tell(k, &wait) || !tell_parked(k))
		return false;
	if (unlikely(wait)) {
		k->news &= (uint16_t) ~(NEWS_DATA | NEWS_FIN | NEWS_URG);
		return true;
	}
	share_free(k);
	k->flags &= (uint16_t)~SOCKF_WANT;
	k->exclusive = false;
	k->news |= news_of(k);
	sock_link_look(k);
	return true;
}

/* ---- reading ---- */

/* What is lent here is charged to nobody's window: the note names no socket. */
static bool lend_copy(struct sock *k, struct rte_mbuf *m, bool looks)
{
	struct chan_cqe *e;
	struct sock_lent lent;

	if (!sock_lend(k, &m, &lent)) {
		pkt_free(m);
		return false;
	}
	pkt_note_set(m, 0);
	k->lent--;
	e = app_event(k->app);
	*e = (struct chan_cqe){.ev = CHAN_EV_DATA,
			       .flags = looks ? CHAN_CQ_COPY : 0,
			       .sid = k->sid,
			       .res = m->data_len,
			       .off = lent.off,
			       .region = lent.region,
			       .loan = lent.loan};
	return true;
}

static int32_t read_stream(struct sock *k, uint32_t want, bool looks)
{
	struct sock_app *a = k->app;
	struct rte_mempool *pool = a->own != NULL ? a->own->pool : a->s->cfg.pools->rx;
	uint32_t bufs = app_lend_room(a, READ_BUFS_MAX), done = 0;
	struct rte_mbuf *to;
	int64_t there;

	there = pending_gather(k, want < READ_BYTES_MAX ? want : READ_BYTES_MAX);
	if (there < 0)
		return SOCK_STALL;
	want = (uint32_t)there;
	if (want == 0)
		return tcp_conn_got_fin(k->conn) ? 0 : -EAGAIN;
	while (done < want && bufs-- > 0 && app_room(a, 2) && (to = pkt_alloc(pool)) != NULL) {
		uint32_t n = pkt_room(to);

		n = n < want - done ? n : want - done;
		(void)pkt_copy_out(k->share->pending.first, done, n, pkt_put(to, (uint16_t)n));
		if (!lend_copy(k, to, looks))
			return -EFAULT;
		done += n;
	}
	a->s->n.domain_copied_bytes += done;
	if (done == 0)
		return SOCK_STALL; /* there is something, and no buffer for it */
	if (!looks)
		pending_consume(k, done);
	return (int32_t)done;
}

/* Whether it is worth asking again; if not it is told when it is. */
static int answer(struct sock_cmd *c, int res, bool looked)
{
	if (res == SOCK_STALL)
		return res;
	c->out.aux = res != -EAGAIN && (looked || share_has_more(c->k));
	if (c->out.aux == 0)
		c->k->flags |= SOCKF_WANT;
	return res;
}

/* In front of the answer; what finds no room comes later. */
static void push(struct sock *k)
{
	k->news |= NEWS_DATA;
	(void)lease_tell(k);
	sock_news(k, 0);
}

/* Of who has a lease: is the end of the stream behind what it has been lent? */
static int read_leased(struct sock *k)
{
	push(k);
	if (k->kind != SOCK_CONN || !tcp_conn_got_fin(k->conn))
		return -EAGAIN;
	if (!(k->news & NEWS_DATA))
		return 0;
	k->news |= NEWS_READABLE; /* once more, then */
	return -EAGAIN;
}

static int read_conn(struct sock *k, uint32_t want, bool looks)
{
	struct sock_desc *sh = k->share;

	if (unlikely(sh->owes != NULL))
		return -EAGAIN;
	if (lease_holder(sh) == k)
		return read_leased(k);
	if (sh->lease != NULL && lease_end(sh) != 0)
		return SOCK_STALL;
	if (!looks && lease_due(k) && lease_begin(k)) {
		push(k);
		return -EAGAIN;
	}
	return read_stream(k, want, looks);
}

int cmd_read(struct sock_cmd *c)
{
	struct sock *k = c->k, *reader;
	int32_t want = c->q->arg[0];
	bool looks = c->q->arg[1] != 0;
	int res = -EAGAIN;

	/* It has just become the only holder: it is told so, and gets everything. */
	if (!sock_is_shared(k))
		return -EAGAIN;
	reader = lease_holder(k->share);
	if (!lease_tell_end(k))
		return SOCK_STALL;
	if (k->kind == SOCK_CONN && want > 0)
		res = read_conn(k, (uint32_t)want, looks);
	else if (k->kind == SOCK_UDP)
		res = udp_sock_read(k, looks);
	/* Only now: it is told whether there is more. */
	if (unlikely(reader != NULL && reader != k))
		sock_news(reader, 0);
	return answer(c, res, looks);
}

int cmd_accept(struct sock_cmd *c)
{
	struct sock *k = c->k;

	if (!sock_is_shared(k))
		return -EAGAIN;
	if (k->kind != SOCK_LISTEN)
		return -EINVAL;
	if (!sock_slot_free(c->app))
		return -ENFILE;
	return answer(c, tcp_sock_accept(k) ? 0 : -EAGAIN, false);
}
