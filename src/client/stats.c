/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters and dumps. The stack's tables come as text, a piece at a time, through the scratch area
 * of the channel (CHAN_OP_DUMP); a counter of the stack is found by its name in that text, so that
 * there is one list of counters and not two.
 */
#include <stdlib.h>
#include <string.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define PIECE	   32768u
#define PIECES_MAX 65536 /* of one table: an end, should a cursor never come to its own */

/* Takes one piece of text; a value below 0 ends the dump. */
typedef int dump_sink(void *to, const char *text, size_t len);

/* Inside: everything the program's side may see of the piece is copied out of the channel here. */
static int dump_piece(struct core *c, int what, uint32_t *cursor, char *text)
{
	struct chan_sqe cmd = {.op = CHAN_OP_DUMP, .len = PIECE};
	struct chan_cqe e;
	int n = scratch_take(c);

	if (n < 0)
		return n;
	cmd.arg[0] = what;
	cmd.arg[1] = (int32_t)*cursor;
	n = cmd_call(c, NULL, &cmd, &e);
	if (n > (int)PIECE)
		n = -EPROTO;
	if (n > 0)
		memcpy(text, c->end.scratch, (size_t)n);
	c->scratch_taken = false;
	*cursor = e.aux;
	return n == -ERESTART ? -ENETDOWN : n;
}

/* The table of one core. The lock is held on entry and return, not while the sink runs. */
static int dump_core(unsigned core, int what, char *text, dump_sink *sink, void *to)
{
	struct core *c = &client.core[core];
	uint32_t cursor = 0;
	int n, r = 0, pieces = 0;

	do {
		n = dump_piece(c, what, &cursor, text);
		if (n < 0 && client.stopping)
			return -ENXIO;
		client.waiting++;
		client_unlock();
		r = n < 0 ? n : sink(to, text, (size_t)n);
		client_lock();
		client.waiting--;
	} while (r >= 0 && cursor != 0 && ++pieces < PIECES_MAX);
	return r;
}

static int dump_all(int what, dump_sink *sink, void *to)
{
	char *text = malloc(PIECE);
	int r;

	if (text == NULL)
		return -ENOMEM;
	client_lock();
	r = client_ready();
	for (unsigned i = 0; r >= 0 && i < client.n_cores; i++)
		r = dump_core(i, what, text, sink, to);
	client_unlock();
	free(text);
	return r < 0 ? r : 0;
}

static int file_sink(void *to, const char *text, size_t len)
{
	return fwrite(text, 1, len, to) == len ? 0 : -EIO;
}

int zs_dump(enum zs_dump_what what, FILE *out)
{
	static const int op[] = {
		[ZS_DUMP_SOCKETS] = CHAN_DUMP_SOCKETS, [ZS_DUMP_COUNTERS] = CHAN_DUMP_COUNTERS,
		[ZS_DUMP_NEIGH] = CHAN_DUMP_NEIGH,     [ZS_DUMP_ROUTES] = CHAN_DUMP_ROUTES,
		[ZS_DUMP_PORTS] = CHAN_DUMP_PORTS,
	};

	if ((unsigned)what >= array_size(op))
		return -EINVAL;
	return dump_all(op[what], file_sink, out);
}

/* ---- counters ---- */

struct wanted {
	const char *name;
	uint64_t value;
	bool found;
};

/* One line "NAME VALUE", maybe with more behind: added to what is wanted under that name. */
static void line_add(struct wanted *w, unsigned n, const char *line, size_t len)
{
	const char *at = memchr(line, ' ', len);
	uint64_t value = 0;
	size_t name_len;

	if (at == NULL)
		return;
	name_len = (size_t)(at - line);
	for (at++; at < line + len && *at >= '0' && *at <= '9'; at++)
		value = value * 10 + (uint64_t)(*at - '0');
	for (unsigned i = 0; i < n; i++) {
		if (strlen(w[i].name) == name_len && memcmp(w[i].name, line, name_len) == 0) {
			w[i].value += value;
			w[i].found = true;
		}
	}
}

struct search {
	struct wanted *w;
	unsigned n;
};

/* A piece has whole lines. */
static int search_sink(void *to, const char *text, size_t len)
{
	struct search *s = to;

	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t k = end != NULL ? (size_t)(end - text) : len;

		line_add(s->w, s->n, text, k);
		k += end != NULL;
		text += k;
		len -= k;
	}
	return 0;
}

int zs_counter(const char *name, uint64_t *value)
{
	struct wanted w = {.name = name};
	struct search s = {&w, 1};
	int r = dump_all(CHAN_DUMP_COUNTERS, search_sink, &s);

	if (r < 0)
		return r;
	if (!w.found)
		return -ENOENT;
	*value = w.value;
	return 0;
}

int zs_stats(struct zs_stats *stats, size_t size)
{
	struct wanted w[] = {
		{.name = COUNTER_PRESSURE}, {.name = COUNTER_DEVICE}, {.name = COUNTER_DOMAIN}};
	struct search s = {w, array_size(w)};
	struct zs_stats all;
	int r;

	if (size == 0)
		return -EINVAL;
	r = dump_all(CHAN_DUMP_COUNTERS, search_sink, &s);
	if (r < 0)
		return r;
	client_lock();
	all = client.stats;
	for (unsigned i = 0; i < client.n_cores; i++)
		all.lent_buffers += client.core[i].lent;
	link_stats(&all);
	client_unlock();
	all.pressure_copied_bytes = w[0].value;
	all.device_copied_bytes = w[1].value;
	all.domain_copied_bytes = w[2].value;
	memcpy(stats, &all, size < sizeof(all) ? size : sizeof(all));
	return 0;
}
