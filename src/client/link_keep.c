/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node streams outlive the service (docs/design/008, 013). A stream whose both ways are over a
 * link needs it for no byte: the rings lie in memory of the two programs, each has the other's
 * arena, its bell and its pidfd. So when the service is gone such streams are *kept*, and the two
 * sides tell each other what it would have told them:
 *
 *	LINK_LOST   our service is gone, too; from here on we name nothing that it named
 *	LINK_ASK    is this stream there? The other side may have had less of it than we: it was
 *	            just going over, or was closed; then the word's token comes back marked
 *	LINK_FIN    our end of it is over
 *	LINK_RST    so is all of it
 *
 * Each side finds out by itself, in its own time; until both have, one still lives with the service
 * and the other without. That one has died is told by its pidfd, and that it executed another
 * program by the bell, of which nobody has the other end any more. What finds no room in the ring
 * is said later (lsock.due); a socket that is closed has its row until then.
 *
 * When there is another service, each end makes a socket there, and claims to be one end of that
 * connection (CHAN_OP_REVIVE, sock/sock_revive.c). As soon as both have, it is one; each end says
 * that it sends by the service from here on, as whoever leaves a link does (link_stream.c), and when
 * both ways have left it may be offered another link. What the service refuses, since it has other
 * addresses, goes on unknown to it; a program that may not have its port any more is reset.
 *
 * Such a link gets no new streams, and ends with its last. A stream that has not come back can't be
 * given to another process: a child of fork or an image after exec has no such socket, and it is not
 * sent by SCM_RIGHTS. Not done: connections of records are reset.
 */
#include "client/link.h"

bool csock_kept(const struct csock *s)
{
	return (s->flags & CSOCK_LINKED) && lsock_of(s)->kept;
}

bool csock_stays(const struct csock *s)
{
	return (s->flags & CSOCK_LINKED) && link_of(s)->kept;
}

/* ---- what is to be said ---- */

static bool say(struct plink *l, struct csock *s, uint8_t due, uint32_t word)
{
	struct lsock *ls = lsock_of(s);

	if (!(ls->due & due))
		return true;
	if (!link_say(l, s, word)) {
		l->due = true;
		return false;
	}
	ls->due &= (uint8_t)~due;
	return true;
}

/* What is asked there was answered when the other end learns that we have left the link. */
static bool say_back(struct plink *l, struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	if (!(ls->due & DUE_BACK) || s->state != CSOCK_CONNECTED)
		return true;
	if (!stream_back(s)) {
		l->due = true;
		return false;
	}
	ls->due = 0;
	return true;
}

static bool say_all(struct csock *s)
{
	struct plink *l = link_of(s);

	return l->state != LINK_UP || l->say_lost ||
	       (say(l, s, DUE_ASK, LINK_ASK) && say(l, s, DUE_FIN, LINK_FIN) &&
		say(l, s, DUE_RST, LINK_RST) && say_back(l, s));
}

static void due(struct csock *s, uint8_t what)
{
	lsock_of(s)->due |= what;
	link_of(s)->due = true;
}

static void say_due(struct plink *l)
{
	l->due = false;
	for (uint32_t row = l->streams, next; row != NIL && !l->due; row = next) {
		struct csock *s = &client.sock[row];

		next = client.links->sock[row].next;
		if (lsock_of(s)->due == 0 || !say_all(s))
			continue;
		if (!(s->flags & CSOCK_LINKED))
			continue;
		if (s->state == CSOCK_CLOSED || s->state == CSOCK_BROKEN)
			stream_leave(s);
		if (s->state == CSOCK_CLOSED)
			cmd_close(s);
	}
}

static void ask_all(struct plink *l)
{
	for (uint32_t row = l->streams; row != NIL; row = client.links->sock[row].next)
		if (client.sock[row].state == CSOCK_CONNECTED)
			due(&client.sock[row], DUE_ASK);
}

bool links_said(void)
{
	const struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		if (k->link[i].state == LINK_UP && k->link[i].due)
			return false;
	return true;
}

/* ---- the service is gone ---- */

/* Of both ways nothing is the service's any more. Who has cut the link did it for streams that it
 * handed over, which are not among these. */
static bool keepable(const struct csock *s)
{
	const struct lsock *ls = lsock_of(s);

	return s->state == CSOCK_CONNECTED && s->fd >= 0 && ls->rx == RX_LINK &&
	       ls->tx == TX_LINK && !ls->leaving && !csock_records(s);
}

static void stream_keep(struct csock *s)
{
	lsock_of(s)->kept = true;
	lsock_of(s)->offered = false;
	s->flags &= ~(uint32_t)CSOCK_OFFER;
	/* It may have gone with the service. */
	if (s->shut & SHUT_WR_BIT)
		due(s, DUE_FIN);
}

static void keep(struct plink *l)
{
	link_settle(l);
	if (l->state != LINK_UP)
		return; /* it was nonsense */
	l->kept = l->say_lost = true;
	l->epoch = client.epoch;
	l->was = l->id;
	l->id = 0;
	for (uint32_t row = l->streams, next; row != NIL; row = next) {
		struct csock *s = &client.sock[row];

		next = client.links->sock[row].next;
		if (keepable(s)) {
			stream_keep(s);
			continue;
		}
		stream_orphan(s);
		if (s->flags & CSOCK_LINKED)
			stream_leave(s);
	}
	if (l->far_kept)
		ask_all(l);
}

