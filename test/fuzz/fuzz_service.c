/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See fuzz_service.h.
 */
#define _GNU_SOURCE
#include "fuzz_service.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sock/sock_priv.h"
#include "stack/stack_priv.h"

#define OTHER_UID 4711

struct service svc;
struct peer honest, evil[EVIL_MAX];
void (*heard)(struct peer *p, struct attach_msg *m);

static uint32_t honest_sid, honest_ticket, honest_round;
static unsigned descriptors_before;
static char socket_name[64];
static const char *const vdevs[] = {"net_null0,no-rx=1", NULL};
static const char *const addrs[] = {"10.0.0.1/24", NULL};

struct socks *the_socks(void)
{
	return svc.node.core[0].stack->socks;
}

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

void serve(unsigned turns)
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

void forget(struct peer *p)
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

bool dial(struct peer *p)
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

/* The kernel's word for who connected is the thread's effective user. */
bool dial_as_other(struct peer *p)
{
	uid_t me = geteuid();
	bool ok;

	if (me != 0)
		return dial(p);
	expect(syscall(SYS_setresuid, -1, OTHER_UID, -1) == 0);
	ok = dial(p);
	expect(syscall(SYS_setresuid, -1, me, -1) == 0);
	return ok;
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
	p->app = w->app;
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

void hear(struct peer *p)
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
		if (heard != NULL && p->ready)
			heard(p, &m);
		attach_close_fds(&m);
	}
}

/* ---- the honest one ---- */

void push(struct peer *p, const struct chan_sqe *q)
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

void attach_dialled(struct peer *p)
{
	struct attach_hello h = {.arena_bytes = 1 << 20, .program = "fuzz"};
	struct attach_head mapped;

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

void attach(struct peer *p)
{
	expect(dial(p));
	attach_dialled(p);
}

static void honest_up(void)
{
	struct chan_sqe q = {.op = CHAN_OP_SOCKET, .arg = {AF_INET, SOCK_DGRAM, 0}};

	attach(&honest);
	honest_sid = call(q).sid;
	q = (struct chan_sqe){.op = CHAN_OP_BIND, .sid = honest_sid, .port = UDP_PORT};
	expect(call(q).res == 0);
}

/* The service makes its keeper when it is first needed: from here on it is there. */
static void keeper_up(void)
{
	struct attach_pass p = {.sid = {honest_sid}};

	say(&honest, ATTACH_PASS, &p, sizeof(p), NULL, 0);
	serve(1);
	hear(&honest); /* which closes what came */
	serve(1);
	expect(svc.keeper != NULL && list_empty(&svc.kept));
	(void)event(CHAN_EV_SOLE);
}

void honest_check(void)
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

/* ---- leaving ---- */

void say(struct peer *p, enum attach_type type, void *msg, size_t len, const int *fd, unsigned n)
{
	if (p->sock >= 0)
		(void)!attach_send(p->sock, type, msg, len, fd, n);
}

void leave(struct peer *p)
{
	struct attach_head bye;

	serve(2);
	hear(p);
	say(p, ATTACH_BYE, &bye, sizeof(bye), NULL, 0);
	serve(2);
	forget(p);
}

/* As when its pidfd says so. */
void die(struct peer *p)
{
	bool attached = p->ready;
	uint32_t id = p->app;

	forget(p);
	if (attached)
		LIST_EACH (l, &svc.apps) {
			struct app *a = container_of(l, struct app, link);

			if (a->id == id && a->state == APP_READY) {
				a->process.ready(&svc, &a->process, EPOLLIN);
				return;
			}
		}
}

/* Every port but the honest one's is free. */
static void expect_ports_free(void)
{
	const struct socks *s = the_socks();

	for (unsigned udp = 0; udp < 2; udp++)
		for (unsigned i = 0; i < 65536; i++)
			expect(s->port[udp][i] == NULL || (udp == 1 && i == UDP_PORT));
}

void everybody_leaves(void)
{
	serve(4);
	for (unsigned i = 0; i < EVIL_MAX; i++)
		leave(&evil[i]);
	for (unsigned i = 0; i < EVIL_MAX; i++) /* children that came meanwhile */
		leave(&evil[i]);
	serve(4);
	honest_check();
	serve(1);
	expect(honest.sock >= 0);
	expect(svc.domain[0].n_apps == 1 && svc.domain[1].n_apps == 0);
	expect(the_socks()->lent == 0);
	expect(list_empty(&svc.kept) && the_socks()->n_socks == 1);
	expect_ports_free();
	/* Who is leaving may still wait for a neighbour that doesn't answer. */
	if (svc.n_apps == 1)
		expect(descriptors() == descriptors_before);
}

/* ---- the service ---- */

static void domain_add(const char *name, bool everybody, uid_t user, const struct svc_err *err)
{
	struct policy_domain *d = policy_domain_add(&svc.cfg.policy, name, err);

	expect(d != NULL && (!everybody || policy_users_add(d, "*", err) == 0));
	d->user[d->n_users++] = user;
	d->memory_bytes = 1 << 20;
	d->max_sockets = 64;
	d->max_programs = 12;
}

void fuzz_service_open(bool everybody, bool two_domains)
{
	char text[512] = "";
	struct svc_err err = {text, sizeof(text)};

	domain_add("all", everybody, geteuid(), &err);
	if (two_domains)
		domain_add("others", false, OTHER_UID, &err);
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
	keeper_up();
	__lsan_enable();
	honest_check();
	descriptors_before = descriptors();
}
