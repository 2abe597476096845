/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets that several programs hold (src/sock/sock_share.h), and those of them that have a link
 * to the other end (src/sock/sock_link.c): what is given back unread is charged as it is counted,
 * and is bounded (H34); who is told that it is alone while its ring is nearly full is told the rest
 * later, once. Which of several is told that there is something (EPOLLEXCLUSIVE). Datagrams that
 * were told and not read go back in front of what waits.
 */
#include <linux/tcp.h>

#include "sock/sock_udp.h"
#include "sock_test.h"

#define CHILD  7
#define DOMAIN 1
#define LINK   9

static struct host child, other;

/* B's connection, which a child of B holds as well. */
static void share_with_child(uint32_t sid)
{
	struct chan_sqe q = {.op = CHAN_OP_SHARE, .sid = sid, .arg = {CHILD}};

	app_up(&child, (struct sock_app_cfg){.id = CHILD, .parent = B->app, .domain = DOMAIN});
	assert_int_equal(call(B, q).res, 0);
}

/* What B takes by, when it has a lease of the stream (sock_lease.c). */
static _Atomic uint64_t *lease;

/* The next bytes for B. */
static bool next_data(struct chan_cqe *e)
{
	while (take(B, CHAN_EV_LEASE, server, e))
		lease = e->off != 0 ? &B->end.sh->lease[chan_lease_number(e->off)] : NULL;
	if (!take(B, CHAN_EV_DATA, server, e))
		return false;
	if (lease != NULL)
		atomic_fetch_add(lease, (uint64_t)e->res);
	return true;
}

/* ---- what came over a link and goes back ---- */

static int unread(uint32_t len)
{
	struct chan_sqe q = {
		.op = CHAN_OP_UNREAD, .sid = server, .off = 0, .len = len, .loan = LOAN_NONE};

	return call(B, q).res;
}

/* Reads and gives back; how many bytes. */
static uint32_t read_all(void)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .sid = server, .arg = {1 << 20}};
	struct chan_cqe r, e;
	uint32_t n = 0, before;

	do {
		before = n;
		r = call(B, q);
		while (next_data(&e)) {
			for (int32_t i = 0; i < e.res; i++, n++)
				assert_int_equal(bytes_of(B, &e)[i], (uint8_t)n);
			give_back(B, e.loan);
		}
	} while (n > before);
	assert_int_equal(r.res, -EAGAIN);
	step(2);
	return n;
}

/* The stack's memory for received data is what it was, so everybody goes on receiving. */
static void unread_is_charged_as_it_is_released(void **state)
{
	struct chan_cqe e;

	connected_pair();
	share_with_child(server);
	fill_arena(B);
	assert_int_equal(unread(10240), 0);
	tcp_check_all(B->tcp);
	assert_int_equal(read_all(), 10240);
	tcp_check_all(B->tcp);
	app_down(&child);
	(void)await(B, CHAN_EV_SOLE, server, 5);
	fill_arena(A);
	do_send(A, client, 0, 1000, 1);
	e = await(B, CHAN_EV_DATA, server, 20);
	assert_int_equal(e.res, 1000);
	give_back(B, e.loan);
	step(2);
}

static void unread_is_bounded(void **state)
{
	uint32_t n = 0;
	int res;

	connected_pair();
	share_with_child(server);
	fill_arena(B);
	while ((res = unread(CHAN_SEND_MAX)) == 0)
		n += CHAN_SEND_MAX;
	assert_int_equal(res, -ENOBUFS);
	assert_in_range(n, CHAN_SEND_MAX, CHAN_UNREAD_MAX);
	assert_int_equal(read_all(), n);
	app_down(&child);
	step(2);
}

/* ---- links ---- */

