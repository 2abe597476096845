/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Attaching to a service (chan/attach.h): the other way to a stack beside loading one
 * (transport.c). Memory and bells come over a UNIX socket; from then on the channels are used as if
 * the stack were in this process. What the service says is checked against what it hands over.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/client_priv.h"
#include "client/host.h"

#define FD_MIN	     900
#define ANSWER_MS    10000  /* until a service that accepted us has answered */
#define UID_UNMAPPED 65534u /* all users that our user namespace does not know are this one */

/* As it is called, for people: of the start, since programs write over their arguments, where the
 * C library's name is (nginx: "worker process"). The preload library starts before that one, but is
 * told of the arguments as well. */
static char program[sizeof(((struct attach_hello *)0)->program)];

__attribute__((constructor)) static void program_know(int argc, char **argv)
{
	const char *name = argc > 0 ? argv[0] : "", *slash = strrchr(name, '/');

	snprintf(program, sizeof(program), "%s", slash != NULL ? slash + 1 : name);
}

const char *host_program(void)
{
	return program;
}

const char *attach_path(const char *configured)
{
	const char *env = getenv("ZSTACK_SOCKET");

	if (configured != NULL)
		return configured;
	return env != NULL && *env != '\0' ? env : ATTACH_PATH;
}

/* ---- memory ---- */

int mapping_map(struct mapping *m, int fd, uint64_t bytes, int prot)
{
	struct stat st;
	void *p = MAP_FAILED;

	if (fstat(fd, &st) == 0 && bytes > 0 && (uint64_t)st.st_size >= bytes)
		p = mmap(NULL, bytes, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	/* A child after fork has no part in the parent's channels. */
	(void)madvise(p, bytes, MADV_DONTFORK);
	(void)madvise(p, bytes, MADV_HUGEPAGE); /* the service's pages need not be huge already */
	*m = (struct mapping){p, bytes};
	return 0;
}

void mapping_unmap(struct mapping *m)
{
	if (m->at != NULL)
		munmap(m->at, m->bytes);
	*m = (struct mapping){NULL, 0};
}

/* Out of the way of the program's descriptors: few programs have so many, and those that close all
 * they don't know leave these numbers unused. */
int fd_high(int fd)
{
	int high = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN) : fd;

	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int fd_take(struct attach_msg *m, unsigned i)
{
	int fd = m->fd[i];

	m->fd[i] = -1;
	return fd_high(fd);
}

struct fd_id fd_which(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (struct fd_id){st.st_dev, st.st_ino} : (struct fd_id){0, 0};
}

bool fd_is(int fd, const struct fd_id *id)
{
	struct fd_id now = fd_which(fd);

	return now.ino == id->ino && now.dev == id->dev;
}

/* Kept for the next service. */
static int arena_map(struct attached *a, unsigned i, struct attach_msg *m, unsigned at)
{
	uint64_t bytes = m->welcome.arena_bytes;

	if (i < a->n_kept)
		return a->arena[i].bytes == bytes ? 0 : -EPROTO;
	if (mapping_map(&a->arena[i], m->fd[at], bytes, PROT_READ | PROT_WRITE) < 0)
		return -ENOMEM;
	a->arena_fd[i] = fd_take(m, at);
	a->n_arenas = i + 1;
	return 0;
}

/* One core's four descriptors, from m->fd[at] on. */
static int map_core(struct attached *a, unsigned i, struct chan_map *c, struct attach_msg *m)
{
	unsigned at = 1 + 4 * i;
	struct chan_hdr hdr;
	int r = mapping_map(&a->rings[i], m->fd[at], m->welcome.rings_bytes,
			    PROT_READ | PROT_WRITE);

	if (r == 0)
		r = arena_map(a, i, m, at + 1);
	if (r < 0)
		return r;
	*c = (struct chan_map){
		.base = a->rings[i].at,
		.arena = a->arena[i].at,
		.arena_bytes = a->arena[i].bytes,
		.app_bell_fd = fd_take(m, at + 2),
		.stack_bell_fd = fd_take(m, at + 3),
	};
	c->region[CHAN_REGION_ARENA].base = c->arena;
	c->region[CHAN_REGION_ARENA].bytes = c->arena_bytes;
	c->region[CHAN_REGION_PKT].base = a->packets.at;
	c->region[CHAN_REGION_PKT].bytes = a->packets.bytes;
	a->n_cores = i + 1;
	return chan_check(c->base, m->welcome.rings_bytes, &hdr);
}

/* extra: descriptors behind those of the cores. */
static int map_all(struct attached *a, struct attach_msg *m, struct chan_map *maps, unsigned extra)
{
	const struct attach_welcome *w = &m->welcome;
	int r;

	if (w->n_cores == 0 || w->n_cores > EMBED_CORES_MAX ||
	    m->n_fds != 1 + 4 * w->n_cores + extra)
		return -EPROTO;
	r = mapping_map(&a->packets, m->fd[0], w->pkt_bytes, PROT_READ);
	for (unsigned i = 0; i < w->n_cores && r == 0; i++)
		r = map_core(a, i, &maps[i], m);
	a->free_ports_from = w->free_ports_from;
	a->shared = (w->flags & ATTACH_F_SHARED) != 0;
	a->app = w->app;
	return r;
}

/* ---- the conversation ---- */

int service_recv(int sock, struct attach_msg *m)
{
	int rc = attach_recv(sock, m, MSG_DONTWAIT);

	return rc == -EMFILE && m->head.type == ATTACH_LINK ? 0 : rc;
}

static int message_wait(int sock, struct attach_msg *m)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int n;

	for (;;) {
		do {
			n = poll(&p, 1, ANSWER_MS);
		} while (n < 0 && errno == EINTR);
		if (n <= 0)
			return n == 0 ? -ETIMEDOUT : -errno;
		n = service_recv(sock, m);
		if (n < 0 || !links_message(m))
			return n;
		attach_close_fds(m); /* what came in between */
	}
}

