/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Attaching to a service (chan/attach.h): the other way to a stack beside loading one
 * (transport.c). Memory and bells come over a UNIX socket; from then on the channels are used as if
 * the stack were in this process. What the service says is checked against what it hands over.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/client_priv.h"

#define ANSWER_MS 10000 /* until a service that accepted us has answered */

const char *attach_path(const char *configured)
{
	const char *env = getenv("ZSTACK_SOCKET");

	if (configured != NULL)
		return configured;
	return env != NULL && *env != '\0' ? env : ATTACH_PATH;
}

/* ---- memory ---- */

/* Maps a descriptor that came, and closes it. */
static void *map(struct attached *a, int fd, uint64_t bytes, int prot)
{
	struct mapping *m = &a->mapping[a->n_mappings];
	struct stat st;
	void *p = MAP_FAILED;

	if (fstat(fd, &st) == 0 && bytes > 0 && (uint64_t)st.st_size >= bytes)
		p = mmap(NULL, bytes, prot, MAP_SHARED | MAP_NORESERVE, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return NULL;
	/* A child after fork has no part in the parent's channels. */
	(void)madvise(p, bytes, MADV_DONTFORK);
	*m = (struct mapping){p, bytes};
	a->n_mappings++;
	return p;
}

static void unmap_all(struct attached *a)
{
	while (a->n_mappings > 0) {
		struct mapping *m = &a->mapping[--a->n_mappings];

		munmap(m->at, m->bytes);
	}
}

/* One core's four descriptors. */
static int map_core(struct attached *a, struct chan_map *c, const struct attach_welcome *w,
		    const void *packets, const int fd[4])
{
	struct chan_hdr hdr;

	*c = (struct chan_map){.app_bell_fd = fd[2], .stack_bell_fd = fd[3]};
	c->base = map(a, fd[0], w->rings_bytes, PROT_READ | PROT_WRITE);
	c->arena = map(a, fd[1], w->arena_bytes, PROT_READ | PROT_WRITE);
	c->arena_bytes = w->arena_bytes;
	c->region[CHAN_REGION_ARENA].base = c->arena;
	c->region[CHAN_REGION_ARENA].bytes = w->arena_bytes;
	c->region[CHAN_REGION_PKT].base = packets;
	c->region[CHAN_REGION_PKT].bytes = w->pkt_bytes;
	if (c->base == NULL || c->arena == NULL)
		return -ENOMEM;
	return chan_check(c->base, w->rings_bytes, &hdr);
}

/* extra: descriptors behind those of the cores. */
static int map_all(struct attached *a, struct attach_msg *m, struct chan_map *maps, unsigned extra)
{
	struct attach_welcome w = m->welcome;
	unsigned n_fds = m->n_fds;
	const void *packets;
	int rc = 0;

	if (w.n_cores == 0 || w.n_cores > EMBED_CORES_MAX || n_fds != 1 + 4 * w.n_cores + extra)
		return -EPROTO;
	m->n_fds = 0; /* each is closed by the map that takes it */
	packets = map(a, m->fd[0], w.pkt_bytes, PROT_READ);
	if (packets == NULL)
		rc = -ENOMEM;
	for (unsigned i = 0; i < w.n_cores; i++) {
		if (rc == 0) {
			rc = map_core(a, &maps[i], &w, packets, &m->fd[1 + 4 * i]);
			a->n_cores = i + 1;
			continue;
		}
		for (unsigned k = 0; k < 4; k++)
			close(m->fd[1 + 4 * i + k]);
	}
	a->free_ports_from = w.free_ports_from;
	return rc;
}

/* ---- the conversation ---- */

static int message_wait(int sock, struct attach_msg *m)
{
	struct pollfd p = {.fd = sock, .events = POLLIN};
	int n;

	do {
		n = poll(&p, 1, ANSWER_MS);
	} while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n == 0 ? -ETIMEDOUT : -errno;
	return attach_recv(sock, m, MSG_DONTWAIT);
}

/* The next message, which must be of this type. */
static int expect(struct attached *a, enum attach_type type, struct attach_msg *m, char *err,
		  size_t err_len)
{
	int rc = message_wait(a->sock, m);

	if (rc == 0 && m->head.type == type)
		return 0;
	if (rc == 0 && m->head.type == ATTACH_REFUSED) {
		m->refused.text[sizeof(m->refused.text) - 1] = '\0';
		snprintf(err, err_len, "the service refuses: %s", m->refused.text);
		rc = m->refused.err < 0 && m->refused.err > -4096 ? m->refused.err : -EPROTO;
	} else if (rc == -EPROTONOSUPPORT) {
		snprintf(err, err_len,
			 "the service speaks version %u of the protocol, this libzstack %u: "
			 "install both of one version",
			 m->head.version, ATTACH_VERSION);
	} else {
		rc = rc == 0 ? -EPROTO : rc;
		snprintf(err, err_len, "the service gives no sensible answer: %s", strerror(-rc));
	}
	attach_close_fds(m);
	return rc;
}

static int dial(const char *path, char *err, size_t err_len)
{
	struct sockaddr_un to;
	socklen_t len;
	int fd, rc = attach_address(path, &to, &len);

	if (rc < 0) {
		snprintf(err, err_len, "%s: too long for a socket", path);
		return rc;
	}
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, len) == 0)
		return fd;
	rc = -errno;
	if (fd >= 0)
		close(fd);
	snprintf(err, err_len,
		 "no service answers at %s (%s): start zstackd or set ZSTACK_SOCKET; or, for a "
		 "stack in this program, name a port: --vdev SPEC or --port PCI",
		 path, strerror(-rc));
	return rc;
}

