/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The whole service in this process, and applications of which one is honest: the others send
 * whatever messages with whatever descriptors (H32, H37), write over the memory that they share at
 * any time (H32, H33), never read (H34), try to change what they got (H35, H36), and leave in the
 * middle of anything (H31). After each step or two the honest one must get an answer to a command
 * and its own datagram back, unharmed; in the end nobody else is attached and no descriptor is
 * left.
 *
 * The other process is this one, so what tells a dead process from a living one (pidfd, mappings)
 * is left to the tests with real ones (test/interop/test_service.py, test_storm.py).
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "svc/service.h"

#define STEPS_MAX 60
#define EVIL_MAX  6
#define PAYLOAD	  200u
#define UDP_PORT  5300

struct peer {
	int sock;
	bool ready;    /* READY was heard */
	bool writable; /* its arena, by it */
	struct chan_map map;
	struct chan_end end;
	uint64_t rings_bytes;
	int pkt_fd, arena_fd;
};

static struct service svc;
static struct peer honest, evil[EVIL_MAX];
static uint32_t honest_sid, honest_ticket, honest_round;
static unsigned descriptors_before;
static char socket_name[64];
static const char *const vdevs[] = {"net_null0,no-rx=1", NULL};
static const char *const addrs[] = {"10.0.0.1/24", NULL};

/* Those of the kinds that the service and its applications have; the fuzzer has others. */
static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned n = 0;

	expect(d != NULL);
	while ((e = readdir(d)) != NULL) {
		char to[64] = "";

		if (readlinkat(dirfd(d), e->d_name, to, sizeof(to) - 1) > 0)
			n += strncmp(to, "socket:", 7) == 0 || strncmp(to, "anon_", 5) == 0 ||
			     strncmp(to, "/memfd:", 7) == 0;
	}
	closedir(d);
	return n;
}

/* A few turns of the control thread's loop, and of the stack's. */
static void serve(unsigned turns)
{
	struct epoll_event e;

	while (turns-- > 0) {
		(void)apps_reap(&svc);
		while (epoll_wait(svc.epoll, &e, 1, 0) == 1) {
			struct source *src = e.data.ptr;

			src->ready(&svc, src, e.events);
			(void)apps_reap(&svc);
		}
		node_poll(&svc.node.core[0]);
	}
}

/* ---- an application's side ---- */

static void forget(struct peer *p)
{
	if (p->map.base != NULL)
		munmap(p->map.base, p->rings_bytes);
	if (p->map.arena != NULL)
		munmap(p->map.arena, p->map.arena_bytes);
	if (p->map.region[CHAN_REGION_PKT].base != NULL)
		munmap((void *)(uintptr_t)p->map.region[CHAN_REGION_PKT].base,
		       p->map.region[CHAN_REGION_PKT].bytes);
	if (p->arena_fd >= 0)
		close(p->arena_fd);
	if (p->sock >= 0)
		close(p->sock);
	*p = (struct peer){.sock = -1, .pkt_fd = -1, .arena_fd = -1};
}

static bool dial(struct peer *p)
{
	struct sockaddr_un at;
	socklen_t len;

	expect(attach_address(socket_name, &at, &len) == 0);
	p->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->sock >= 0 && connect(p->sock, (struct sockaddr *)&at, len) == 0)
		return true;
	forget(p);
	return false;
}