static void two_programs_with_a_link(void)
{
	struct ip_addr any = {0};

	app_up(&other, (struct sock_app_cfg){.id = CHILD + 1, .domain = DOMAIN});
	other.peer = A;
	guest = &other;
	listener = make_socket(B, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 16), 0);
	client = make_socket(&other, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(&other, client, &B->addr, 80), 0);
	server = await(B, CHAN_EV_ACCEPT, listener, 10).aux;
	B->ticket[sid_index(server)] = 0;
	socks_link_up(B->app, other.app, (uint32_t[2]){LINK, LINK});
	assert_int_equal(await(B, CHAN_EV_LINK_OFFER, server, 5).aux, LINK);
	assert_int_equal(await(&other, CHAN_EV_LINK_OFFER, client, 5).aux, LINK);
}

/* Until a command would find no room for its events. */
static void fill_ring(void)
{
	uint32_t room = 0;

	B->hold_cq = true;
	while (app_room_now(B->app) != room) {
		room = app_room_now(B->app);
		push(B, &(struct chan_sqe){.op = CHAN_OP_NOP, .token = 1});
		step(1);
	}
}

static void the_last_holder_is_offered_the_link_when_there_is_room(void **state)
{
	struct chan_cqe e;

	two_programs_with_a_link();
	share_with_child(server);
	fill_ring();
	app_down(&child);
	step(2);
	B->hold_cq = false;
	(void)await(B, CHAN_EV_SOLE, server, 5);
	assert_int_equal(await(B, CHAN_EV_LINK_OFFER, server, 5).aux, LINK);
	assert_int_equal(await(&other, CHAN_EV_LINK_OFFER, client, 5).aux, LINK);
	step(5);
	assert_false(take(B, CHAN_EV_LINK_OFFER, server, &e));
	guest = NULL;
	app_down(&other);
}

/* ---- a stream with a gap that a link's bytes fill ---- */

static void link_cmd(struct host *h, uint8_t op, uint32_t sid, int32_t link)
{
	submit(h, (struct chan_sqe){.op = op, .sid = sid, .token = 0xffff, .arg = {link, 1, 1}});
}

/* What `other` sends: bytes of this kind. */
static void other_sends(char what, uint32_t len)
{
	static uint32_t token;
	uint32_t at = ++token * 4096;

	memset((uint8_t *)other.map.arena + at, what, len);
	do_send(&other, client, at, len, token);
}

/* What B gets as events, with the same letters taken together. */
static char *got;

static void took(const struct chan_cqe *e)
{
	for (int32_t i = 0; i < e->res; i++)
		*got++ = (char)bytes_of(B, e)[i];
	*got = '\0';
}

static void expect(const char *text, const char *kinds, const unsigned *n)
{
	for (; *kinds != '\0'; kinds++, n++)
		for (unsigned i = 0; i < *n; i++)
			assert_int_equal(*text++, *kinds);
	assert_int_equal(*text, '\0');
}

static void read_into_got(void)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .sid = server, .arg = {100}};
	struct chan_cqe e;

	const char *before;

	do {
		before = got;
		(void)call(B, q);
		while (next_data(&e)) {
			took(&e);
			give_back(B, e.loan);
		}
	} while (got > before);
}

static void events_into_got(void)
{
	struct chan_cqe e;

	for (unsigned i = 0; i < 20; i++) {
		while (next_data(&e)) {
			took(&e);
			give_back(B, e.loan);
		}
		step(1);
	}
}

static void unread_behind(char what, uint32_t len)
{
	struct chan_sqe q = {.op = CHAN_OP_UNREAD, .sid = server, .len = len, .loan = LOAN_NONE};

	q.arg[0] = 1;
	memset(B->map.arena, what, len);
	assert_int_equal(call(B, q).res, 0);
}

/* B takes the link; before it is told where the stream leaves TCP, it shares the socket. */
static void taken_and_shared(void)
{
	two_programs_with_a_link();
	link_cmd(B, CHAN_OP_LINK_TAKE, server, LINK);
	assert_int_equal(await(&other, CHAN_EV_LINK_TX, client, 5).aux, LINK);
	share_with_child(server);
	unread_behind('L', 64);
	other_sends('a', 50);
	link_cmd(&other, CHAN_OP_LINK_SWITCH, client, LINK);
	link_cmd(&other, CHAN_OP_LINK_SWITCH, client, 0);
	other_sends('z', 70);
}

