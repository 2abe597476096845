/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Same-node links (docs/design/013) with a hostile program at the other side: it writes anything at
 * any time into the memory that it shares with libzstack (H32), gives back what it was not given or
 * twice (H33), keeps everything (H34), changes what it sent (H39), floods the bell, and dies in the
 * middle (H31); while the honest program sends, receives, lends, passes on, to the wire too, closes
 * and forks.
 * Beside it is an honest neighbour, whose stream must come through byte for byte whatever happens
 * to the other one; in the end no token, row, loan, region or descriptor is missing. What goes
 * between the program and the hostile one is a stream, or records.
 *
 * The service is played, and honest: test/unit/client/fake.c.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <sys/mman.h>

#include "../unit/client/fake.h"
#include "chan/attach.h"
#include "client/link.h"

#define core0	  (&fake.core[0])
#define ARENA	  (1u << 20)
#define STEPS_MAX 120
#define HELD_MAX  64
#define PIECE_MAX 70000u

enum { EVIL, GOOD };

/* A neighbour, and our socket that is connected to it. */
struct neighbour {
	uint32_t id, app;
	struct link_shm *shm;
	struct link_end end;
	uint8_t *arena;
	int bell;
	int fd;
	uint32_t sid;
	uint32_t sent, got; /* GOOD: bytes of the two streams so far */
};

static struct neighbour side[2];
static int wire;     /* a connection that has no link */
static int control;  /* the service's end of the control connection */
static bool records; /* not a stream */
static struct zs_buf held[HELD_MAX];
static unsigned n_held;
static uint8_t piece[PIECE_MAX];

static int memory(size_t bytes, void *at)
{
	int m = memfd_create("test", MFD_CLOEXEC);

	expect(m >= 0 && ftruncate(m, (off_t)bytes) == 0);
	*(void **)at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	expect(*(void **)at != MAP_FAILED);
	return m;
}

/* ---- the service ---- */

static void say(struct neighbour *n, enum chan_ev ev, uint32_t link, uint64_t off)
{
	struct chan_cqe e = {.ev = (uint8_t)ev, .sid = n->sid, .aux = link, .off = off};

	if (n->fd < 0 || chan_free(&core0->end.cq, 1) == 0)
		return;
	fake_event(core0, &e);
	zs_process(0);
}

/* It answers who wants the stream back on TCP. */
static void on_answer(enum chan_op op)
{
	const struct chan_sqe *q = &core0->log[core0->n_log - 1];
	struct chan_cqe e = {.ev = CHAN_EV_LINK_RX, .sid = q->sid};

	if (op == CHAN_OP_LINK_TAKE && q->arg[0] == 0)
		fake_event(core0, &e);
}

static void link_comes(struct neighbour *n, uint32_t id)
{
	struct attach_msg m = {.link = {.head.type = ATTACH_LINK,
					.id = id,
					.side = 1,
					.app = id + 10,
					.n_cores = 1,
					.bytes = sizeof(*n->shm),
					.arena_bytes = ARENA},
			       .n_fds = 4};
	int pair[2];

	*n = (struct neighbour){.id = id, .app = id + 10, .fd = -1};
	m.fd[0] = memory(sizeof(*n->shm), &n->shm);
	link_format(n->shm);
	expect(link_attach(&n->end, n->shm, 0) == 0);
	expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	m.fd[1] = pair[0];
	n->bell = pair[1];
	m.fd[2] = bell_open(); /* readable never: it lives */
	m.fd[3] = memory(ARENA, &n->arena);
	expect(links_message(&m));
	attach_close_fds(&m);
}