/* What was about to go over to the service that is gone now, too, has perhaps bytes there. */
static void keep_no_more(struct plink *l)
{
	for (uint32_t row = l->streams; row != NIL; row = client.links->sock[row].next) {
		struct csock *s = &client.sock[row];

		if (lsock_of(s)->kept || s->state != CSOCK_CONNECTED)
			continue;
		lsock_of(s)->kept = true;
		kept_break(s, -ECONNRESET);
	}
}

void links_lose(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		struct plink *l = &k->link[i];

		if (l->state == LINK_UP && l->kept)
			keep_no_more(l);
		else if (l->state == LINK_UP)
			keep(l);
		/* The next service may call another one so. */
		if (!l->kept)
			l->id = 0;
	}
	if (k != NULL)
		regions_lose();
}

static void packets_hold(struct plink *l, struct gone *g)
{
	if (g == NULL || l->far_kept || l->epoch != client.epoch)
		return;
	l->packets = g;
	lost_hold(g);
}

void links_lost(struct gone *g)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		struct plink *l = &k->link[i];

		if (l->state != LINK_UP)
			continue;
		if (l->streams != NIL)
			packets_hold(l, g);
		kept_turn(l);
	}
}

void kept_packets_put(struct plink *l)
{
	/* With a row in it, it stays mapped. */
	if (l->packets != NULL && !l->late)
		lost_unhold(l->packets);
	l->packets = NULL;
}

void link_recall(struct csock *s)
{
	struct lsock *ls = client.links != NULL ? lsock_of(s) : NULL;
	struct plink *l = ls != NULL ? link_of(s) : NULL;
	uint8_t what = s->linger_s == 0 || (s->flags & CSOCK_UNREAD) ? DUE_RST : DUE_FIN;

	if (l == NULL || ls->bye == 0 || l->state != LINK_UP || !l->kept || l->was != ls->bye) {
		csock_free(s);
		return;
	}
	stream_enter(s, l);
	ls->kept = true;
	ls->bye = 0;
	due(s, what);
}

/* ---- another service ---- */

bool link_claim(const struct csock *s, struct chan_sqe *q)
{
	const struct plink *l = link_of(s);

	if (s->state != CSOCK_CONNECTED || l->end.secret == 0)
		return false;
	memcpy(q->data, s->local, sizeof(s->local));
	memcpy(q->data + sizeof(s->local), s->peer, sizeof(s->peer));
	q->len = s->peer_port;
	q->off = l->end.secret;
	q->loan = l->end.secret2;
	return true;
}

/* Where there can be no such connection it goes on as it is. */
static bool goes_on_unknown(int res)
{
	return res == -EADDRNOTAVAIL || res == -EADDRINUSE || res == -ENOSYS || res == -ENOMEM;
}

void link_revived(struct csock *s, int res)
{
	if (!csock_kept(s) || s->state != CSOCK_CONNECTED)
		return;
	if (res == 0)
		due(s, DUE_BACK);
	else if (!goes_on_unknown(res))
		kept_break(s, -ECONNRESET);
}

/* ---- the program is done with it ---- */

bool link_bye(struct csock *s)
{
	struct lsock *ls = lsock_of(s);

	ls->due &= (uint8_t)~DUE_ASK;
	if (s->linger_s == 0 || (s->flags & CSOCK_UNREAD))
		due(s, DUE_RST);
	else if (!(s->shut & SHUT_WR_BIT))
		due(s, DUE_FIN);
	if (!say_all(s) || ls->due != 0)
		return false;
	stream_leave(s);
	return true;
}

void link_shutdown(struct csock *s)
{
	if (s->shut & SHUT_WR_BIT)
		due(s, DUE_FIN);
	(void)!say_all(s);
}

void kept_break(struct csock *s, int err)
{
	due(s, DUE_RST);
	csock_broken(s, err);
}

void kept_orphan(struct csock *s)
{
	stream_break(s, s->shut & SHUT_RD_BIT ? 0 : -ECONNRESET);
}

/* ---- what the other side says, and when ---- */

bool kept_told(struct plink *l, struct csock *s, uint32_t flags)
{
	switch (flags) {
	case LINK_ASK:
		return true;
	case LINK_LOST:
		l->far_kept = true;
		kept_packets_put(l);
		if (l->kept)
			ask_all(l);
		return true;
	case LINK_FIN:
		if (s != NULL) {
			s->shut |= SHUT_RD_BIT;
			csock_notify(s, EPOLLIN | EPOLLRDHUP | EPOLLHUP);
		}
		return true;
	case LINK_RST:
		if (s != NULL && csock_kept(s))
			stream_leave(s);
		if (s != NULL)
			csock_broken(s, -ECONNRESET);
		return true;
	default:
		return false;
	}
}

void kept_turn(struct plink *l)
{
	if (l->state != LINK_UP)
		return;
	if (l->say_lost && l->streams != NIL && link_say(l, NULL, LINK_LOST))
		l->say_lost = false;
	if (l->due && !l->say_lost)
		say_due(l);
	if (l->state == LINK_UP && (l->streams == NIL || link_has_ended(&l->end)))
		link_end(l, false);
}