/* The program has no numbers left. */
static bool lacks_numbers(int rc, char *err, size_t err_len)
{
	if (rc == -EMFILE)
		snprintf(err, err_len,
			 "the limit of descriptors is too low to attach to the service: raise "
			 "RLIMIT_NOFILE (ulimit -n)");
	return rc == -EMFILE;
}

/* What is not the message that was expected. */
static int unexpected(int rc, struct attach_msg *m, char *err, size_t err_len)
{
	if (rc == 0 && m->head.type == ATTACH_REFUSED) {
		m->refused.text[sizeof(m->refused.text) - 1] = '\0';
		snprintf(err, err_len, "the service refuses: %s", m->refused.text);
		return m->refused.err < 0 && m->refused.err > -4096 ? m->refused.err : -EPROTO;
	}
	if (rc == -EPROTONOSUPPORT) {
		snprintf(err, err_len,
			 "the service speaks version %u of the protocol, this libzstack %u: "
			 "install both of one version",
			 m->head.version, ATTACH_VERSION);
		return rc;
	}
	if (lacks_numbers(rc, err, err_len))
		return rc;
	rc = rc == 0 ? -EPROTO : rc;
	snprintf(err, err_len, "the service gives no sensible answer: %s", strerror(-rc));
	return rc;
}

static int dial(const char *path, int flags)
{
	struct sockaddr_un to;
	socklen_t len;
	int fd, rc = attach_address(path, &to, &len);

	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) == 0)
		return fd;
	rc = -errno;
	if (fd >= 0)
		close(fd);
	return rc;
}

/* The process that listens at the socket: its end is the service's. */
static void service_know(struct attached *a)
{
	struct ucred u = {.pid = 0};
	socklen_t len = sizeof(u);

	a->uid = UID_UNMAPPED;
	if (getsockopt(a->sock, SOL_SOCKET, SO_PEERCRED, &u, &len) == 0) {
		a->pid = u.pid;
		a->uid = u.uid;
	}
	len = sizeof(a->pidfd);
	if (getsockopt(a->sock, SOL_SOCKET, SO_PEERPIDFD, &a->pidfd, &len) < 0)
		a->pidfd = a->pid > 0 ? pidfd_open(a->pid, 0) : -1; /* before Linux 6.5 */
	a->sock = fd_high(a->sock);
	a->pidfd = a->pidfd >= 0 ? fd_high(a->pidfd) : -1;
	a->sock_id = fd_which(a->sock);
	a->pidfd_id = fd_which(a->pidfd);
}