static int record_connection(uint32_t *sid)
{
	struct sockaddr_in to = fake_addr(80);
	int fd = zs_socket(AF_INET, SOCK_SEQPACKET, 0);

	expect(fd >= 0);
	*sid = core0->next_sid - 1;
	expect(zs_connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
	expect(zs_fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	return fd;
}

static void connect_to(struct neighbour *n)
{
	n->fd = records && n == &side[EVIL] ? record_connection(&n->sid)
					    : fake_connection(SOCK_NONBLOCK, &n->sid);
	n->sent = n->got = 0;
	say(n, CHAN_EV_LINK_OFFER, n->id, 0);
	(void)!zs_recv(n->fd, piece, 1, 0);
	say(n, CHAN_EV_LINK_RX, n->id, 0);
	say(n, CHAN_EV_LINK_TX, n->id, 9ull << 32 | 77);
}

/* ---- the program ---- */

static struct csock *sock_of(struct neighbour *n)
{
	int err;

	return n->fd >= 0 ? fd_csock(n->fd, &err) : NULL;
}

static void release_all(void)
{
	while (n_held > 0)
		expect(zs_buf_release(&held[--n_held], 1) == 0);
}

/* A byte that depends on where in the stream it stands. */
static uint8_t byte_at(uint32_t at)
{
	return (uint8_t)(at * 131 + (at >> 8) * 7);
}

static void pass_on(void);

/* What the hostile one sent, to the wire: the service is told where it lies, which is in that one's
 * memory, or was copied to ours; and perhaps keeps it for a while. */
static void to_wire(uint32_t len)
{
	fake.keep_tokens = len & 1;
	if ((len & 2) && !client.lost)
		fake_ack(core0, core0->n_held);
	if (n_held == 0 || zs_send_zc(wire, &held[n_held - 1], 1, 0, MSG_DONTWAIT) != 1)
		return;
	n_held--;
	zs_process(0);
	for (unsigned i = 0; i < core0->n_log; i++) {
		const struct chan_sqe *q = &core0->log[i];

		if (q->op == CHAN_OP_SEND)
			expect((q->off >> 32 == 0 || q->off >> 32 == side[EVIL].app) &&
			       (uint32_t)q->off + q->len <=
				       (q->off >> 32 ? ARENA : core0->map.arena_bytes));
	}
}

static void use_evil(struct choices *c)
{
	struct neighbour *n = &side[EVIL];
	uint32_t len = choose16(c);
	int k;

	switch (choose8(c) % 10) {
	case 9:
		to_wire(len);
		break;
	case 0:
		(void)!zs_send(n->fd, piece, len, choose8(c) % 8 == 0 ? MSG_OOB : 0);
		break;
	case 1:
		(void)!zs_recv(n->fd, piece, len, choose8(c) % 4 == 0 ? MSG_PEEK : 0);
		break;
	case 2:
		k = zs_recv_zc(n->fd, &held[n_held], (int)(HELD_MAX - n_held), 0);
		n_held += k > 0 ? (unsigned)k : 0;
		break;
	case 3:
		if (n_held > 0 && zs_send_zc(n->fd, &held[n_held - 1], 1, len % 3, 0) == 1)
			n_held--;
		break;
	case 4:
		if (n_held < HELD_MAX && zs_buf_alloc(n->fd, 1 + len % 4000, &held[n_held]) == 0)
			n_held++;
		break;
	case 5:
		if (n_held > 0)
			expect(zs_buf_release(&held[--n_held], 1) == 0);
		break;
	case 6:
		pass_on();
		break;
	case 7:
		(void)!zs_shutdown(n->fd, len % 3);
		break;
	default:
		if (n->fd >= 0)
			zs_close(n->fd);
		n->fd = -1;
		if (!client.lost)
			connect_to(n);
	}
}

/* What fork does with a socket before the child is there. */
static void share(struct neighbour *n)
{
	struct csock *s;

	client_lock();
	s = sock_of(n);
	if (s != NULL && (s->flags & CSOCK_LINKED) && !csock_kept(s) && !csock_records(s))
		(void)link_leave(s);
	client_unlock();
}

/* ---- the honest neighbour ---- */

static void good_sends(uint32_t len)
{
	struct neighbour *n = &side[GOOD];
	struct link_entry *q;
	struct csock *s = sock_of(n);
	ssize_t k;

	expect(s != NULL && (s->flags & CSOCK_LINKED));
	len = 1 + len % LINK_INLINE;
	q = link_slot(&n->end);
	*q = (struct link_entry){.to = csock_row(s), .gen = lsock_of(s)->gen, .len = len};
	for (uint32_t i = 0; i < len; i++)
		q->data[i] = byte_at(n->sent + i);
	link_push(&n->end, len);
	n->sent += len;
	k = zs_recv(n->fd, piece, sizeof(piece), 0);
	expect(k == (ssize_t)len);
	for (uint32_t i = 0; i < len; i++)
		expect(piece[i] == byte_at(n->sent - len + i));
}

static void good_takes_back(void)
{
	uint32_t word;

	while (link_returned(&side[GOOD].end, &word))
		expect(word == 0);
}

static void good_receives(uint32_t len)
{
	struct neighbour *n = &side[GOOD];
	const struct link_entry *q;
	const uint8_t *at;

	for (uint32_t i = 0; i < len; i++)
		piece[i] = byte_at(n->got + i);
	expect(zs_send(n->fd, piece, len, 0) == (ssize_t)len);
	while ((q = link_next(&n->end)) != NULL) {
		at = q->region == LINK_REGION_NONE ? q->data : (uint8_t *)core0->map.arena + q->off;
		for (uint32_t i = 0; i < q->len; i++)
			expect(at[i] == byte_at(n->got + i));
		n->got += q->len;
		link_give_back(&n->end, q->token);
		link_take(&n->end);
	}
	zs_process(0);
}

/* What the hostile one sent, to the good one: who learns where it lies, and gives it back. */
static void pass_on(void)
{
	struct neighbour *n = &side[GOOD];
	const struct link_entry *q;

	if (n_held == 0 || zs_send_zc(n->fd, &held[n_held - 1], 1, 0, 0) != 1)
		return;
	n_held--;
	while ((q = link_next(&n->end)) != NULL) {
		expect(q->region == LINK_REGION_NONE || q->region == LINK_REGION_PACKETS ||
		       q->region == link_region(1, 0) ||
		       q->region == link_region(side[EVIL].app, 0));
		link_give_back(&n->end, q->token);
		link_take(&n->end);
	}
	zs_process(0);
}

/* Streams of the good one, both ways: they suffer nothing. */
static void good_check(uint32_t seed)
{
	uint32_t before = side[GOOD].got;

	good_sends(seed);
	good_takes_back();
	good_receives(1 + seed % 5000);
	expect(side[GOOD].got == before + 1 + seed % 5000);
}

/* ---- the hostile one ---- */

static void evil_entry(struct choices *c)
{
	struct neighbour *n = &side[EVIL];
	struct link_entry *q = link_slot(&n->end);
	struct csock *s = sock_of(n);
	uint8_t how = choose8(c);
	uint32_t *word = (uint32_t *)(void *)q;

	*q = (struct link_entry){.token = choose8(c), .len = 1 + choose8(c)};
	if (s != NULL && client.links->sock != NULL) {
		q->to = csock_row(s);
		q->gen = lsock_of(s)->gen;
	}
	if (how & 1) {
		q->region = how & 2 ? LINK_REGION_PACKETS : link_region(n->app, 0);
		q->off = choose16(c);
		q->len = 1 + choose16(c);
	}
	q->flags = how & 4 ? LINK_OOB : 0;
	if (how & 8) { /* a word of its own */
		q->len = 0;
		q->flags = 1u << choose8(c) % 6;
	}
	if (records && (how & 0x18) == 0x10) {
		q->len = 0;
		q->flags |= LINK_EMPTY;
	}
	if (how >= 0xe0) {
		unsigned which = choose8(c) % 7;

		word[1 + which] = choose32(c);
	}
	if (how < 0x20) /* a position out of order */
		n->end.tx += choose8(c) % 3;
	link_push(&n->end, 1);
}

static void evil_returns(struct choices *c)
{
	struct neighbour *n = &side[EVIL];
	const struct link_entry *q = link_next(&n->end);
	uint8_t how = choose8(c);
	uint32_t word;

	if (q == NULL && how < 0xf0)
		return;
	word = q != NULL ? q->token : choose32(c);
	if (how >= 0xf0)
		word ^= choose16(c);
	link_give_back(&n->end, word | (how & 1 ? LINK_RET_GONE : 0));
	if (how < 0xd0) /* else it comes back once more, later */
		link_take(&n->end);
}

static void evil_writes(struct choices *c)
{
	struct neighbour *n = &side[EVIL];
	uint8_t bytes[256];
	uint32_t at = choose32(c), len = choose_bytes(c, bytes, choose8(c));

	switch (choose8(c) % 4) {
	case 0: /* H39, and whatever else lies there */
		at %= ARENA - sizeof(bytes);
		memcpy(n->arena + at, bytes, len);
		break;
	case 1:
		atomic_store(&n->shm->side[at % 2].taken, choose32(c));
		break;
	case 2:
		atomic_store(&n->shm->side[at % 2].armed, choose8(c));
		break;
	default:
		at %= sizeof(*n->shm) - sizeof(bytes);
		memcpy((uint8_t *)n->shm + at, bytes, len);
	}
}

static void evil_rings(struct choices *c)
{
	for (unsigned i = choose8(c); i > 0; i--)
		(void)!send(side[EVIL].bell, piece, 1 + i, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (choose8(c) % 16 == 0)
		shutdown(side[EVIL].bell, SHUT_RDWR);
}

static void evil_ends(void)
{
	struct attach_msg m = {.linked = {.head.type = ATTACH_LINK_END, .id = side[EVIL].id}};

	expect(links_message(&m));
}

/* ---- steps ---- */

static void service_says(struct choices *c)
{
	struct neighbour *n = &side[EVIL];

	if (chan_free(&core0->end.cq, 1) == 0)
		return;
	switch (choose8(c) % 10) {
	case 0:
		say(n, CHAN_EV_LINK_OFFER, n->id, 0);
		break;
	case 1:
		say(n, CHAN_EV_LINK_RX, n->id, 0);
		break;
	case 2:
		say(n, CHAN_EV_LINK_RX, 0, 0);
		break;
	case 3:
		say(n, CHAN_EV_LINK_TX, n->id, (uint64_t)choose8(c) << 32 | choose8(c));
		break;
	case 4:
		say(n, CHAN_EV_LINK_TX, 0, 0);
		break;
	case 5:
		fake_data(core0, n->sid, "over TCP", 0);
		break;
	case 6:
		fake_fin(core0, n->sid);
		break;
	case 7:
		fake_error(core0, n->sid, -ECONNRESET, true);
		break;
	case 8:
		evil_ends();
		break;
	default:
		share(n);
	}
}

/* The service is gone; the program goes on, and so does its stream to the good one. */
static void lose(void)
{
	if (client.lost)
		return;
	client_lock();
	client_lose(&(struct mapping){NULL, 0});
	client_unlock();
	core0->n_held = 0;
}

static void step(struct choices *c)
{
	switch (choose8(c) % 12) {
	case 0:
	case 1:
	case 2:
		evil_entry(c);
		break;
	case 3:
	case 4:
		evil_returns(c);
		break;
	case 5:
		evil_writes(c);
		break;
	case 6:
		evil_rings(c);
		break;
	case 7:
		service_says(c);
		break;
	case 8:
		zs_process(0);
		break;
	case 9:
		if (choose8(c) < 32)
			lose();
		break;
	default:
		use_evil(c);
	}
}

/* ---- from beginning to end ---- */

static void up(void)
{
	uint32_t name;
	int pair[2];

	fake_start(1, false);
	fake.on_answer = on_answer;
	expect(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
	client.transport.service.sock = pair[0];
	client.transport.service.app = 1;
	control = pair[1];
	shutdown(control, SHUT_RDWR); /* nobody answers who asks for regions */
	link_comes(&side[EVIL], 3);
	link_comes(&side[GOOD], 4);
	connect_to(&side[EVIL]);
	connect_to(&side[GOOD]);
	wire = fake_connection(SOCK_NONBLOCK, &name);
	good_check(100);
}

static void everything_is_back(void)
{
	const struct links *k = client.links;

	for (unsigned i = 0; i < k->n; i++)
		expect(k->link[i].state == LINK_FREE);
	for (unsigned i = 0; i < REGIONS_MAX; i++)
		expect(k->region[i].rows == 0 && k->region[i].links == 0);
	expect(k->packet_rows == 0 && client.core[0].lent == 0);
	expect(client.core[0].tokens_left == client.core[0].max_tokens);
}

static void down(void)
{
	release_all();
	fake_ack(core0, core0->n_held);
	zs_close(wire);
	for (unsigned i = 0; i < 2; i++)
		zs_close(side[i].fd);
	for (unsigned i = 0; i < client.links->n; i++)
		if (client.links->link[i].state != LINK_FREE)
			link_end(&client.links->link[i], true);
	zs_process(0);
	everything_is_back();
	close(client.transport.service.sock);
	close(control);
	fake_stop();
	for (unsigned i = 0; i < 2; i++) {
		munmap(side[i].shm, sizeof(*side[i].shm));
		munmap(side[i].arena, ARENA);
		close(side[i].bell);
	}
}

static unsigned descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 2048; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};
	unsigned before = descriptors();

	records = choose8(&c) % 4 == 0;
	up();
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++) {
		step(&c);
		core0->n_log = 0;
		if (n % 4 == 0)
			good_check(n * 977);
	}
	good_check(1);
	down();
	expect(descriptors() == before);
	return 0;
}