/* H35, H36: what is handed out read-only is, and nothing changes its length. */
static void try_to_change(int fd, uint64_t bytes)
{
	expect(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	expect(ftruncate(fd, 0) < 0 && ftruncate(fd, (off_t)bytes * 2) < 0);
	expect(write(fd, "x", 1) < 0);
	expect(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
}

static void take_welcome(struct peer *p, struct attach_msg *m)
{
	const struct attach_welcome *w = &m->welcome;
	struct chan_hdr hdr;

	expect(w->n_cores == 1 && m->n_fds >= 5 && p->map.base == NULL);
	p->rings_bytes = w->rings_bytes;
	p->map.arena_bytes = w->arena_bytes;
	p->map.base = mmap(NULL, w->rings_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[1], 0);
	p->map.arena = mmap(NULL, w->arena_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd[2], 0);
	p->map.region[CHAN_REGION_PKT].base =
		mmap(NULL, w->pkt_bytes, PROT_READ, MAP_SHARED, m->fd[0], 0);
	p->map.region[CHAN_REGION_PKT].bytes = w->pkt_bytes;
	p->map.region[CHAN_REGION_ARENA].base = p->map.arena;
	p->map.region[CHAN_REGION_ARENA].bytes = w->arena_bytes;
	p->writable = p->map.arena != MAP_FAILED;
	if (!p->writable) /* one that was brought is sealed already */
		p->map.arena = mmap(NULL, w->arena_bytes, PROT_READ, MAP_SHARED, m->fd[2], 0);
	expect(p->map.base != MAP_FAILED && p->map.arena != MAP_FAILED);
	expect(p->map.region[CHAN_REGION_PKT].base != MAP_FAILED);
	try_to_change(m->fd[0], w->pkt_bytes);
	expect(ftruncate(m->fd[1], 0) < 0 && ftruncate(m->fd[2], 0) < 0);
	p->arena_fd = dup(m->fd[2]);
	if (chan_check(p->map.base, w->rings_bytes, &hdr) == 0)
		chan_attach(&p->end, &p->map, &hdr);
}

/* What the service said. A child's connection becomes another application's. */
static void hear(struct peer *p)
{
	struct attach_msg m;
	int rc;

	while (p->sock >= 0 && (rc = attach_recv(p->sock, &m, MSG_DONTWAIT)) != -EAGAIN) {
		if (rc < 0 || m.head.type == ATTACH_REFUSED) {
			attach_close_fds(&m);
			if (rc < 0 || !p->ready) /* else a child was refused */
				forget(p);
			continue;
		}
		if (m.head.type == ATTACH_WELCOME && m.n_fds == 5)
			take_welcome(p, &m);
		for (unsigned i = 0; m.head.type == ATTACH_WELCOME && m.n_fds == 6 && i < EVIL_MAX;
		     i++) {
			if (evil[i].sock >= 0)
				continue;
			evil[i].sock = dup(m.fd[5]);
			m.n_fds = 5;
			close(m.fd[5]);
			take_welcome(&evil[i], &m);
		}
		if (m.head.type == ATTACH_READY)
			p->ready = true;
		attach_close_fds(&m);
	}
}

/* ---- the honest one ---- */

static void push(struct peer *p, const struct chan_sqe *q)
{
	struct chan_ring *r = &p->end.sq;

	if (p->end.sh == NULL || chan_free(r, 1) == 0)
		return;
	chan_send(r, q);
}

/* The next event of the honest one, within so many turns. */
static struct chan_cqe event(uint8_t ev)
{
	struct chan_ring *r = &honest.end.cq;
	struct chan_cqe e;
	uint32_t token;

	for (unsigned i = 0; i < 1000; i++) {
		while (chan_receive_name(&honest.end.done, &token))
			;
		while (chan_receive(r, &e))
			if (e.ev == ev)
				return e;
		node_poll(&svc.node.core[0]);
	}
	abort(); /* H34: somebody else's doing stopped it */
}

static struct chan_cqe call(struct chan_sqe q)
{
	if (q.sid != 0)
		q.ticket = honest_ticket++;
	push(&honest, &q);
	return event(CHAN_EV_RESULT);
}

/* The whole way, as libzstack goes it. */
static void attach(struct peer *p)
{
	struct attach_hello h = {.arena_bytes = 1 << 20, .program = "fuzz"};
	struct attach_head mapped;

	expect(dial(p));
	expect(attach_send(p->sock, ATTACH_HELLO, &h, sizeof(h), NULL, 0) == 0);
	serve(2);
	hear(p);
	/* Who came before may still be leaving, up to the limit. */
	if (p->sock < 0)
		return;
	expect(attach_send(p->sock, ATTACH_MAPPED, &mapped, sizeof(mapped), NULL, 0) == 0);
	serve(2);
	hear(p);
	expect(p->ready);
}

static void honest_up(void)
{
	struct chan_sqe q = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_DGRAM, 0}};

	attach(&honest);
	honest_sid = call(q).sid;
	q = (struct chan_sqe){.op = CHAN_OP_BIND, .sid = honest_sid, .port = UDP_PORT};
	expect(call(q).res == 0);
}