static void other_down(void)
{
	guest = NULL;
	app_down(&other);
}

static void a_gap_whose_place_comes_after_sharing(void **state)
{
	char text[1000];

	got = text;
	taken_and_shared();
	step(5);
	read_into_got();
	expect(text, "aLz", (unsigned[]){50, 64, 70});
	app_down(&child);
	other_down();
}

static void the_last_holder_is_told_a_gaps_bytes_in_their_place(void **state)
{
	char text[1000];

	got = text;
	taken_and_shared();
	app_down(&child);
	(void)await(B, CHAN_EV_SOLE, server, 5);
	events_into_got();
	expect(text, "aLz", (unsigned[]){50, 64, 70});
	other_sends('e', 5);
	events_into_got();
	expect(text, "aLze", (unsigned[]){50, 64, 70, 5});
	other_down();
}

/* B may hold no more buffers than the one that it has: bytes, both marks and bytes again, in one
 * buffer, are not told yet. */
static struct chan_cqe marks_between_bytes(void)
{
	struct chan_cqe e;

	two_programs_with_a_link();
	B->app->loans.quota = 1;
	link_cmd(B, CHAN_OP_LINK_TAKE, server, LINK);
	(void)await(&other, CHAN_EV_LINK_TX, client, 5);
	other_sends('0', 10);
	e = await(B, CHAN_EV_DATA, server, 5);
	other_sends('a', 50);
	link_cmd(&other, CHAN_OP_LINK_SWITCH, client, LINK);
	link_cmd(&other, CHAN_OP_LINK_SWITCH, client, 0);
	other_sends('z', 70);
	step(5);
	return e;
}

/* B may hold no more buffers: bytes, the place of the gap and what follows, in one buffer, are not
 * told yet when it shares the socket. */
static void a_gap_inside_a_buffer(void **state)
{
	struct chan_cqe e;
	char text[3000];

	got = text;
	e = marks_between_bytes();
	assert_false(take(B, CHAN_EV_LINK_RX, server, &(struct chan_cqe){0}));
	share_with_child(server);
	B->app->loans.quota = 8;
	took(&e);
	give_back(B, e.loan);
	unread_behind('L', 64);
	read_into_got();
	expect(text, "0aLz", (unsigned[]){10, 50, 64, 70});
	app_down(&child);
	other_down();
}

/* The same without another holder: bytes, marks and bytes again are told in their order. */
static void marks_inside_a_buffer_are_told_in_their_place(void **state)
{
	struct chan_cqe e;
	char text[3000];

	got = text;
	e = marks_between_bytes();
	B->app->loans.quota = 8;
	took(&e);
	give_back(B, e.loan);
	for (unsigned marks = 0; marks < 2;) {
		step(1);
		for (unsigned i = 0; i < B->n_ev; i++) {
			if (B->ev[i].ev == CHAN_EV_DATA) {
				assert_int_equal(marks, 0);
				took(&B->ev[i]);
				give_back(B, B->ev[i].loan);
			} else if (B->ev[i].ev == CHAN_EV_LINK_RX) {
				assert_int_equal(B->ev[i].aux, marks == 0 ? LINK : 0);
				marks++;
			}
			if (marks == 2) {
				B->n_ev -= i + 1;
				memmove(B->ev, &B->ev[i + 1], B->n_ev * sizeof(B->ev[0]));
				break;
			}
		}
		if (marks < 2)
			B->n_ev = 0;
	}
	expect(text, "0a", (unsigned[]){10, 50});
	events_into_got();
	expect(text, "0az", (unsigned[]){10, 50, 70});
	other_down();
}

/* ---- EPOLLEXCLUSIVE ---- */

static uint32_t child_sid, other_sid;

static void exclusive(struct host *h, uint32_t sid, int on)
{
	struct chan_sqe q = {.op = CHAN_OP_EXCLUSIVE, .sid = sid, .arg = {on}, .token = 5};
	struct chan_cqe e;

	submit(h, q);
	step(1);
	app_read(h);
	assert_true(take_result(h, 5, &e));
	assert_int_equal(e.res, 0);
}

