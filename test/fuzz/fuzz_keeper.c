/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The keeper of sockets that programs pass to one another (svc/keeper.c), beside an honest program:
 * hostile ones of two users and trust domains pass sockets that they have or have not, with
 * descriptors of any kind, keep, lose, mix up and forge what they get for them, hand that in as
 * whoever they are, read from it, write into it, shut it down, send it round in circles, and die in
 * the middle (H31, H32, H33, H36, H37, H40). In the end nothing is kept, and every socket, port and
 * descriptor is back.
 */
#define _GNU_SOURCE
#include "fuzz_service.h"

#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sock/sock_priv.h"
#include "svc/kept.h"

#define STEPS_MAX 80
#define ENDS_MAX  64
#define PORT	  8000
#define USER_KEPT 1024 /* keeper.c: of one user */

/* What PASSED brought; sockets whose other end went along with a socket that was passed. */
static int ends[ENDS_MAX], pipes[ENDS_MAX];
static unsigned ends_heard;
static uint64_t names[ENDS_MAX]; /* of ends that have one */

static void put(int table[ENDS_MAX], unsigned i, int fd)
{
	i %= ENDS_MAX;
	if (table[i] >= 0)
		close(table[i]);
	table[i] = fd;
}

static void keep_end(struct peer *p, struct attach_msg *m)
{
	for (unsigned i = 0; m->head.type == ATTACH_ENDS_ARE && i < m->n_fds; i++) {
		names[ends_heard % ENDS_MAX] = m->ends.name[i];
		put(ends, ends_heard++, m->fd[i]);
		m->fd[i] = -1;
	}
	if (m->head.type != ATTACH_PASSED || m->n_fds != 1)
		return;
	put(ends, ends_heard++, m->fd[0]);
	m->fd[0] = -1;
}

/* ---- sockets worth passing ---- */

static uint32_t accepted; /* the last connection */

/* The result of the command that was pushed last; -1: none came. */
static struct chan_cqe answer(struct peer *p)
{
	struct chan_cqe e = {.res = -1}, next;

	serve(2);
	while (p->end.sh != NULL && chan_receive(&p->end.cq, &next))
		if (next.ev == CHAN_EV_RESULT)
			e = next;
		else if (next.ev == CHAN_EV_ACCEPT)
			accepted = next.aux;
	return e;
}

static struct chan_cqe order(struct peer *p, struct chan_sqe q)
{
	push(p, &q);
	return answer(p);
}

/* A listener, and a connection to it, whose name it is. Others may have the port: then there is
 * none. */
static uint32_t make_sockets(struct peer *p, struct choices *c)
{
	struct ip_addr self = ip_addr_v4(be32(0x0a000001));
	struct chan_sqe make = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_STREAM, 0}};
	struct chan_sqe q = {.op = CHAN_OP_SETOPT, .sid = order(p, make).sid, .len = 4};

	q.port = (uint16_t)(PORT + choose8(c) % 4);
	q.opt.level = SOL_SOCKET;
	q.opt.name = SO_REUSEPORT;
	q.opt.value[0] = 1;
	(void)order(p, q);
	memset(q.data, 0, sizeof(q.data));
	q.op = CHAN_OP_BIND;
	q.ticket++;
	(void)order(p, q);
	q.op = CHAN_OP_LISTEN;
	q.ticket++;
	q.arg[0] = 4;
	(void)order(p, q);
	q.op = CHAN_OP_CONNECT;
	q.sid = order(p, make).sid;
	q.ticket = 0;
	memcpy(q.addr, &self, sizeof(self));
	(void)order(p, q);
	return q.sid;
}

/* ---- passing, handing in ---- */

/* A descriptor of any kind, or -1. The caller closes it. */
static int some_fd(struct peer *p, struct choices *c)
{
	uint8_t i = choose8(c);
	int pair[2];

	switch (choose8(c) % 6) {
	case 0:
		return memfd_create("x", 0);
	case 1:
		return p->sock >= 0 ? dup(p->sock) : -1;
	case 2:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
			return -1;
		put(pipes, i, pair[1]);
		return pair[0];
	case 3:
		return socket(AF_INET, SOCK_STREAM, 0);
	default:
		return ends[i % ENDS_MAX] >= 0 ? dup(ends[i % ENDS_MAX]) : -1;
	}
}

