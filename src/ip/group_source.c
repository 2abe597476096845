/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From which sources a group is listened to (RFC 3376 §3, RFC 3810 §4): each listener wants some
 * alone, or all but some; the interface has what serves all of them:
 *
 *	one at least excludes	all but those that each excluder excludes and nobody includes
 *	else			those that somebody includes
 *
 * So for each source it is counted who includes and who excludes it. What changed of the list is
 * reported by source (ALLOW, BLOCK); a change between the two kinds of list by the whole of it.
 */
#include <errno.h>
#include <stdlib.h>

#include "ip/ip_priv.h"

struct group_source {
	struct ip_addr addr;
	uint16_t in, ex; /* listeners that include, that exclude it */
	uint8_t reports; /* of its last change, still to be sent */
};

struct group_sources {
	unsigned n;
	struct group_source s[GROUP_SOURCES_MAX];
};

/* Does it stand in the interface's list? */
static bool listed(const struct group *g, const struct group_source *s)
{
	return g->excluders > 0 ? s->ex == g->excluders && s->in == 0 : s->in > 0;
}

static bool heard(const struct group *g, const struct group_source *s)
{
	return listed(g, s) == (g->excluders == 0);
}

static struct group_source *find(struct group *g, const struct ip_addr *a)
{
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++)
		if (ip_addr_eq(&g->sources->s[i].addr, a))
			return &g->sources->s[i];
	return NULL;
}

/* A place for each source that the filter names. */
static int reserve(struct group *g, const struct ip_filter *f)
{
	unsigned more = 0;

	if (f == NULL || f->n == 0)
		return 0;
	if (g->sources == NULL)
		g->sources = calloc(1, sizeof(*g->sources));
	if (g->sources == NULL)
		return -ENOBUFS;
	for (unsigned i = 0; i < f->n; i++)
		more += find(g, &f->source[i]) == NULL;
	if (g->sources->n + more > GROUP_SOURCES_MAX)
		return -ENOBUFS;
	for (unsigned i = 0; i < f->n; i++)
		if (find(g, &f->source[i]) == NULL)
			g->sources->s[g->sources->n++] =
				(struct group_source){.addr = f->source[i]};
	return 0;
}

static void count(struct group *g, const struct ip_filter *f, int by)
{
	if (f == NULL)
		return;
	g->users = (uint16_t)(g->users + by);
	if (f->exclude)
		g->excluders = (uint16_t)(g->excluders + by);
	for (unsigned i = 0; i < f->n; i++) {
		struct group_source *s = find(g, &f->source[i]);

		if (s != NULL && f->exclude)
			s->ex = (uint16_t)(s->ex + by);
		else if (s != NULL)
			s->in = (uint16_t)(s->in + by);
	}
}

int group_count(struct group *g, const struct ip_filter *was, const struct ip_filter *is,
		uint8_t reports, bool *news)
{
	bool before[GROUP_SOURCES_MAX];
	int err = reserve(g, is);

	*news = false;
	if (err != 0)
		return err;
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++)
		before[i] = heard(g, &g->sources->s[i]);
	count(g, was, -1);
	count(g, is, 1);
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++) {
		struct group_source *s = &g->sources->s[i];

		if (heard(g, s) == before[i])
			continue;
		s->reports = reports;
		*news = true;
	}
	return 0;
}

void group_sources_due(struct group *g, uint8_t reports, bool only_listed)
{
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++)
		if (!only_listed || listed(g, &g->sources->s[i]))
			g->sources->s[i].reports = reports;
}

bool group_sources_pend(const struct group *g)
{
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++)
		if (g->sources->s[i].reports > 0)
			return true;
	return false;
}

void group_sources_reported(struct group *g)
{
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++)
		g->sources->s[i].reports -= g->sources->s[i].reports > 0;
}

void group_sources_tidy(struct group *g)
{
	for (unsigned i = 0; g->sources != NULL && i < g->sources->n;) {
		struct group_source *s = &g->sources->s[i];

		if (s->in == 0 && s->ex == 0 && s->reports == 0)
			*s = g->sources->s[--g->sources->n];
		else
			i++;
	}
	if (g->sources == NULL || g->sources->n > 0)
		return;
	free(g->sources);
	g->sources = NULL;
}

unsigned group_pick(const struct group *g, enum group_list list, struct ip_addr *out)
{
	unsigned n = 0;

	for (unsigned i = 0; g->sources != NULL && i < g->sources->n; i++) {
		const struct group_source *s = &g->sources->s[i];
		bool changed = s->reports > 0;

		if (list == GROUP_LISTED    ? listed(g, s)
		    : list == GROUP_ALLOWED ? changed && heard(g, s)
					    : changed && !heard(g, s))
			out[n++] = s->addr;
	}
	return n;
}
