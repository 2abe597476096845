/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fork() in a program that is attached to a service (DESIGN §3.11). Before it, the parent asks for
 * an application for the child and shares every socket with it, so that the child has its own
 * channels, with the sockets it inherits, when fork returns. Of the parent's channels it has
 * nothing (MADV_DONTFORK), of the client's tables a copy, from which its descriptors and epoll sets
 * are taken over.
 *
 *	prepare   FORK, WELCOME; SHARE for each socket; unread data goes back (UNREAD)
 *	parent    forgets the child's descriptors; the lock was held until here
 *	child     is as good as attached: child.c
 *
 * If there is no service, and none comes within a moment, the child is an orphan, which looks for
 * the next one by itself: orphan.c. So is one that the service refuses, as its user has as many
 * programs as are allowed, or for want of memory or descriptors. It finds the same service again
 * as soon as there is room, and has what the parent offers to those who know the socket's key. That
 * fork itself failed would be wrong for all who make children that never use a socket.
 *
 * What the child does not get: connections being opened, buffers of the zero-copy calls, same-node
 * streams that go on without a service, datagrams of a service that is gone. A stack in the program
 * itself stays the parent's: there the child has no sockets.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/random.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/client_priv.h"
#include "client/host.h"

#define AWAIT_NS 2000000000 /* a service that is being replaced */

static struct {
	bool active;  /* between prepare and parent or child */
	bool child;   /* there is an application for it */
	bool orphan;  /* there can be none: there is no service, or */
	bool refused; /* it refuses */
	/* May the service not have taken a command of before yet? Their order is that of their
	 * channel, so an answer tells of all before it. */
	bool behind;
	struct attach_msg welcome;
} forking;

/* ---- the parent ---- */

/* Whoever reads next asks by another way: what is given back must have arrived. */
void fork_fence(void)
{
	struct chan_sqe cmd = {.op = CHAN_OP_NOP};
	struct chan_cqe e;

	for (unsigned i = 0; i < client.n_cores; i++)
		(void)!cmd_call(&client.core[i], NULL, &cmd, &e);
}

/* How many rows from this one on came over links and are told to the service together. */
static uint32_t copies(const struct core *c, uint32_t row, uint32_t *bytes)
{
	uint32_t n = 0;

	*bytes = 0;
	while (row != NIL && loan_is_link(c, row)) {
		uint32_t len = c->loan[row].len - c->loan[row].head;

		if (*bytes + len > CHAN_SEND_MAX)
			break;
		*bytes += len;
		n++;
		row = c->loan[row].next;
	}
	return n;
}

static uint32_t row_done(struct core *c, uint32_t row)
{
	uint32_t next = c->loan[row].next;

	loan_put(c, row);
	return next;
}

/* What came over a link: the service can't see it where it is. *row: the first that is not given
 * back. */
static int give_copy(struct csock *s, struct core *c, uint32_t *row, bool behind)
{
	uint32_t bytes, at = 0, n = copies(c, *row, &bytes);
	struct chan_sqe cmd = {.op = CHAN_OP_UNREAD, .len = bytes, .arg = {behind}};
	struct chan_cqe e;
	struct zs_buf b;
	struct buf_ref r;
	uint8_t *to;
	int err = block_new(c, bytes, &b);

	if (err == 0)
		err = buf_find(&b, &r);
	if (err < 0)
		return err;
	to = b.data;
	for (; n > 0; n--) {
		const struct loan *l = &c->loan[*row];

		memcpy(to + at, l->base + l->head, l->len - l->head);
		at += l->len - l->head;
		*row = row_done(c, *row);
	}
	client.stats.api_copied_bytes += bytes;
	cmd.off = r.off;
	err = cmd_call(c, s, &cmd, &e);
	buf_put(&r);
	return err;
}

