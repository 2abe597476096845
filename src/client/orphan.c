/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A child that is forked while there is no service, or that the service refuses (fork.c): an
 * *orphan*. Nobody makes an
 * application for it, and of its parent's channels it has nothing. So it becomes at once what the
 * parent is, too: a program whose service is gone (lost.c), with listeners, bound sockets and sets,
 * and connections that were reset. From there on it goes its own way to the next service
 * (rejoin.c), where it makes its sockets again, or joins those of its relatives by the keys that
 * all of them know (remake.c).
 *
 * Tables go with a channel: it gets one of its own memory, behind which nobody is, of the sizes of
 * the parent's; and arenas as a service makes them, sealed as it seals them, for the next one to
 * take over.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/client_priv.h"
#include "client/table.h"

#define SEALS_ALL (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/* ---- memory ---- */

static int rings_make(struct mapping *m, const struct chan_hdr *hdr)
{
	void *p = table_new(hdr->total_bytes, 1);

	if (p == NULL)
		return -ENOMEM;
	(void)madvise(p, hdr->total_bytes, MADV_DONTFORK);
	memcpy(p, hdr, sizeof(*hdr));
	*m = (struct mapping){p, hdr->total_bytes};
	return 0;
}

static int arena_make(struct attached *a, unsigned i, uint64_t bytes)
{
	int fd = memfd_create("zstack-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r = fd < 0 || ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0;

	if (r == 0)
		r = mapping_map(&a->arena[i], fd, bytes, PROT_READ | PROT_WRITE);
	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS_ALL) < 0)
		r = -errno;
	if (r == 0) {
		a->arena_fd[i] = fd_high(fd);
		a->n_arenas = i + 1;
		return 0;
	}
	mapping_unmap(&a->arena[i]);
	if (fd >= 0)
		close(fd);
	return r;
}

static int channel_make(unsigned i, const struct chan_hdr *hdr, uint64_t arena_bytes)
{
	struct transport *t = &client.transport;
	struct attached *a = &t->service;
	int r = rings_make(&a->rings[i], hdr);

	if (r == 0)
		r = arena_make(a, i, arena_bytes);
	if (r < 0)
		return r;
	t->map[i] = (struct chan_map){.base = a->rings[i].at,
				      .arena = a->arena[i].at,
				      .arena_bytes = arena_bytes,
				      .app_bell_fd = -1,
				      .stack_bell_fd = -1};
	t->map[i].region[CHAN_REGION_ARENA].base = a->arena[i].at;
	t->map[i].region[CHAN_REGION_ARENA].bytes = arena_bytes;
	return 0;
}

static int core_make(struct core *fresh, unsigned i, uint64_t arena_bytes)
{
	int r = channel_make(i, &client.core[i].end.hdr, arena_bytes);

	if (r == 0)
		r = core_init(fresh, i, &client.transport.map[i]);
	fresh->sock = client.sock;
	return r == 0 ? core_rows_init(fresh) : r;
}

int orphan_channels(const struct lost_service *lost)
{
	int r = 0;

	for (unsigned i = 0; i < lost->n_cores && r == 0; i++)
		r = channel_make(i, lost->hdr, lost->arena_bytes);
	return r;
}

static int cores_make(struct core *fresh)
{
	struct transport *t = &client.transport;
	uint64_t bytes[EMBED_CORES_MAX];
	int r = 0;

	for (unsigned i = 0; i < client.n_tables; i++)
		bytes[i] = t->service.arena[i].bytes;
	attach_abandon(&t->service, t->map);
	t->service.pidfd = -1; /* what becomes of the parent's service is nothing to it */
	for (unsigned i = 0; i < client.n_tables && r == 0; i++)
		r = core_make(&fresh[i], i, bytes[i]);
	if (r < 0)
		attach_close(&t->service, NULL, false);
	return r;
}

/* ---- sockets ---- */

static void group_keep(struct group *g)
{
	if (g == NULL)
		return;
	g->users = 0;
	g->growing = false;
}

static void sock_keep(struct csock *s)
{
	csock_is_childs(s);
	/* With a parent at a service that lives. */
	if (s->flags & CSOCK_SHARED)
		s->flags |= CSOCK_JOINT;
	s->flags &= ~(uint32_t)CSOCK_SHARED;
	s->limit = 0;
	s->child_sid = 1; /* a mark: it stays */
	group_keep(s->group);
}

static void sock_break(struct csock *s)
{
	if (csock_connects(s) && (s->state == CSOCK_CONNECTED || s->state == CSOCK_CONNECTING))
		csock_broken(s, -ECONNRESET);
}

static void sets_keep(void)
{
	struct epset *e;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		e = fd_epset(fd, &err);
		if (e != NULL)
			epset_alone(e);
	}
}

void socks_each(void (*call)(struct csock *))
{
	struct csock *s;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		s = fd_csock(fd, &err);
		for (unsigned i = 0; s != NULL && i < csock_members(s); i++)
			call(csock_member(s, i));
	}
}

/* All that anybody in the parent waited for first: what is told then is told to nobody else. */
static void descriptors_keep(void)
{
	sets_keep();
	socks_each(sock_keep);
	socks_each(sock_break);
}

static bool has_mark(const struct csock *s)
{
	return s->child_sid != 0;
}

static void marks_remove(void)
{
	for (unsigned z = 0; z < client.n_zones; z++)
		for (uint32_t i = 0; i < client.top[z]; i++)
			client.sock[z * client.zone_rows + i].child_sid = 0;
}

static void tables_take(const struct core *fresh)
{
	lost_forget();
	links_forget();
	for (unsigned i = 0; i < client.n_tables; i++) {
		core_fini(&client.core[i]);
		client.core[i] = fresh[i];
	}
	marks_remove();
	descriptors_keep();
	rows_sweep(has_mark);
	marks_remove();
}

/* ---- before fork ---- */

void orphan_share(struct csock *s)
{
	if (!csock_may_have_key(s))
		return;
	csock_key_make(s);
	s->flags |= CSOCK_JOINT;
}

void orphan_prepare(void)
{
	socks_each(orphan_share);
}

/* ---- after it ---- */

int orphan_begin(bool refused)
{
	static struct core fresh[EMBED_CORES_MAX];
	int r;

	rejoin_alone(refused);
	client.kick_fd = fd_high(bell_open());
	r = cores_make(fresh);
	if (r < 0)
		return r;
	client.lost = true;
	client.epoch++;
	tables_take(fresh);
	return 0;
}