static bool told(struct host *h)
{
	struct chan_cqe e;
	bool r;

	step(1);
	app_read(h);
	r = take(h, CHAN_EV_READABLE, 0, &e);
	assert_false(take(h, CHAN_EV_READABLE, 0, &e));
	return r;
}

static void sleeps(struct host *h)
{
	bell_arm(&h->end.sh->bells.app_armed);
}

/* B's listener, which two others hold, for both of whom one is enough. */
static void listener_of_three(void)
{
	struct ip_addr any = {0};

	listener = make_socket(B, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(B, listener, &any, 80), 0);
	assert_int_equal(do_listen(B, listener, 16), 0);
	app_up(&child, (struct sock_app_cfg){.id = CHILD, .domain = DOMAIN});
	app_up(&other, (struct sock_app_cfg){.id = CHILD + 1, .domain = DOMAIN});
	assert_int_equal(socks_share(B->app, listener, child.app, &child_sid), 0);
	assert_int_equal(socks_share(B->app, listener, other.app, &other_sid), 0);
	exclusive(&child, child_sid, 1);
	exclusive(&other, other_sid, 1);
}

static void comes(void)
{
	client = make_socket(A, AF_INET, SOCK_STREAM);
	assert_int_equal(do_connect(A, client, &B->addr, 80), 0);
}

/* tcpi_unacked, as in Linux: how many wait in the queue of all. */
static uint32_t waiting(struct host *h, uint32_t sid)
{
	struct chan_sqe q = {.op = CHAN_OP_GETOPT, .sid = sid, .len = sizeof(struct tcp_info)};
	struct tcp_info i;

	q.opt.level = IPPROTO_TCP;
	q.opt.name = TCP_INFO;
	assert_int_equal(call(h, q).res, sizeof(i));
	memcpy(&i, h->end.scratch, sizeof(i));
	assert_int_equal(i.tcpi_sacked, 16);
	return i.tcpi_unacked;
}

static void all_holders_see_how_many_wait(void **state)
{
	struct chan_cqe e;

	listener_of_three();
	assert_int_equal(waiting(B, listener), 0);
	comes();
	comes();
	step(10);
	assert_int_equal(waiting(B, listener), 2);
	submit(B, (struct chan_sqe){.op = CHAN_OP_ACCEPT, .sid = listener, .token = 5});
	step(1);
	app_read(B);
	assert_true(take(B, CHAN_EV_ACCEPT, listener, &e));
	/* One waits, and one is told of: the client knows what of that it has taken. */
	assert_int_equal(waiting(B, listener), 2);
	submit(B, (struct chan_sqe){.op = CHAN_OP_RCVBUF_MORE, .sid = listener, .arg = {1}});
	assert_int_equal(waiting(B, listener), 1);
	app_down(&child);
	app_down(&other);
}

/* epoll_ctl(2), EPOLLEXCLUSIVE; who did not ask for it is told always. */
static void of_those_that_sleep_one_is_told(void **state)
{
	listener_of_three();
	sleeps(&child);
	sleeps(&other);
	comes();
	assert_true(told(B));
	assert_true(told(&child));
	assert_false(told(&other));
	/* The first has enough to do. */
	comes();
	assert_true(told(&other));
	assert_false(told(&child));
	app_down(&child);
	app_down(&other);
}

static void who_is_awake_is_told(void **state)
{
	listener_of_three();
	comes();
	assert_true(told(&child));
	assert_true(told(&other));
	app_down(&child);
	app_down(&other);
}

static void who_is_awake_leaves_it_to_one_that_sleeps(void **state)
{
	listener_of_three();
	sleeps(&other);
	comes();
	assert_true(told(&child));
	assert_true(told(&other));
	app_down(&child);
	app_down(&other);
}