static void say_with_fds(struct peer *p, enum attach_type type, struct attach_pass *m, unsigned n,
			 struct choices *c)
{
	int fd[4];
	unsigned have = 0;

	while (n-- > 0)
		if ((fd[have] = some_fd(p, c)) >= 0)
			have++;
	say(p, type, m, sizeof(*m), fd, have);
	while (have > 0)
		close(fd[--have]);
}

static void pass(struct peer *p, struct choices *c)
{
	struct attach_pass m = {.id = choose8(c), .sid = {choose_sid(c)}};
	uint8_t how = choose8(c);

	if (how & 4)
		m.sid[choose8(c) % 16] = choose32(c);
	m.n_image = how & 8 ? choose32(c) : choose8(c);
	say_with_fds(p, ATTACH_PASS, &m, how % 4, c);
	if (how & 16) /* else its answer is not read for a while */
		serve(1);
	if (how & 32)
		hear(p);
}

static void hand_in(struct peer *p, struct choices *c)
{
	struct attach_pass m = {.id = choose8(c), .note = choose8(c) & 1 ? choose32(c) : 0};
	uint8_t i = choose8(c) % ENDS_MAX;

	if (choose8(c) & 3 && ends[i] >= 0)
		say(p, ATTACH_REDEEM, &m, sizeof(m), &ends[i], 1);
	else
		say_with_fds(p, ATTACH_REDEEM, &m, choose8(c) % 4, c);
}

/* The time is over in which ends are redeemed without a look. */
static void look(void)
{
	LIST_EACH (l, &svc.strangers.fresh)
		container_of(l, struct kept, turn)->look_ns = 0;
	(void)strangers_tick(&svc);
}

