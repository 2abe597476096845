/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The links of this program: how they come (the service hands one over when two programs of a
 * domain are connected), how they go, and how one sleeps on them.
 *
 *	FREE ──LINK──► UP ──LINK_END, nonsense──► ENDED ──all given back──► FREE
 *
 * One whose service is gone stays up, as long as it has streams (link_keep.c). An ended link
 * carries no stream; what its other side still reads of our memory, and we of its, is given back
 * as before, unless the other is gone. That is told by the service (LINK_END), and when there is
 * none, by the other's pidfd.
 *
 * Not done: a program that closed all descriptors (rejoin.c) can't be woken by its neighbours any
 * more, nor wake them: its links end, and their streams with them.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/link.h"
#include "client/table.h"

/* ---- coming ---- */

int links_open(uint64_t from, uint64_t to)
{
	return table_open(client.links->sock, sizeof(*client.links->sock), from, to);
}

/* Beside each row of a socket that may be used there is one. */
static bool socks_opened(void)
{
	bool all = true;

	for (unsigned z = 0; z < client.n_zones && all; z++) {
		uint64_t at = (uint64_t)z * client.zone_rows;

		all = links_open(at, at + client.opened[z]) == 0;
	}
	return all;
}

static void links_free(void);

static bool links_init(void)
{
	struct links *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return false;
	k->n_socks = (uint64_t)client.n_zones * client.zone_rows;
	k->sock = table_reserve(k->n_socks, sizeof(*k->sock));
	k->epoll = fd_high(epoll_create1(EPOLL_CLOEXEC));
	client.links = k;
	if (k->sock != NULL && k->epoll >= 0 && socks_opened())
		return true;
	links_free();
	return false;
}

static struct plink *place(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; i < k->n; i++)
		if (k->link[i].state == LINK_FREE)
			return &k->link[i];
	return k->n < LINKS_MAX ? &k->link[k->n++] : NULL;
}

/* What rings is looked at, not read: see links_empty(). */
static int watch(int fd)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET};

	sleep_changed();
	return epoll_ctl(client.links->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

static void close_fds(struct plink *l)
{
	int *fd[] = {&l->bell_fd, &l->pid_fd};

	for (unsigned i = 0; i < array_size(fd); i++) {
		if (*fd[i] >= 0)
			close(*fd[i]);
		*fd[i] = -1;
	}
}

static int map_arenas(struct plink *l, const struct attach_link *a, const struct attach_msg *m)
{
	int rc = 0;

	for (unsigned i = 0; i < a->n_cores && rc >= 0; i++) {
		rc = region_add(link_region(a->app, i), m->fd[ATTACH_LINK_FDS + i], a->arena_bytes,
				1);
		if (rc >= 0)
			l->arena[l->n_arenas++] = (uint8_t)rc;
	}
	return rc < 0 ? rc : 0;
}

static int link_open(struct plink *l, const struct attach_link *a, struct attach_msg *m)
{
	int rc;

	if (a->n_cores == 0 || a->n_cores > EMBED_CORES_MAX ||
	    m->n_fds != ATTACH_LINK_FDS + a->n_cores || a->bytes < sizeof(struct link_shm))
		return -EPROTO;
	rc = mapping_map(&l->memory, m->fd[0], a->bytes, PROT_READ | PROT_WRITE);
	if (rc == 0)
		rc = link_attach(&l->end, l->memory.at, a->side);
	if (rc < 0)
		return rc;
	l->id = a->id;
	l->app = a->app;
	l->own_app = client.transport.service.app;
	l->streams = NIL;
	l->bell_fd = fd_take(m, 1);
	l->pid_fd = fd_take(m, 2);
	rc = watch(l->bell_fd);
	if (rc == 0)
		rc = watch(l->pid_fd);
	for (unsigned i = 0; i < client.n_cores && rc == 0; i++)
		rc = link_core_init(&client.core[i]);
	return rc == 0 ? map_arenas(l, a, m) : rc;
}

static void on_link(struct attach_msg *m)
{
	struct attach_link a = m->link;
	struct attach_linked answer = {.id = a.id};
	struct plink *l = client.links != NULL || links_init() ? place() : NULL;

	/* Where descriptors are counted there is no place for more. */
	if (client.frugal)
		l = NULL;
	answer.res = l != NULL ? 0 : -ENOSPC;
	if (l != NULL) {
		*l = (struct plink){.bell_fd = -1, .pid_fd = -1};
		answer.res = link_open(l, &a, m);
		if (answer.res == 0) {
			l->state = LINK_UP;
		} else {
			regions_unlink(l);
			close_fds(l);
			mapping_unmap(&l->memory);
			regions_sweep();
		}
	}
	(void)!attach_send(client.transport.service.sock, ATTACH_LINKED, &answer, sizeof(answer),
			   NULL, 0);
}

static void on_end(uint32_t id)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		if (k->link[i].state != LINK_FREE && !k->link[i].kept && k->link[i].id == id)
			link_end(&k->link[i], true);
}