static void the_turn_goes_round(void **state)
{
	struct chan_cqe e;

	listener_of_three();
	for (int i = 0; i < 4; i++) {
		struct host *next = i % 2 == 0 ? &child : &other;
		struct chan_sqe q = {.op = CHAN_OP_ACCEPT,
				     .sid = i % 2 == 0 ? child_sid : other_sid,
				     .token = 6};

		sleeps(&child);
		sleeps(&other);
		comes();
		assert_true(told(next));
		assert_false(told(next == &child ? &other : &child));
		submit(next, q);
		submit(next, q);
		step(1);
		app_read(next);
		assert_true(take(next, CHAN_EV_ACCEPT, q.sid, &e));
		bell_disarm(&child.end.sh->bells.app_armed);
		bell_disarm(&other.end.sh->bells.app_armed);
	}
	app_down(&child);
	app_down(&other);
}

/* Who was told and does not take it is replaced: nothing waits for ever. */
static void who_was_told_and_goes_is_replaced(void **state)
{
	listener_of_three();
	sleeps(&child);
	sleeps(&other);
	comes();
	assert_true(told(&child));
	assert_false(told(&other));
	app_down(&child);
	assert_true(told(&other));
	app_down(&other);
}

static void who_was_told_and_waits_no_more_is_replaced(void **state)
{
	listener_of_three();
	sleeps(&child);
	sleeps(&other);
	comes();
	assert_true(told(&child));
	exclusive(&child, child_sid, 0);
	assert_true(told(&other));
	app_down(&child);
	app_down(&other);
}

/* ---- joining (src/sock/sock_join.c) ---- */

#define KEY 0x1234567890abcdefull

/* Of an application that nobody reads for. */
static struct chan_cqe ask(struct host *h, struct chan_sqe q)
{
	struct chan_cqe e;

	q.token = 5;
	submit(h, q);
	step(1);
	app_read(h);
	assert_true(take_result(h, 5, &e));
	return e;
}

static struct chan_sqe joining(int domain, int type, uint64_t key)
{
	return (struct chan_sqe){.op = CHAN_OP_JOIN, .port = 80, .off = key, .arg = {domain, type}};
}

static int bind_with_key(struct host *h, uint32_t sid)
{
	struct chan_sqe q = with_addr(CHAN_OP_BIND, sid, &B->addr, 80);

	q.off = KEY;
	return ask(h, q).res;
}

static bool accepts(struct host *h, uint32_t sid)
{
	struct chan_cqe e;

	return ask(h, (struct chan_sqe){.op = CHAN_OP_ACCEPT, .sid = sid}).res == 0 &&
	       take(h, CHAN_EV_ACCEPT, sid, &e);
}

/* Nobody is its only holder, whoever comes and goes. */
static void who_knows_the_key_joins(void **state)
{
	uint32_t l = make_socket(B, AF_INET, SOCK_STREAM);
	struct chan_cqe e;

	assert_int_equal(bind_with_key(B, l), 0);
	assert_int_equal(do_listen(B, l, 8), 0);
	comes();
	assert_true(told(B));
	app_up(&child, (struct sock_app_cfg){.id = CHILD});
	e = ask(&child, joining(AF_INET, SOCK_STREAM, KEY));
	assert_int_equal(e.res, 0);
	assert_true(told(&child));
	assert_true(accepts(&child, e.sid));
	assert_false(accepts(B, l));
	app_down(&child);
	comes();
	assert_true(told(B));
	assert_true(accepts(B, l));
	app_read(B);
	assert_false(take(B, CHAN_EV_SOLE, l, &e));
}