int attach_dial(struct attached *a, const char *path, int flags)
{
	*a = (struct attached){.sock = dial(path, flags), .pidfd = -1};
	if (a->sock < 0)
		return a->sock;
	service_know(a);
	return 0;
}

static bool is_wanted(const struct attached *a, const struct attach_want *want)
{
	return a->uid == 0 || (a->uid == want->uid && a->uid != UID_UNMAPPED);
}

/* Anybody can listen at the name: nothing is said to a stranger. */
int attach_find(struct attached *a, const struct attach_want *want, int flags)
{
	int rc = attach_dial(a, want->path, flags);

	if (rc == 0 || rc == -EAGAIN || want->name == NULL || want->name[0] == '\0' ||
	    attach_dial(a, want->name, flags) < 0)
		return rc;
	if (is_wanted(a, want))
		return 0;
	attach_close(a, NULL, false);
	return rc;
}

static void dial_failed(int rc, const char *path, char *err, size_t err_len)
{
	if (lacks_numbers(rc, err, err_len))
		return;
	if (rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS)
		snprintf(err, err_len, "no connection to the service can be opened: %s",
			 strerror(-rc));
	else
		snprintf(err, err_len,
			 "no service answers at %s (%s): start zstackd or set ZSTACK_SOCKET; or, "
			 "for a stack in this program, name a port: --vdev SPEC or --port PCI",
			 path, strerror(-rc));
}

int attach_begin(struct attached *a, const struct attached *from, const struct attach_want *want,
		 int flags, char *err, size_t err_len)
{
	struct attach_hello hello = {.max_sockets = want->max_sockets,
				     .max_loans = want->max_loans,
				     .max_tokens = want->max_tokens,
				     .flags = want->flags,
				     .arena_bytes = want->arena_bytes};
	int rc = attach_find(a, want, flags), fd[EMBED_CORES_MAX + 1];
	unsigned n_fds;

	if (rc < 0) {
		dial_failed(rc, want->path, err, err_len);
		return rc;
	}
	if (from != NULL) {
		a->n_arenas = a->n_kept = from->n_arenas;
		memcpy(a->arena, from->arena, sizeof(a->arena));
		memcpy(a->arena_fd, from->arena_fd, sizeof(a->arena_fd));
	}
	memcpy(hello.program, program, sizeof(hello.program));
	memcpy(fd, a->arena_fd, a->n_kept * sizeof(fd[0]));
	n_fds = a->n_kept;
	if (want->voucher >= 0) {
		hello.flags |= ATTACH_VOUCHER;
		fd[n_fds++] = want->voucher;
	}
	rc = attach_send(a->sock, ATTACH_HELLO, &hello, sizeof(hello), fd, n_fds);
	/* Who refuses everybody has not waited for it: the answer is there. */
	if (rc < 0 && rc != -EPIPE) {
		snprintf(err, err_len, "nothing can be said to the service: %s", strerror(-rc));
		attach_close(a, NULL, false);
		return rc;
	}
	return 0;
}

int attach_step(struct attached *a, struct chan_map *maps, char *err, size_t err_len)
{
	struct attach_head mapped;
	struct attach_msg m;
	int rc = attach_recv(a->sock, &m, MSG_DONTWAIT);

	if (rc == -EAGAIN)
		return 0;
	if (rc == 0 && m.head.type == ATTACH_READY && a->mapped) {
		attach_close_fds(&m);
		return 1;
	}
	if (rc < 0 || m.head.type != ATTACH_WELCOME || a->mapped) {
		rc = unexpected(rc, &m, err, err_len);
		attach_close_fds(&m);
		return rc;
	}
	rc = map_all(a, &m, maps, 0);
	attach_close_fds(&m);
	if (rc == 0)
		rc = attach_send(a->sock, ATTACH_MAPPED, &mapped, sizeof(mapped), NULL, 0);
	if (rc < 0)
		snprintf(err, err_len, "the service's memory can't be used: %s", strerror(-rc));
	a->mapped = rc == 0;
	return rc;
}