/* A datagram to itself: what arrives is what it sent. */
static void honest_check(void)
{
	struct chan_sqe q = {.op = CHAN_OP_SENDTO, .sid = honest_sid, .port = UDP_PORT};
	struct ip_addr self = ip_addr_v4(be32(0x0a000001));
	struct chan_ring *r = &honest.end.ret;
	struct chan_cqe e;

	honest_round++;
	memset(honest.map.arena, (int)honest_round, PAYLOAD);
	q.len = PAYLOAD;
	q.token = honest_round % 16;
	q.ticket = honest_ticket++;
	memcpy(q.addr, &self, sizeof(self));
	push(&honest, &q);
	e = event(CHAN_EV_DGRAM);
	expect(e.res == PAYLOAD);
	expect(e.sid == honest_sid);
	const void *at = chan_at(&honest.map, e.region, e.off, PAYLOAD);

	expect(at != NULL && memcmp(at, honest.map.arena, PAYLOAD) == 0);
	expect(chan_free(r, 1) != 0);
	chan_send_name(r, e.loan);
}

/* ---- the others ---- */

static void say(struct peer *p, enum attach_type type, void *msg, size_t len, const int *fd,
		unsigned n)
{
	if (p->sock >= 0)
		(void)!attach_send(p->sock, type, msg, len, fd, n);
}