static void others_do_not_join(void **state)
{
	uint32_t l = make_socket(B, AF_INET, SOCK_STREAM), second;

	assert_int_equal(bind_with_key(B, l), 0);
	app_up(&child, (struct sock_app_cfg){.id = CHILD});
	assert_int_equal(ask(&child, joining(AF_INET, SOCK_STREAM, KEY + 1)).res, -ENOENT);
	assert_int_equal(ask(&child, joining(AF_INET, SOCK_STREAM, 0)).res, -ENOENT);
	assert_int_equal(ask(&child, joining(AF_INET, SOCK_DGRAM, KEY)).res, -ENOENT);
	assert_int_equal(ask(&child, joining(AF_INET6, SOCK_STREAM, KEY)).res, -ENOENT);
	assert_int_equal(ask(&child, joining(AF_INET, SOCK_SEQPACKET, KEY)).res, -ENOENT);
	/* One that is there is joined, and not made once more. */
	second = ask(&child, (struct chan_sqe){.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_STREAM}})
			 .sid;
	assert_int_equal(bind_with_key(&child, second), -EEXIST);
	app_up(&other, (struct sock_app_cfg){.id = CHILD + 1, .owner = 4711});
	assert_int_equal(ask(&other, joining(AF_INET, SOCK_STREAM, KEY)).res, -ENOENT);
	app_down(&child);
	app_down(&other);
}

static struct chan_cqe offer(struct host *h, uint32_t sid, uint64_t key)
{
	return ask(h, (struct chan_sqe){.op = CHAN_OP_OFFER, .sid = sid, .off = key});
}

/* H40: a child that is refused comes later, and has what its parent offered. */
static void what_is_offered_is_joined(void **state)
{
	uint32_t l = make_socket(B, AF_INET, SOCK_STREAM);
	struct chan_cqe e;

	assert_int_equal(do_bind(B, l, &B->addr, 80), 0);
	assert_int_equal(do_listen(B, l, 8), 0);
	app_up(&child, (struct sock_app_cfg){.id = CHILD});
	assert_int_equal(ask(&child, joining(AF_INET, SOCK_STREAM, KEY)).res, -ENOENT);
	assert_int_equal(offer(B, l, KEY).res, 0);
	assert_int_equal(offer(B, l, KEY).res, 0);
	assert_int_equal(offer(B, l, KEY + 1).res, -EEXIST);
	/* From here on it is asked for. */
	comes();
	app_read(B);
	assert_false(take(B, CHAN_EV_ACCEPT, l, &e));
	assert_true(told(B));
	e = ask(&child, joining(AF_INET, SOCK_STREAM, KEY));
	assert_int_equal(e.res, 0);
	assert_true(told(&child));
	assert_true(accepts(&child, e.sid));
	assert_false(accepts(B, l));
	app_down(&child);
}

static void what_can_not_be_joined_is_not_offered(void **state)
{
	uint32_t l = make_socket(B, AF_INET, SOCK_STREAM), m;

	assert_int_equal(offer(B, l, KEY).res, -EINVAL); /* it has no port */
	assert_int_equal(do_bind(B, l, &B->addr, 80), 0);
	assert_int_equal(offer(B, l, 0).res, -EINVAL);
	assert_int_equal(offer(B, l, KEY).res, 0);
	m = make_socket(B, AF_INET6, SOCK_STREAM);
	assert_int_equal(do_bind(B, m, &(struct ip_addr){0}, 81), 0);
	assert_int_equal(offer(B, m, KEY).res, 0); /* of another port */
	assert_int_equal(offer(B, m + 1000, KEY).res, -EBADF);
}

/* ---- datagrams (src/sock/sock_udp_queue.c) ---- */

static uint32_t hears, says; /* a socket of B at port 53, one of A */

static void two_datagram_sockets(void)
{
	struct ip_addr any = {0};

	hears = make_socket(B, AF_INET6, SOCK_DGRAM);
	says = make_socket(A, AF_INET6, SOCK_DGRAM);
	assert_int_equal(do_bind(B, hears, &any, 53), 0);
}

/* Of so many bytes, all of them that letter. */
static void say(char what, uint32_t len)
{
	static uint32_t token;
	struct chan_sqe q = with_addr(CHAN_OP_SENDTO, says, &B->addr, 53);

	q.token = ++token;
	q.off = token * 4096;
	q.len = len;
	memset((uint8_t *)A->map.arena + q.off, what, len);
	submit(A, q);
	step(2);
	assert_true(took_token(A, q.token));
}

static struct chan_sqe unread_of(uint32_t sid, const struct chan_cqe *e)
{
	struct chan_sqe q = {.op = CHAN_OP_UNREAD, .sid = sid, .loan = e->loan, .port = e->port};