int attach_resume(struct attached *a, const struct attach_want *want)
{
	struct attach_head resume;
	int rc = attach_find(a, want, SOCK_NONBLOCK);

	if (rc == 0)
		rc = attach_send(a->sock, ATTACH_RESUME, &resume, sizeof(resume), NULL, 0);
	return rc;
}

static void take_again(struct attached *a, struct attached *of, struct chan_map *maps,
		       struct attach_msg *m)
{
	for (unsigned i = 0; i < of->n_cores; i++) {
		of->arena_fd[i] = fd_take(m, 2 + 4 * i);
		maps[i].app_bell_fd = fd_take(m, 3 + 4 * i);
		maps[i].stack_bell_fd = fd_take(m, 4 + 4 * i);
	}
	of->sock = a->sock;
	of->pidfd = a->pidfd;
	of->sock_id = a->sock_id;
	of->pidfd_id = a->pidfd_id;
	a->sock = a->pidfd = -1;
}

int attach_resumed(struct attached *a, struct attached *of, struct chan_map *maps)
{
	struct attach_msg m;
	int rc = attach_recv(a->sock, &m, MSG_DONTWAIT);

	if (rc == -EAGAIN)
		return 0;
	if (rc < 0)
		return rc;
	rc = -EPROTO;
	if (m.head.type == ATTACH_WELCOME && m.welcome.n_cores == of->n_cores &&
	    m.n_fds == 1 + 4 * of->n_cores) {
		take_again(a, of, maps, &m);
		rc = 1;
	}
	attach_close_fds(&m);
	return rc;
}

int attach_open(struct attached *a, const struct attach_want *want, struct chan_map *maps,
		char *err, size_t err_len)
{
	struct pollfd p = {.events = POLLIN};
	int rc = attach_begin(a, NULL, want, 0, err, err_len);

	if (rc < 0)
		return rc;
	p.fd = a->sock;
	while (rc == 0) {
		int n = poll(&p, 1, ANSWER_MS);

		if (n == 0) {
			rc = -ETIMEDOUT;
			snprintf(err, err_len, "the service does not answer");
		} else if (n > 0 || errno != EINTR) {
			rc = attach_step(a, maps, err, err_len);
		}
	}
	if (rc < 0)
		attach_close(a, maps, false);
	return rc < 0 ? rc : 0;
}

void attach_close(struct attached *a, struct chan_map *maps, bool in_order)
{
	struct attach_head bye;

	if (in_order)
		(void)!attach_send(a->sock, ATTACH_BYE, &bye, sizeof(bye), NULL, 0);
	if (a->sock >= 0)
		close(a->sock);
	if (a->pidfd >= 0)
		close(a->pidfd);
	a->sock = a->pidfd = -1;
	mapping_unmap(&a->packets);
	for (unsigned i = 0; i < EMBED_CORES_MAX; i++)
		mapping_unmap(&a->rings[i]);
	for (unsigned i = a->n_kept; i < a->n_arenas; i++) {
		mapping_unmap(&a->arena[i]);
		close(a->arena_fd[i]);
	}
	for (unsigned i = 0; maps != NULL && i < a->n_cores; i++) {
		close(maps[i].app_bell_fd);
		close(maps[i].stack_bell_fd);
	}
	a->n_cores = a->n_arenas = a->n_kept = 0;
}

/* The next message, which must be of this type. */
static int expect(struct attached *a, enum attach_type type, struct attach_msg *m)
{
	int rc = message_wait(a->sock, m);
	char why[300];

	if (rc == 0 && m->head.type == type)
		return 0;
	rc = unexpected(rc, m, why, sizeof(why));
	attach_close_fds(m);
	return rc;
}