static void say_hello(struct peer *p, struct choices *c)
{
	struct attach_hello h = {.arena_bytes = (uint64_t)choose8(c) << choose8(c) % 40,
				 .max_sockets = choose8(c),
				 .max_loans = choose8(c),
				 .max_tokens = choose8(c)};
	struct peer *from = &evil[choose8(c) % EVIL_MAX];
	uint8_t how = choose8(c);
	int fd = -1;

	choose_bytes(c, h.program, how % sizeof(h.program));
	if (how & 1) { /* memory that it brings: its own of before, or none that could be taken */
		fd = how & 2 && from->arena_fd >= 0 ? dup(from->arena_fd)
						    : memfd_create("x", MFD_ALLOW_SEALING);
		if (how & 4)
			h.arena_bytes = from->map.arena_bytes;
	}
	say(p, ATTACH_HELLO, &h, sizeof(h), &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

/* Bytes of any length as any type, with any number of descriptors. */
static void say_anything(struct peer *p, struct choices *c)
{
	char raw[600] = {0};
	struct attach_head head = {ATTACH_MAGIC, ATTACH_VERSION, choose8(c)};
	size_t len = 1 + choose16(c) % (sizeof(raw) - 1); /* an empty one looks like the end */
	struct iovec v = {raw, len};
	union {
		char buf[CMSG_SPACE(80 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	unsigned n = choose8(c) % 81;
	uint8_t how = choose8(c);

	if (how & 1)
		head.version = how;
	choose_bytes(c, raw, 64);
	if (how & 6)
		memcpy(raw, &head, sizeof(head));
	if (n > 0 && (how & 8)) {
		struct cmsghdr *m;

		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		m = CMSG_FIRSTHDR(&h);
		m->cmsg_level = SOL_SOCKET;
		m->cmsg_type = SCM_RIGHTS;
		m->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(m) + i * sizeof(int), &p->sock, sizeof(int));
	}
	if (p->sock >= 0)
		(void)!sendmsg(p->sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void scribble(struct peer *p, struct choices *c)
{
	uint32_t at, n = choose8(c);
	uint8_t bytes[256];

	if (p->map.base == NULL)
		return;
	n = choose_bytes(c, bytes, n);
	/* Mostly where the header and the indices are. */
	at = choose8(c) & 1 ? choose32(c) : choose16(c) % 1024;
	if (n == 0 || at % p->rings_bytes + n > p->rings_bytes)
		return;
	memcpy((char *)p->map.base + at % p->rings_bytes, bytes, n);
}

static void command(struct peer *p, struct choices *c)
{
	struct ip_addr self = ip_addr_v4(be32(0x0a000001));
	struct chan_sqe q = {.op = choose8(c) % (CHAN_OP_MAX + 1), .flags = choose8(c)};
	uint8_t i = choose8(c);

	q.sid = (uint32_t)(1 + i / 16 % 4) << SID_INDEX_BITS | i % 16;
	q.ticket = choose8(c) % 8;
	q.token = choose8(c);
	q.len = choose16(c);
	q.off = choose32(c);
	q.loan = choose32(c);
	q.port = choose8(c) & 1 ? UDP_PORT : choose16(c);
	if (q.op == CHAN_OP_SOCKET) {
		q.arg[0] = AF_INET;
		q.arg[1] = choose8(c) & 1 ? SOCK_DGRAM : SOCK_STREAM;
	} else if (choose8(c) & 1) {
		memcpy(q.addr, &self, sizeof(self));
	} else {
		q.arg[0] = (int32_t)choose8(c);
		q.arg[1] = (int32_t)choose8(c);
	}
	push(p, &q);
}

static void leave(struct peer *p)
{
	struct attach_head bye;

	serve(2);
	hear(p);
	say(p, ATTACH_BYE, &bye, sizeof(bye), NULL, 0);
	serve(2);
	forget(p);
}

static void step(struct choices *c)
{
	struct peer *p = &evil[choose8(c) % EVIL_MAX];
	struct attach_grant g = {.id = 1};
	struct attach_head head;

	switch (choose8(c) % 12) {
	case 0:
	case 1:
		if (p->sock < 0 && dial(p)) {
			say_hello(p, c);
			serve(2);
			hear(p);
		}
		break;
	case 2:
		say(p, ATTACH_MAPPED, &head, sizeof(head), NULL, 0);
		break;
	case 3:
		g.port = choose16(c);
		choose_bytes(c, g.addr, choose8(c) % 17);
		say(p, ATTACH_GRANT, &g, sizeof(g), NULL, 0);
		break;
	case 4:
		say(p, ATTACH_FORK, &head, sizeof(head), NULL, 0);
		break;
	case 5:
		say_anything(p, c);
		break;
	case 6:
		serve(2);
		hear(p);
		if (p->ready)
			leave(p);
		else
			forget(p); /* in the middle of it */
		break;
	case 7:
		scribble(p, c);
		break;
	case 8:
	case 9:
		command(p, c);
		break;
	case 10:
		if (p->writable)
			memset(p->map.arena, choose8(c), PAYLOAD);
		say_hello(p, c);
		break;
	default:
		serve(1 + choose8(c) % 4);
		hear(p);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char text[512] = "";
	struct svc_err err = {text, sizeof(text)};
	struct policy_domain *d = policy_domain_add(&svc.cfg.policy, "all", &err);

	expect(d != NULL && policy_users_add(d, "*", &err) == 0);
	d->user[d->n_users++] = geteuid();
	d->memory_bytes = 1 << 20;
	d->max_sockets = 64;
	d->max_programs = 12;
	snprintf(socket_name, sizeof(socket_name), "@zstack-fuzz-%d", (int)getpid());
	svc.cfg.socket = socket_name;
	svc.cfg.node.vdevs = vdevs;
	svc.cfg.node.addrs = addrs;
	svc.cfg.node.no_huge = true;
	if (service_open(&svc, &err) < 0) {
		fprintf(stderr, "%s\n", text);
		abort();
	}
	honest = (struct peer){.sock = -1, .arena_fd = -1};
	for (unsigned i = 0; i < EVIL_MAX; i++)
		evil[i] = honest;
	/* What it has is reached through memory that the leak detector does not look at. */
	__lsan_disable();
	honest_up();
	__lsan_enable();
	honest_check();
	descriptors_before = descriptors();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};

	for (unsigned i = choose8(&c) % 3; i > 0; i--)
		attach(&evil[i]);
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++) {
		step(&c);
		if (n % 4 == 0)
			honest_check();
	}
	serve(4);
	for (unsigned i = 0; i < EVIL_MAX; i++)
		leave(&evil[i]);
	for (unsigned i = 0; i < EVIL_MAX; i++) /* children that came meanwhile */
		leave(&evil[i]);
	serve(4);
	honest_check();
	expect(honest.sock >= 0);
	expect(svc.domain[0].n_apps == 1);
	/* Who is leaving may still wait for a neighbour that doesn't answer. */
	if (svc.n_apps == 1)
		expect(descriptors() == descriptors_before);
	return 0;
}