	q.off = e->aux;
	q.flags = e->flags & CHAN_CQ_MORE ? CHAN_SEND_PART : 0;
	memcpy(q.data, e->addr, 16);
	memcpy(q.data + 16, e->laddr, 16);
	return q;
}

/* READ: the letter of what came, ' ' of an empty one, 0 if there is none. */
static char reads(struct host *h, uint32_t sid, int looks, struct chan_cqe *e)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .sid = sid, .arg = {1, looks}};
	struct chan_cqe r = ask(h, q);
	char c;

	if (r.res == -EAGAIN)
		return 0;
	assert_int_equal(r.res, 1);
	assert_true(take(h, CHAN_EV_DGRAM, sid, e));
	assert_int_equal((e->flags & CHAN_CQ_COPY) != 0, looks);
	if (e->loan == LOAN_NONE)
		return ' ';
	c = (char)*bytes_of(h, e);
	give_back(h, e->loan);
	step(1);
	return c;
}

static void same_ends(const struct chan_cqe *a, const struct chan_cqe *b)
{
	assert_memory_equal(a->addr, b->addr, 16);
	assert_memory_equal(a->laddr, b->laddr, 16);
	assert_int_equal(a->port, b->port);
	assert_int_equal(a->aux, b->aux);
}

static void datagrams_go_back_in_front(void **state)
{
	struct chan_cqe e[4], r;

	two_datagram_sockets();
	say('a', 10);
	say('b', 3000); /* two pieces */
	say('-', 0);
	for (int i = 0; i < 4; i++)
		e[i] = await(B, CHAN_EV_DGRAM, hears, 5);
	app_up(&child, (struct sock_app_cfg){.id = CHILD, .domain = DOMAIN});
	assert_int_equal(socks_share(B->app, hears, child.app, &child_sid), 0);
	say('c', 10);
	assert_int_equal(ask(B, unread_of(hears, &e[3])).res, 0);
	assert_int_equal(ask(B, unread_of(hears, &e[1])).res, 0);
	assert_int_equal(ask(B, unread_of(hears, &e[2])).res, 0);
	assert_int_equal(ask(B, unread_of(hears, &e[0])).res, 0);
	assert_true(told(&child));
	assert_int_equal(reads(&child, child_sid, 1, &r), 'a');
	same_ends(&r, &e[0]);
	assert_int_equal(reads(&child, child_sid, 0, &r), 'a');
	assert_int_equal(reads(B, hears, 0, &r), 'b');
	assert_true(r.flags & CHAN_CQ_MORE);
	assert_true(take(B, CHAN_EV_DGRAM, hears, &r));
	give_back(B, r.loan);
	assert_int_equal(reads(&child, child_sid, 1, &r), ' ');
	assert_int_equal(reads(&child, child_sid, 0, &r), ' ');
	assert_int_equal(reads(B, hears, 0, &r), 'c');
	assert_int_equal(reads(B, hears, 0, &r), 0);
	step(1);
	assert_int_equal(sock_find(B->app, hears)->udp->charge, 0);
	app_down(&child);
}

/* What one has taken and not returned is no other's loss. */
static void a_reader_that_dies_leaves_no_charge(void **state)
{
	struct chan_sqe q = {.op = CHAN_OP_READ, .arg = {1}};

	two_datagram_sockets();
	app_up(&child, (struct sock_app_cfg){.id = CHILD, .domain = DOMAIN});
	assert_int_equal(socks_share(B->app, hears, child.app, &child_sid), 0);
	say('a', 10);
	q.sid = child_sid;
	assert_int_equal(ask(&child, q).res, 1);
	app_down(&child);
	assert_int_equal(sock_find(B->app, hears)->udp->charge, 0);
}