int attach_answer(struct attached *a, struct attach_msg *m)
{
	return message_wait(a->sock, m);
}

int attach_fork(struct attached *a, struct attach_msg *m)
{
	struct attach_head fork;
	int rc = attach_send(a->sock, ATTACH_FORK, &fork, sizeof(fork), NULL, 0);

	if (rc == 0)
		rc = expect(a, ATTACH_WELCOME, m);
	if (rc == 0 && (m->n_fds < 2 || m->welcome.n_cores != a->n_cores)) {
		attach_close_fds(m);
		rc = -EPROTO;
	}
	return rc;
}

void attach_abandon(struct attached *a, struct chan_map *maps)
{
	close(a->sock);
	for (unsigned i = 0; i < a->n_cores; i++) {
		close(maps[i].app_bell_fd);
		close(maps[i].stack_bell_fd);
	}
	for (unsigned i = a->n_kept; i < a->n_arenas; i++)
		close(a->arena_fd[i]);
	/* The mappings did not come along; the service is the same. */
	*a = (struct attached){.sock = -1,
			       .pidfd = a->pidfd,
			       .pidfd_id = a->pidfd_id,
			       .pid = a->pid,
			       .uid = a->uid};
}

static int say_mapped(struct attached *a)
{
	struct attach_head mapped;
	struct attach_msg ready;
	int rc = attach_send(a->sock, ATTACH_MAPPED, &mapped, sizeof(mapped), NULL, 0);

	if (rc == 0)
		rc = expect(a, ATTACH_READY, &ready);
	if (rc == 0)
		attach_close_fds(&ready);
	return rc;
}

/* The service that made them is gone and has not sealed them: the next one asks for that. */
static void arenas_seal(const struct attached *a)
{
	for (unsigned i = 0; i < a->n_arenas; i++)
		(void)fcntl(a->arena_fd[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL);
}

int attach_child(struct attached *a, struct attach_msg *m, struct chan_map *maps)
{
	int rc;

	if (m->n_fds == 0)
		return -EPROTO;
	a->sock = fd_take(m, m->n_fds - 1);
	a->sock_id = fd_which(a->sock);
	if (a->pidfd < 0) /* after exec; a child of fork has its parent's */
		service_know(a);
	rc = map_all(a, m, maps, 1);
	if (rc == 0) {
		rc = say_mapped(a);
		if (rc == -EPIPE || rc == -ECONNRESET) {
			arenas_seal(a);
			rc = 0; /* rejoin.c sees the same */
		}
	}
	attach_close_fds(m);
	if (rc < 0)
		attach_close(a, maps, false);
	return rc;
}

/* What the service says, as an answer to bind(). */
static int granted(const struct attach_granted *g, uint16_t *port)
{
	if (g->res < 0)
		return g->res == -EADDRINUSE || g->res == -EMFILE ? g->res : -EACCES;
	if (*port == 0 && g->port == 0)
		return -EPROTO;
	if (*port == 0)
		*port = g->port;
	return 0;
}

int attach_bind(struct attached *a, const uint8_t addr[16], uint16_t *port, bool udp, int voucher)
{
	struct attach_grant g = {.id = ++a->grants, .port = *port, .udp = udp};
	struct attach_msg m;
	int rc;

	if ((*port == 0 && !a->shared) || *port >= a->free_ports_from)
		return 0;
	memcpy(g.addr, addr, sizeof(g.addr));
	rc = attach_send(a->sock, ATTACH_GRANT, &g, sizeof(g), &voucher, voucher >= 0);
	while (rc == 0) {
		rc = message_wait(a->sock, &m);
		if (rc < 0)
			break;
		attach_close_fds(&m);
		if (m.head.type == ATTACH_GRANTED && m.granted.id == g.id)
			return granted(&m.granted, port);
	}
	return rc == -EPIPE || rc == -ECONNRESET ? -ERESTART : -EACCES;
}