static int converse(struct attached *a, const struct embed_cfg *cfg, struct chan_map *maps,
		    char *err, size_t err_len)
{
	struct attach_hello hello = {.max_sockets = cfg->geometry.max_sockets,
				     .arena_bytes = cfg->geometry.arena_bytes};
	struct attach_msg m;
	struct attach_head mapped;
	int rc;

	snprintf(hello.program, sizeof(hello.program), "%s", program_invocation_short_name);
	rc = attach_send(a->sock, ATTACH_HELLO, &hello, sizeof(hello), NULL, 0);
	if (rc == 0)
		rc = expect(a, ATTACH_WELCOME, &m, err, err_len);
	if (rc < 0)
		return rc;
	rc = map_all(a, &m, maps, 0);
	attach_close_fds(&m);
	if (rc < 0) {
		snprintf(err, err_len, "the service's memory can't be used: %s", strerror(-rc));
		return rc;
	}
	rc = attach_send(a->sock, ATTACH_MAPPED, &mapped, sizeof(mapped), NULL, 0);
	return rc == 0 ? expect(a, ATTACH_READY, &m, err, err_len) : rc;
}

int attach_open(struct attached *a, const char *path, const struct embed_cfg *cfg,
		struct chan_map *maps, char *err, size_t err_len)
{
	int rc;

	*a = (struct attached){.sock = dial(path, err, err_len)};
	if (a->sock < 0)
		return a->sock;
	rc = converse(a, cfg, maps, err, err_len);
	if (rc < 0)
		attach_close(a, maps, false);
	return rc;
}

void attach_close(struct attached *a, struct chan_map *maps, bool in_order)
{
	struct attach_head bye;

	if (in_order)
		(void)!attach_send(a->sock, ATTACH_BYE, &bye, sizeof(bye), NULL, 0);
	if (a->sock >= 0)
		close(a->sock);
	a->sock = -1;
	unmap_all(a);
	for (unsigned i = 0; i < a->n_cores; i++) {
		close(maps[i].app_bell_fd);
		close(maps[i].stack_bell_fd);
	}
	a->n_cores = 0;
}

int attach_fork(struct attached *a, struct attach_msg *m)
{
	struct attach_head fork;
	char why[300];
	int rc = attach_send(a->sock, ATTACH_FORK, &fork, sizeof(fork), NULL, 0);

	if (rc == 0)
		rc = expect(a, ATTACH_WELCOME, m, why, sizeof(why));
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
	*a = (struct attached){.sock = -1}; /* the mappings did not come along */
}

int attach_child(struct attached *a, struct attach_msg *m, struct chan_map *maps)
{
	struct attach_head mapped;
	struct attach_msg ready;
	char why[300];
	int rc;

	a->sock = m->fd[m->n_fds - 1];
	rc = map_all(a, m, maps, 1);
	if (rc == 0)
		rc = attach_send(a->sock, ATTACH_MAPPED, &mapped, sizeof(mapped), NULL, 0);
	if (rc == 0)
		rc = expect(a, ATTACH_READY, &ready, why, sizeof(why));
	if (rc < 0)
		attach_close(a, maps, false);
	return rc;
}

int attach_bind(struct attached *a, const uint8_t addr[16], uint16_t port)
{
	struct attach_grant g = {.id = ++a->grants, .port = port};
	struct attach_msg m;
	int rc;

	if (port == 0 || port >= a->free_ports_from)
		return 0;
	memcpy(g.addr, addr, sizeof(g.addr));
	rc = attach_send(a->sock, ATTACH_GRANT, &g, sizeof(g), NULL, 0);
	while (rc == 0) {
		rc = message_wait(a->sock, &m);
		if (rc < 0)
			break;
		attach_close_fds(&m);
		if (m.head.type == ATTACH_GRANTED && m.granted.id == g.id)
			return m.granted.res < 0 ? -EACCES : 0;
	}
	return -EACCES;
}