static void what_is_no_datagram_does_not_go_back(void **state)
{
	struct chan_sqe q;
	struct chan_cqe e;
	uint64_t bad = B->socks->n.bad_commands;

	two_datagram_sockets();
	say('a', 10);
	e = await(B, CHAN_EV_DGRAM, hears, 5);
	assert_int_equal(ask(B, unread_of(hears, &e)).res, -EINVAL); /* nobody else holds it */
	app_up(&child, (struct sock_app_cfg){.id = CHILD, .domain = DOMAIN});
	assert_int_equal(socks_share(B->app, hears, child.app, &child_sid), 0);
	q = unread_of(hears, &e);
	q.loan ^= 1;
	assert_int_equal(ask(B, q).res, -EINVAL);
	q.loan = LOAN_NONE;
	q.flags = CHAN_SEND_PART;
	assert_int_equal(ask(B, q).res, -EINVAL);
	/* An empty one is all of a datagram, not its end. */
	q = unread_of(hears, &e);
	q.flags = CHAN_SEND_PART;
	assert_int_equal(ask(B, q).res, 0);
	q.loan = LOAN_NONE;
	q.flags = 0;
	assert_int_equal(ask(B, q).res, -EINVAL);
	assert_int_equal(B->socks->n.bad_commands, bad + 4);
	for (unsigned i = 0; i < SOCK_UDP_WAIT_MAX; i++)
		assert_int_equal(ask(B, q).res, 0);
	assert_int_equal(ask(B, q).res, -ENOBUFS);
	assert_int_equal(sock_find(B->app, hears)->udp->charge, 0);
	app_down(&child);
}

/* In the middle of it: nothing is kept. */
static void who_gives_back_a_part_and_goes(void **state)
{
	struct chan_cqe e, r;

	two_datagram_sockets();
	app_up(&child, (struct sock_app_cfg){.id = CHILD, .domain = DOMAIN});
	assert_int_equal(socks_share(B->app, hears, child.app, &child_sid), 0);
	say('b', 3000);
	assert_int_equal(ask(&child, (struct chan_sqe){.op = CHAN_OP_READ, .sid = child_sid}).res,
			 1);
	assert_true(take(&child, CHAN_EV_DGRAM, child_sid, &e));
	assert_int_equal(ask(&child, unread_of(child_sid, &e)).res, 0);
	app_down(&child);
	assert_int_equal(sock_find(B->app, hears)->udp->charge, 0);
	say('c', 10);
	r = await(B, CHAN_EV_DGRAM, hears, 5);
	assert_int_equal(*bytes_of(B, &r), 'c');
	give_back(B, r.loan);
	step(1);
}

static int setup_linked(void **state)
{
	b_cfg = (struct sock_app_cfg){.id = CHILD - 1, .domain = DOMAIN};
	lease = NULL;
	return setup_hosts(state);
}

static int teardown_linked(void **state)
{
	b_cfg = (struct sock_app_cfg){0};
	return teardown(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_linked, teardown_linked)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unread_is_charged_as_it_is_released),
		TEST(unread_is_bounded),
		TEST(the_last_holder_is_offered_the_link_when_there_is_room),
		TEST(a_gap_whose_place_comes_after_sharing),
		TEST(the_last_holder_is_told_a_gaps_bytes_in_their_place),
		TEST(a_gap_inside_a_buffer),
		TEST(marks_inside_a_buffer_are_told_in_their_place),
		TEST(of_those_that_sleep_one_is_told),
		TEST(who_is_awake_is_told),
		TEST(who_is_awake_leaves_it_to_one_that_sleeps),
		TEST(the_turn_goes_round),
		TEST(who_was_told_and_goes_is_replaced),
		TEST(who_was_told_and_waits_no_more_is_replaced),
		TEST(who_knows_the_key_joins),
		TEST(all_holders_see_how_many_wait),
		TEST(others_do_not_join),
		TEST(what_is_offered_is_joined),
		TEST(what_can_not_be_joined_is_not_offered),
		TEST(datagrams_go_back_in_front),
		TEST(a_reader_that_dies_leaves_no_charge),
		TEST(what_is_no_datagram_does_not_go_back),
		TEST(who_gives_back_a_part_and_goes),
	};

	return cmocka_run_group_tests(tests, eal_up, NULL);
}