static int give_loan(struct csock *s, struct core *c, uint32_t *row)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(c);
	struct loan *l = &c->loan[*row];

	if (q == NULL)
		return -ENETDOWN;
	if (s->serial != serial)
		return -EBADF;
	cmd_of(q, s, TOKEN_NOBODY);
	q->loan = l->name;
	q->off = l->head;
	cmd_push(c, CHAN_OP_UNREAD);
	forking.behind = true;
	l->name = LOAN_NONE;
	*row = l->next;
	return 0;
}

/* Rows that are nobody's. What can't be given back is lost to all who hold the socket, so it is
 * the end of the connection for us. */
static void give_back(struct csock *s, uint32_t row, bool behind)
{
	uint32_t serial = s->serial;
	struct core *c = csock_core(s);
	int err = 0;

	while (row != NIL && err >= 0)
		err = loan_is_link(c, row) ? give_copy(s, c, &row, behind) : give_loan(s, c, &row);
	if (row == NIL && err >= 0)
		return;
	while (row != NIL)
		row = row_done(c, row);
	if (s->serial == serial) {
		s->flags |= CSOCK_UNREAD; /* its end is a reset */
		csock_broken(s, -ENOBUFS);
	}
}

/* What nobody has read is everybody's again, in the stream's order. */
static void give_back_unread(struct csock *s)
{
	uint32_t rows, waiting = NIL;

	/* Of a lease the service has taken back what we had not read. */
	if (csock_leased(s))
		shared_give_up(s);
	shared_forget(s);
	rows = s->head;
	s->head = s->tail = NIL;
	s->unread = 0;
	/* The end of the stream comes behind what was given back. */
	s->shut &= (uint8_t)~SHUT_RD_BIT;
	s->flags &= ~(uint32_t)(CSOCK_URG | CSOCK_URG_READ);
	if (unlikely(s->flags & CSOCK_LINKED))
		waiting = link_waiting(s);
	give_back(s, rows, false);
	give_back(s, waiting, true);
}

/* ---- datagrams ---- */

/* The datagrams of a queue in the other order, each with its pieces as they are. */
static uint32_t last_first(struct core *c, uint32_t row)
{
	uint32_t done = NIL;

	while (row != NIL) {
		uint32_t first = row, next;

		while (c->loan[row].more && c->loan[row].next != NIL)
			row = c->loan[row].next;
		next = c->loan[row].next;
		c->loan[row].more = false;
		c->loan[row].next = done;
		done = first;
		row = next;
	}
	return done;
}

/* What a service lent that is gone, and what was only looked at, no service takes. */
static bool goes_back(const struct core *c, uint32_t row)
{
	return !loan_is_gone(c, row) && !c->loan[row].copy;
}

/* The row is none any more: its buffer is the service's again. */
static void row_given(struct core *c, uint32_t row)
{
	struct loan *l = &c->loan[row];

	if (l->name == LOAN_NONE) {
		loan_put(c, row);
		return;
	}
	l->name = LOAN_NONE;
	if (unlikely(l->region != 0))
		link_region_put(l->region);
	l->region = 0;
}

static int give_piece(struct csock *s, struct core *c, uint32_t row)
{
	const struct dgram *d = &c->dgram[row];
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(c);
	bool more = c->loan[row].more;

	if (q == NULL || s->serial != serial)
		return -EBADF;
	cmd_of(q, s, TOKEN_NOBODY);
	q->loan = c->loan[row].name;
	q->off = d->aux;
	memcpy(q->data, d->addr, sizeof(d->addr));
	memcpy(q->data + sizeof(d->addr), d->laddr, sizeof(d->laddr));
	cmd_push_first(c, chan_first(CHAN_OP_UNREAD, more ? CHAN_SEND_PART : 0, d->port));
	forking.behind = true;
	row_given(c, row);
	return 0;
}

