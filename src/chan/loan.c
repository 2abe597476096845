/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See loan.h. Rows are reused last in, first out: a hot table, at the price that one row's
 * generations go round faster. They only protect an application from its own mistakes: no name
 * reaches any row but those of the channel it came through.
 */
#include <errno.h>
#include <stdlib.h>

#include "chan/chan.h"
#include "chan/loan.h"

#define NIL	 UINT32_MAX
#define GEN_BITS (31 - LOAN_INDEX_BITS)
#define GEN_MAX	 ((1u << GEN_BITS) - 1)

struct loan_row {
	void *buffer;  /* NULL: empty */
	uint32_t gen;  /* of the loan it holds or will hold next; 0: never used, stands for 1 */
	uint32_t next; /* empty: on the free list */
};

int loan_init(struct loan_table *t, uint32_t rows)
{
	*t = (struct loan_table){.free = NIL};
	if (rows == 0 || rows > 1u << LOAN_INDEX_BITS)
		return -EINVAL;
	t->row = calloc(rows, sizeof(*t->row));
	if (t->row == NULL)
		return -ENOMEM;
	t->rows = rows;
	t->quota = rows;
	return 0;
}

void loan_fini(struct loan_table *t)
{
	BUG_ON(t->held != 0);
	free(t->row);
	*t = (struct loan_table){.free = NIL};
}

uint32_t loan_give(struct loan_table *t, void *buffer)
{
	uint32_t i = t->free;

	ASSERT(buffer != NULL);
	if (t->held >= t->quota)
		return LOAN_NONE;
	if (i != NIL)
		t->free = t->row[i].next;
	else if (t->fresh < t->rows)
		i = t->fresh++;
	else
		return LOAN_NONE;
	struct loan_row *r = &t->row[i];

	r->buffer = buffer;
	if (r->gen == 0)
		r->gen = 1;
	t->held++;
	return r->gen << LOAN_INDEX_BITS | i;
}

static struct loan_row *row_of(const struct loan_table *t, uint32_t loan)
{
	uint32_t i = loan_index(loan);

	if (i >= t->fresh)
		return NULL;
	struct loan_row *r = &t->row[i];

	return r->buffer != NULL && r->gen == loan >> LOAN_INDEX_BITS ? r : NULL;
}

void *loan_look(const struct loan_table *t, uint32_t loan)
{
	struct loan_row *r = row_of(t, loan);

	return r != NULL ? r->buffer : NULL;
}

static void *row_empty(struct loan_table *t, struct loan_row *r)
{
	void *buffer = r->buffer;

	r->buffer = NULL;
	r->gen = r->gen == GEN_MAX ? 1 : r->gen + 1;
	r->next = t->free;
	t->free = (uint32_t)(r - t->row);
	t->held--;
	return buffer;
}

void *loan_take_back(struct loan_table *t, uint32_t loan)
{
	struct loan_row *r = row_of(t, loan);

	if (r == NULL) {
		t->bad++;
		return NULL;
	}
	return row_empty(t, r);
}

void *loan_reap(struct loan_table *t, uint32_t *cursor)
{
	while (*cursor < t->fresh && t->held != 0) {
		struct loan_row *r = &t->row[(*cursor)++];

		if (r->buffer != NULL)
			return row_empty(t, r);
	}
	return NULL;
}

int token_init(struct token_table *t, uint32_t max)
{
	*t = (struct token_table){0};
	if (max == 0 || max > CHAN_RING_MAX)
		return -EINVAL;
	t->send = calloc(max, sizeof(*t->send));
	if (t->send == NULL)
		return -ENOMEM;
	t->max = max;
	return 0;
}

void token_fini(struct token_table *t)
{
	BUG_ON(t->count != 0);
	free(t->send);
	*t = (struct token_table){0};
}

int token_begin(struct token_table *t, uint32_t token, void *send)
{
	ASSERT(send != NULL);
	if (token >= t->max || t->send[token] != NULL) {
		t->bad++;
		return token >= t->max ? -EINVAL : -EBUSY;
	}
	t->send[token] = send;
	t->count++;
	return 0;
}

void *token_end(struct token_table *t, uint32_t token)
{
	void *send = token < t->max ? t->send[token] : NULL;

	if (send == NULL)
		return NULL;
	t->send[token] = NULL;
	t->count--;
	return send;
}

uint32_t token_next(const struct token_table *t, uint32_t from)
{
	while (from < t->max && t->send[from] == NULL)
		from++;
	return from < t->max ? from : t->max;
}
