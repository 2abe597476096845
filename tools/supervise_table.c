/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The sockets of the program that are Z-Stack's: by the kernel's cookie of the program's socket,
 * which all its copies have and nobody else ever gets; and, until the program's end of a connection
 * over loopback is known, by its port there and the port that it is for.
 */
#define _GNU_SOURCE
#include "supervise.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLACES 4096u

static struct sup *place[PLACES];
static struct sup *expected[2][65536]; /* of IPv4's loopback, of IPv6's */
static struct sup *buried;	       /* their events may still be at hand */
static unsigned count;

static struct sup **place_of(uint64_t cookie)
{
	return &place[cookie % PLACES];
}

struct sup *sup_new(enum sup_state state, int domain)
{
	struct sup *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->state = state;
	s->domain = domain;
	s->zs = s->end = s->program = -1;
	s->zs_watch = (struct watch){s, false};
	s->end_watch = (struct watch){s, true};
	count++;
	return s;
}

bool sup_local(struct sup *s)
{
	s->local_len = sizeof(s->local);
	if (getsockname(s->zs, &s->local.any, &s->local_len) < 0)
		s->local_len = 0;
	return s->local_len > 0;
}

bool sup_peer(struct sup *s)
{
	s->peer_len = sizeof(s->peer);
	if (getpeername(s->zs, &s->peer.any, &s->peer_len) < 0)
		s->peer_len = 0;
	return s->peer_len > 0;
}

void sup_insert(struct sup *s, uint64_t cookie)
{
	struct sup **p = place_of(cookie);

	s->cookie = cookie;
	s->next = *p;
	*p = s;
}

struct sup *sup_find(uint64_t cookie)
{
	struct sup *s = *place_of(cookie);

	while (s != NULL && s->cookie != cookie)
		s = s->next;
	return s;
}

static void unlink_it(struct sup *s)
{
	struct sup **p = place_of(s->cookie);

	if (s->cookie == 0)
		return;
	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	s->cookie = 0;
}

/* ---- by port ---- */

static struct sup **expect_place(bool v6, uint16_t port)
{
	return &expected[v6][port];
}

void sup_unexpect(struct sup *s)
{
	struct sup **p = expect_place(s->v6, s->port);

	if (s->port == 0)
		return;
	while (*p != s)
		p = &(*p)->next_expected;
	*p = s->next_expected;
	s->port = 0;
}

static struct sup *expected_at(bool v6, uint16_t port, uint16_t towards)
{
	struct sup *s = *expect_place(v6, port);

	while (s != NULL && s->towards != towards)
		s = s->next_expected;
	return s;
}

/* The kernel gives out a port for one goal only once: who had it before is gone. */
void sup_expect(struct sup *s, bool v6, uint16_t port, uint16_t towards)
{
	struct sup *old = expected_at(v6, port, towards);

	if (old != NULL)
		sup_unexpect(old);
	if (old != NULL && old->state == SUP_CONNECTING)
		sup_drop(old);
	s->v6 = v6;
	s->port = port;
	s->towards = towards;
	s->next_expected = *expect_place(v6, port);
	*expect_place(v6, port) = s;
}

struct sup *sup_expected(const union name *from, uint16_t towards)
{
	const struct in6_addr *a = &from->v6.sin6_addr;
	bool v6 = false;

	if (from->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(a))
		v6 = true;
	else if (from->any.sa_family == AF_INET6 ? !IN6_IS_ADDR_V4MAPPED(a) || a->s6_addr[12] != 127
						 : ntohl(from->v4.sin_addr.s_addr) >> 24 != 127)
		return NULL;
	/* The port stands at the same place in both families. */
	return expected_at(v6, from->v4.sin_port, towards);
}

/* ---- the end ---- */

static void close_both(struct sup *s)
{
	if (s->zs >= 0)
		close(s->zs);
	if (s->end >= 0)
		close(s->end);
	if (s->program >= 0)
		close(s->program);
	s->zs = s->end = s->program = -1;
}

void sup_drop(struct sup *s)
{
	if (s->gone)
		return;
	s->gone = true;
	count--;
	unlink_it(s);
	sup_unexpect(s);
	close_both(s);
	free(s->in.left);
	free(s->out.left);
	s->in.left = s->out.left = NULL;
	s->next_gone = buried;
	buried = s;
}

void sup_bury(void)
{
	struct sup *s = buried;

	buried = NULL;
	while (s != NULL) {
		struct sup *next = s->next_gone;

		/* Still in the list of carry_again(), which leaves it out next time; or what was
		 * offered to it is about to find out. */
		if (s->again || s->offered > 0) {
			s->next_gone = buried;
			buried = s;
		} else {
			free(s);
		}
		s = next;
	}
}

/* fn may drop s, and no other. */
void sup_each(void (*fn)(struct sup *s))
{
	for (unsigned i = 0; i < PLACES; i++) {
		struct sup *s = place[i];

		while (s != NULL) {
			struct sup *next = s->next;

			fn(s);
			s = next;
		}
	}
}

unsigned sup_count(void)
{
	return count;
}