/* Whoever reads first gets what nobody has read. It is put in front of what waits for them. */
static void give_back_datagrams(struct csock *s)
{
	struct core *c = csock_core(s);
	uint32_t row = last_first(c, s->head), next;
	int err = 0;

	s->head = s->tail = NIL;
	s->unread = 0;
	for (; row != NIL; row = next) {
		next = c->loan[row].next;
		if (err == 0 && goes_back(c, row))
			err = give_piece(s, c, row);
		else if (row >= c->own_rows || c->loan[row].name != LOAN_NONE)
			loan_put(c, row);
	}
}

/* Who accepts next gets what nobody has accepted: it may be another process. */
static void give_back_accepted(struct csock *l)
{
	uint32_t serial = l->serial;

	while (l->serial == serial && l->head != NIL) {
		struct chan_sqe cmd = {.op = CHAN_OP_UNACCEPT, .arg = {(int32_t)l->sid}};
		struct csock *s = &client.sock[l->head];
		struct chan_cqe e;

		l->head = s->link;
		if (l->head == NIL)
			l->tail = NIL;
		l->unread--;
		s->link = NIL;
		s->linger_s = -1;
		/* As one that was accepted it is not freed, if its service goes meanwhile. */
		s->fd = l->fd;
		if (cmd_call(csock_core(s), s, &cmd, &e) >= 0)
			give_back_unread(s);
		csock_close(s);
		forking.behind = true;
	}
}

/* So many SHAREs are on their way at once. */
struct sharing {
	uint32_t app;
	unsigned n;
	struct cmd cmd[CMDS_AT_ONCE];
};

static void share_end(struct sharing *sh)
{
	bool answered = false;

	for (unsigned i = 0; i < sh->n; i++) {
		struct csock *s = sh->cmd[i].s;
		struct chan_cqe e;
		int r = cmd_end(&sh->cmd[i], &e);

		if (r == -EBADF)
			continue; /* closed meanwhile: its row may be another's */
		if (r < 0) {
			link_stay(s);
			continue;
		}
		s->child_sid = e.aux;
		/* What is given back from now on comes behind all of these SHAREs. */
		if (!answered)
			forking.behind = client.n_cores > 1;
		answered = true;
		fork_shared(s);
		/* Without what could not be given back nobody may go on with it. */
		if (s->state == CSOCK_BROKEN)
			s->child_sid = 0;
	}
	sh->n = 0;
}

/* What the service knows of it is in order, and it is nobody's alone any more. False: it can't be
 * shared. */
static bool share_ready(struct csock *s)
{
	uint32_t serial = s->serial;

	s->child_sid = 0;
	if (unlikely(csock_stays(s)))
		return false; /* no service knows of it that could share it */
	csock_wanted(s);
	if (unlikely(s->flags & CSOCK_LINKED))
		link_leave(s);
	if (s->serial != serial || s->state == CSOCK_BROKEN)
		return false; /* by the neighbour, just now */
	cork_settle(s);
	if (s->serial != serial)
		return false;
	if (s->sid != 0 && !client.remaking)
		return true;
	link_stay(s);
	return false;
}

static void share_begin(struct sharing *sh, struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_SHARE, .arg = {(int32_t)sh->app}};
	int r = share_ready(s) ? cmd_begin(&sh->cmd[sh->n], csock_core(s), s, &cmd) : -EBADF;

	if (r < 0 && r != -EBADF)
		link_stay(s);
	if (r == 0 && ++sh->n == CMDS_AT_ONCE)
		share_end(sh);
}

static void share_descriptor(struct sharing *sh, struct csock *s)
{
	for (unsigned i = 0; i < csock_members(s); i++)
		share_begin(sh, csock_member(s, i));
}

void fork_share(struct csock *s, uint32_t app)
{
	struct sharing sh = {.app = app};

	share_descriptor(&sh, s);
	share_end(&sh);
}

bool csock_may_have_key(const struct csock *s)
{
	return (s->flags & CSOCK_BOUND) &&
	       (!csock_connects(s) || s->state == CSOCK_IDLE || s->state == CSOCK_LISTEN);
}