bool links_message(struct attach_msg *m)
{
	switch (m->head.type) {
	case ATTACH_LINK:
		on_link(m);
		return true;
	case ATTACH_LINK_END:
		on_end(m->linked.id);
		return true;
	case ATTACH_REGION_IS:
		return true; /* nobody waits for it any more */
	default:
		return false;
	}
}

void links_read(void)
{
	struct attach_msg m;

	while (service_recv(client.transport.service.sock, &m) == 0) {
		(void)links_message(&m);
		attach_close_fds(&m);
	}
}

/* ---- going ---- */

/* The service keeps the other's memory until then, for us to send out of it. */
static void tell_free(const struct plink *l)
{
	struct attach_linked m = {.id = l->id};

	if (!client.lost && l->id != 0)
		(void)!attach_send(client.transport.service.sock, ATTACH_LINK_FREE, &m, sizeof(m),
				   NULL, 0);
}

void link_release(struct plink *l)
{
	if (l->state != LINK_ENDED || l->in > 0 || l->n_ret > 0 || l->out > 0 || l->reads)
		return;
	kept_packets_put(l);
	regions_unlink(l);
	regions_sweep();
	close_fds(l);
	mapping_unmap(&l->memory);
	l->state = LINK_FREE;
	tell_free(l);
}

void link_end(struct plink *l, bool gone)
{
	if (l->state == LINK_UP) {
		link_settle(l);
		/* It may have been found to be nonsense. */
		if (l->state == LINK_UP) {
			l->state = LINK_ENDED;
			link_say_ended(&l->end);
			if (!gone)
				link_ring(l);
			for (uint32_t row = l->streams, next; row != NIL; row = next) {
				next = client.links->sock[row].next;
				stream_orphan(&client.sock[row]);
			}
		}
	}
	if (gone) {
		l->deaf = true;
		close_fds(l); /* its end would be readable for ever */
		link_tokens_home(l);
	}
	link_flush(l);
	link_release(l);
}

void link_break(struct plink *l)
{
	struct attach_linked bad = {.id = l->id};

	client.stats.link_bad++;
	if (l->state == LINK_UP) {
		l->state = LINK_ENDED;
		while (l->streams != NIL) {
			struct csock *s = &client.sock[l->streams];

			s->flags |= CSOCK_UNREAD; /* its end is a reset */
			stream_break(s, -EPROTO);
		}
	}
	link_say_ended(&l->end);
	l->deaf = true;
	close_fds(l);
	if (!client.lost && !l->kept)
		(void)!attach_send(client.transport.service.sock, ATTACH_LINK_BAD, &bad,
				   sizeof(bad), NULL, 0);
	link_tokens_home(l);
	link_flush(l);
	link_release(l);
}

void links_blind(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		struct plink *l = &k->link[i];

		if (l->state == LINK_FREE)
			continue;
		l->bell_fd = l->pid_fd = -1; /* not ours any more, nor is the way to the service */
		l->id = 0;
		while (l->streams != NIL)
			stream_break(&client.sock[l->streams], -ECONNRESET);
		link_end(l, false);
	}
	if (k != NULL)
		k->epoll = fd_high(epoll_create1(EPOLL_CLOEXEC));
}

bool links_hold_packets(void)
{
	return client.links != NULL && client.links->packet_rows > 0;
}

/* What no service tells: its process is gone; or it goes on as another program, or without our
 * descriptors, and no service holds the other end of the bell any more. */
static void look_at(struct plink *l, const struct pollfd *pid, const struct pollfd *bell)
{
	if (pid->revents != 0)
		link_end(l, true);
	else if (l->state == LINK_UP && (bell->revents & (POLLHUP | POLLERR)))
		link_end(l, false);
}