/* Who has an end uses it without the library. */
static void use_end(int end, struct choices *c)
{
	static char bytes[8192];
	int other = ends[choose8(c) % ENDS_MAX];
	size_t n = 1 + choose32(c) % sizeof(bytes);
	struct attach_head m;

	if (end < 0)
		return;
	switch (choose8(c) % 5) {
	case 0:
		(void)!send(end, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	case 1:
		(void)!recv(end, bytes, n, MSG_DONTWAIT);
		break;
	case 2:
		(void)shutdown(end, choose8(c) % 3);
		break;
	case 3: /* along itself, perhaps */
		(void)!attach_send(end, ATTACH_BYE, &m, sizeof(m), &other, other >= 0);
		break;
	default:
		look();
	}
	serve(1);
}

/* A connection that works, and somebody to talk to. */
static void pass_stream(struct peer *p, struct choices *c)
{
	struct attach_pass m = {.sid = {make_sockets(p, c)}};
	struct chan_sqe q = {.op = CHAN_OP_SEND, .len = 1 + choose32(c) % 20000};
	unsigned before = ends_heard;

	serve(4);
	say(p, ATTACH_PASS, &m, sizeof(m), NULL, 0);
	serve(1);
	hear(p);
	q.sid = accepted;
	if (choose8(c) & 1)
		(void)order(p, q);
	q = (struct chan_sqe){.op = CHAN_OP_CLOSE, .sid = m.sid[0], .ticket = 1, .arg = {-1}};
	if (choose8(c) & 3)
		(void)order(p, q);
	if (choose8(c) & 3)
		look();
	for (unsigned n = choose8(c) % 8; n > 0 && before != ends_heard; n--)
		use_end(ends[before % ENDS_MAX], c);
}

static void want_ends(struct peer *p, struct choices *c)
{
	struct attach_ends m = {.id = choose8(c), .n = choose8(c) & 1 ? choose32(c) : 3};

	say(p, ATTACH_ENDS, &m, sizeof(m), NULL, 0);
	serve(1);
	hear(p);
}

/* By a name that was heard, of whomever, or by one that is not quite one. */
static void by_name(struct peer *p, struct choices *c)
{
	uint64_t name = names[choose8(c) % ENDS_MAX];
	uint8_t how = choose8(c);
	struct chan_sqe q = {.op = how & 1 ? CHAN_OP_KEEP : CHAN_OP_REDEEM,
			     .sid = choose_sid(c),
			     .ticket = choose8(c) % 8,
			     .len = how & 2 ? choose32(c) : 200,
			     .off = how & 4 ? choose32(c) : 0};

	if (how & 8)
		q.op = CHAN_OP_KEPT;
	if (how & 16)
		name ^= 1ull << choose8(c) % 64;
	memcpy(q.data, &name, sizeof(name));
	push(p, &q);
}

/* What stands for a kept socket goes to where only the keeper could read it. */
static void send_round(struct choices *c)
{
	int *pipe = &pipes[choose8(c) % ENDS_MAX], *end = &ends[choose8(c) % ENDS_MAX];
	struct attach_head m;

	if (*pipe < 0 || *end < 0)
		return;
	(void)!attach_send(*pipe, ATTACH_BYE, &m, sizeof(m), end, 1);
	close(*pipe);
	close(*end);
	*pipe = *end = -1;
}

static void pass_often(struct peer *p, struct choices *c)
{
	struct attach_pass m = {.sid = {choose_sid(c)}};
	bool heard_of = choose8(c) & 1;

	for (unsigned i = 0; i < 64; i++) {
		say(p, ATTACH_PASS, &m, sizeof(m), NULL, 0);
		serve(1);
		if (heard_of)
			hear(p);
	}
}

/* ---- steps ---- */

static void come(struct peer *p, struct choices *c)
{
	if (p->sock >= 0)
		return;
	if (choose8(c) & 1 ? dial(p) : dial_as_other(p))
		attach_dialled(p);
	(void)make_sockets(p, c);
}

static void step(struct choices *c)
{
	struct peer *p = &evil[choose8(c) % EVIL_MAX];
	uint8_t i = choose8(c) % ENDS_MAX;
	struct attach_head head;

	switch (choose8(c) % 20) {
	case 0:
		come(p, c);
		break;
	case 1:
	case 2:
	case 3:
		pass(p, c);
		break;
	case 4:
	case 5:
		hand_in(p, c);
		break;
	case 6:
		put(ends, i, -1);
		break;
	case 7:
		use_end(ends[i], c);
		break;
	case 8:
		send_round(c);
		break;
	case 9:
		(void)make_sockets(p, c);
		break;
	case 10:
		command(p, c);
		break;
	case 11:
		if (choose8(c) & 1)
			scribble(p, c);
		else
			say_anything(p, c);
		break;
	case 12:
		if (choose8(c) & 1)
			die(p);
		else
			leave(p);
		break;
	case 13:
		pass_often(p, c);
		break;
	case 15:
	case 16:
		pass_stream(p, c);
		break;
	case 17:
		want_ends(p, c);
		break;
	case 18:
		by_name(p, c);
		break;
	case 14:
		say(p, ATTACH_FORK, &head, sizeof(head), NULL, 0);
		break;
	default:
		serve(1 + choose8(c) % 4);
		hear(p);
	}
}

static void everything_back(void)
{
	for (unsigned i = 0; i < ENDS_MAX; i++) {
		put(ends, i, -1);
		put(pipes, i, -1);
	}
	serve(4);
	/* What came after the first were closed. */
	for (unsigned i = 0; i < EVIL_MAX; i++)
		hear(&evil[i]);
	for (unsigned i = 0; i < ENDS_MAX; i++)
		put(ends, i, -1);
	everybody_leaves();
}

/* ---- one user takes all ---- */

static int full_ends[2 * USER_KEPT];
static unsigned n_full;
static int last_res;

static void keep_all(struct peer *p, struct attach_msg *m)
{
	if (m->head.type != ATTACH_PASSED)
		return;
	last_res = m->pass.res;
	if (m->n_fds == 1 && n_full < 2 * USER_KEPT) {
		full_ends[n_full++] = m->fd[0];
		m->fd[0] = -1;
	}
}

static void pass_one(struct peer *p, uint32_t sid, int with)
{
	struct attach_pass m = {.sid = {sid}};

	last_res = 1;
	say(p, ATTACH_PASS, &m, sizeof(m), &with, with >= 0);
	serve(1);
	hear(p);
}

/* The same socket over and over: to the limit of its user, who is told so; another one still may.
 */
static void exhaust(void)
{
	struct chan_sqe make = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_STREAM, 0}};
	struct peer *greedy = &evil[0], *other = &evil[1];
	uint32_t sid;

	attach(greedy);
	expect(dial_as_other(other));
	attach_dialled(other);
	heard = keep_all;
	sid = order(greedy, make).sid;
	for (unsigned i = 0; i < USER_KEPT + 10; i++)
		pass_one(greedy, sid, -1);
	/* Or a part of the descriptors, where there are few. */
	expect(n_full > 0 && n_full <= USER_KEPT && last_res == -ETOOMANYREFS);
	honest_check();
	if (geteuid() == 0) {
		pass_one(other, order(other, make).sid, -1);
		expect(last_res == 0);
	}
	die(greedy);
	serve(1);
	expect(the_socks()->n_socks >= n_full);
	honest_check();
	while (n_full > 0)
		close(full_ends[--n_full]);
	for (unsigned i = 0; i < USER_KEPT; i++)
		serve(1);
	everybody_leaves();
}