/* By it those who hold the socket find one another at the next service. */
void csock_key_make(struct csock *s)
{
	struct opts *k = s->opts;

	if (!csock_may_have_key(s) || (k != NULL && k->key != 0))
		return;
	k = csock_opts(s, k != NULL ? k->n : 0);
	if (k != NULL && getrandom(&k->key, sizeof(k->key), GRND_NONBLOCK) != sizeof(k->key))
		k->key = 0;
}

void fork_shared(struct csock *s)
{
	csock_key_make(s);
	s->flags |= CSOCK_SHARED;
	if (s->type == SOCK_STREAM && s->state == CSOCK_CONNECTED)
		give_back_unread(s);
	else if (s->type == SOCK_DGRAM)
		give_back_datagrams(s);
	else if (s->state == CSOCK_LISTEN)
		give_back_accepted(s);
	shared_exclusive(s);
}

/* A connection that carries records is its maker's alone: what several hold goes by the service,
 * which carries none. */
static bool may_be_shared(const struct csock *s)
{
	if (s->state == CSOCK_BROKEN || s->state == CSOCK_CONNECTING)
		return false;
	return !csock_records(s) || s->state != CSOCK_CONNECTED;
}

static void share_all(uint32_t app)
{
	struct sharing sh = {.app = app};
	struct csock *s;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		s = fd_csock(fd, &err);
		if (s == NULL || s->fd != fd)
			continue; /* a set, or another number of one that has its turn */
		s->child_sid = 0;
		if (may_be_shared(s))
			share_descriptor(&sh, s);
	}
	share_end(&sh);
}

/* ---- a child that is refused ---- */

void fork_offer(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_OFFER};
	struct chan_cqe e;

	if (!csock_may_have_key(s) || !share_ready(s))
		return;
	csock_key_make(s);
	cmd.off = s->opts != NULL ? s->opts->key : 0;
	if (cmd.off != 0 && cmd_call(csock_core(s), s, &cmd, &e) >= 0)
		fork_shared(s);
}

/* What it is to have in common with us when it comes. */
static void offer_all(void)
{
	socks_each(fork_offer);
	fork_fence();
}

/* False also if the service went away meanwhile. */
static bool child_made(void)
{
	uint16_t epoch = client.epoch;

	if (rejoin_is_away() || attach_fork(&client.transport.service, &forking.welcome) < 0)
		return false;
	forking.behind = true;
	share_all(forking.welcome.welcome.app);
	if (forking.behind)
		fork_fence();
	if (client.epoch == epoch)
		return true;
	attach_close_fds(&forking.welcome);
	return false;
}

static void prepare(void)
{
	uint16_t epoch;
	bool away;

	client_lock();
	forking.active = client.running && client.transport.attached;
	forking.child = forking.orphan = false;
	if (!forking.active) {
		ends_drop();
		client_unlock();
		return;
	}
	/* Who does nothing but fork, as the master of a server, may not have noticed that another
	 * service is there now. */
	do {
		epoch = client.epoch;
		client_await(rejoin_await_until(AWAIT_NS));
		forking.child = child_made();
		away = rejoin_is_away() || service_is_deaf();
	} while (!forking.child && !away && client.epoch != epoch);
	forking.orphan = !forking.child && !client.frugal;
	forking.refused = !away;
	if (forking.orphan && forking.refused)
		offer_all();
	/* Or since then. */
	if (forking.orphan && (rejoin_is_away() || service_is_deaf()))
		orphan_prepare();
	/* A child that had them, too, would keep what goes with them from ever being closed. */
	ends_drop();
}

static void parent(void)
{
	if (!forking.active)
		return;
	if (forking.child)
		attach_close_fds(&forking.welcome);
	client_unlock();
}

/* ---- the child ---- */

static void child(void)
{
	host_count_none();
	if (forking.active && forking.orphan)
		child_orphan(forking.refused);
	else
		child_begin(forking.active && forking.child ? &forking.welcome : NULL);
}

void fork_hooks(void)
{
	pthread_atfork(prepare, parent, child);
}