void links_look(void)
{
	struct links *k = client.links;
	struct pollfd p[2 * LINKS_MAX];
	unsigned n = 0;

	k->rung = false;
	for (unsigned i = 0; i < k->n; i++) {
		const struct plink *l = &k->link[i];

		if (l->state == LINK_FREE || (l->state == LINK_UP && !l->kept))
			continue;
		p[n++] = (struct pollfd){.fd = l->pid_fd, .events = POLLIN};
		p[n++] = (struct pollfd){.fd = l->kept ? l->bell_fd : -1};
	}
	if (n == 0 || poll(p, n, 0) <= 0)
		return;
	n = 0;
	for (unsigned i = 0; i < k->n; i++) {
		struct plink *l = &k->link[i];

		if (l->state == LINK_FREE || (l->state == LINK_UP && !l->kept))
			continue;
		look_at(l, &p[n], &p[n + 1]);
		n += 2;
	}
}

static void links_free(void)
{
	struct links *k = client.links;

	if (k == NULL)
		return;
	for (unsigned i = 0; i < k->n; i++)
		if (k->link[i].state != LINK_FREE) {
			close_fds(&k->link[i]);
			mapping_unmap(&k->link[i].memory);
		}
	table_free(k->sock, k->n_socks, sizeof(*k->sock));
	if (k->epoll >= 0)
		close(k->epoll);
	free(k);
	client.links = NULL;
}

void links_fini(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		if (k->link[i].state == LINK_UP)
			link_say_ended(&k->link[i].end);
	if (k != NULL)
		regions_fini();
	links_free();
}

/* Its mappings did not come along (MADV_DONTFORK). */
void links_forget(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		k->link[i].memory.at = NULL;
	links_free();
}

/* ---- sleeping ---- */

/* To read a byte from a socket costs as much as the rest of a wake-up. But each arming is answered
 * by one, and when so many lie there that no more fit, nothing rings. */
#define ARMED_EACH 64

static void read_bells(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		if (k->link[i].state != LINK_FREE && k->link[i].bell_fd >= 0)
			bell_empty(k->link[i].bell_fd);
}

bool links_idle(void)
{
	struct links *k = client.links;

	if (k != NULL && k->again)
		return false;
	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		struct plink *l = &k->link[i];
		uint32_t word;

		if (l->state == LINK_UP && link_next(&l->end) != NULL)
			return false;
		if (l->state != LINK_FREE && link_peek_return(&l->end, &word))
			return false;
	}
	return true;
}

/* Who sent on what is another's is waited for by him, when it comes back. */
void links_arm(uint32_t how)
{
	struct links *k = client.links;

	if (k != NULL && ++k->armed % ARMED_EACH == 0)
		read_bells();
	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		struct plink *l = &k->link[i];

		if (l->state == LINK_FREE)
			continue;
		link_flush(l);
		if (l->state != LINK_FREE)
			bell_arm_as(&l->end.mine->armed, l->out_lent > 0 ? BELL_ARMED : how);
	}
}

void links_disarm(void)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		if (k->link[i].state != LINK_FREE)
			bell_disarm(&k->link[i].end.mine->armed);
}

/* What was rung is forgotten: the set has told it, and is told anew by the next byte. In a sandbox
 * by read(2) alone, which that leaves. */
void links_empty(void)
{
	struct epoll_event e[LINKS_MAX];

	if (client.links == NULL)
		return;
	client.links->rung = true;
	if (unlikely(client.frugal))
		read_bells();
	else
		(void)epoll_wait(client.links->epoll, e, LINKS_MAX, 0);
}

bool links_watch(int set, uint32_t as)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLET, .data.u32 = as};
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++) {
		const int fd[] = {k->link[i].bell_fd, k->link[i].pid_fd};

		for (unsigned f = 0; f < array_size(fd) && k->link[i].state != LINK_FREE; f++)
			if (fd[f] >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd[f], &e) < 0)
				return false;
	}
	return true;
}

int links_fd(void)
{
	return client.links != NULL ? client.links->epoll : -1;
}

void link_stats(struct zs_stats *all)
{
	struct links *k = client.links;

	for (unsigned i = 0; k != NULL && i < k->n; i++)
		all->links += k->link[i].state == LINK_UP;
}