/* What stands for a kept socket would lie where only the keeper can read it: for ever. */
static void circle(void)
{
	struct chan_sqe make = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_STREAM, 0}};
	struct peer *p = &evil[0];
	struct attach_head m;
	int pair[2];

	attach(p);
	expect(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	pass_one(p, order(p, make).sid, pair[0]);
	if (n_full == 1)
		(void)!attach_send(pair[1], ATTACH_BYE, &m, sizeof(m), full_ends, 1);
	else
		expect(last_res == -EINVAL);
	while (n_full > 0)
		close(full_ends[--n_full]);
	close(pair[0]);
	close(pair[1]);
	everybody_leaves();
}

/* A stranger reads and writes: the steps do reach what they are for. */
static void stranger(void)
{
	struct choices none = {NULL, 0};
	struct attach_pass m = {.id = 1};
	struct chan_sqe q = {.op = CHAN_OP_SEND, .len = 5};
	struct peer *p = &evil[0];
	char byte;

	attach(p);
	m.sid[0] = make_sockets(p, &none);
	serve(8);
	say(p, ATTACH_PASS, &m, sizeof(m), NULL, 0);
	serve(1);
	hear(p);
	expect(last_res == 0 && n_full == 1);
	(void)order(p, (struct chan_sqe){
			       .op = CHAN_OP_CLOSE, .sid = m.sid[0], .ticket = 1, .arg = {-1}});
	q.sid = accepted;
	(void)order(p, q);
	serve(8);
	look();
	serve(4);
	for (unsigned i = 0; i < 5; i++)
		expect(recv(full_ends[0], &byte, 1, MSG_DONTWAIT) == 1);
	serve(2);
	expect(svc.strangers.n_served == 1);
	expect(send(full_ends[0], &byte, 1, MSG_DONTWAIT) == 1);
	serve(8);
	close(full_ends[--n_full]);
	serve(8);
	expect(svc.strangers.n_served == 0);
	everybody_leaves();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_service_open(false, true);
	for (unsigned i = 0; i < ENDS_MAX; i++)
		ends[i] = pipes[i] = -1;
	exhaust();
	circle();
	stranger();
	heard = keep_end;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};

	for (unsigned i = choose8(&c) % 4; i > 0; i--)
		come(&evil[i], &c);
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++) {
		step(&c);
		if (n % 4 == 0)
			honest_check();
	}
	everything_back();
	return 0;
}
