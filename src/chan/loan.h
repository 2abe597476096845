/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the service remembers of one application's buffers: which received ones are lent to it, and
 * which of its own are in a send. Both tables are the service's private memory, one of each per
 * channel. A buffer is an opaque pointer, so that this room knows nothing of packets.
 *
 * A loan is one row (buffer × holder). Its name is the row's index and a generation:
 *
 *	 31  30       19 18              0
 *	┌───┬───────────┬─────────────────┐
 *	│ – │ 1 … 4095  │ row             │      0 is never a name: LOAN_NONE
 *	└───┴───────────┴─────────────────┘
 *
 * (The highest bit is the ring's in which names go home.)
 *
 * The generation changes whenever the row is emptied. So a name returned twice fails (H33) until
 * the same row has been lent another 4095 times; whoever then succeeds returns a loan of its own.
 */
#ifndef ZS_CHAN_LOAN_H
#define ZS_CHAN_LOAN_H

#include <stdint.h>

#include "base/assert.h"

struct loan_row;

/* Owned by the stack core that serves the channel. */
struct loan_table {
	struct loan_row *row;
	uint32_t rows;	/* max_loans of the channel */
	uint32_t held;	/* now lent */
	uint32_t quota; /* at most so many at a time; may be set at will, also below held */
	uint32_t free;	/* list of empty rows that were used before, last one first */
	uint32_t fresh; /* rows from here on were never used */
	uint64_t bad;	/* returns of what was not held */
};

/* -EINVAL: 0 rows or more than the name's bits carry; -ENOMEM. The quota starts at rows. */
must_check int loan_init(struct loan_table *t, uint32_t rows);
/* Nothing may be held: reap first. */
void loan_fini(struct loan_table *t);

/* Lends buffer (not NULL): its name, or LOAN_NONE when the quota is reached: the data then stays in
 * its socket until something is returned (H34). */
uint32_t loan_give(struct loan_table *t, void *buffer);
/* The buffer behind a name, which stays lent; NULL if not held. */
void *loan_look(const struct loan_table *t, uint32_t loan);
/* Ends a loan: the buffer, now the caller's to free; NULL (and `bad` counts) if not held. */
void *loan_take_back(struct loan_table *t, uint32_t loan);
/* Ends any one loan of a dead application: its buffer; NULL when none is left (H31). *cursor starts
 * at 0; a whole walk is O(rows) and can be cut into pieces. */
void *loan_reap(struct loan_table *t, uint32_t *cursor);

/* Sends in flight. The application chooses the token below the channel's max_tokens; until the
 * service has given it back in the done ring it may not be used again. That keeps done from
 * overflowing. */
struct token_table {
	void **send;	/* by token: what is in flight, NULL when the application has the token */
	uint32_t max;	/* max_tokens of the channel */
	uint32_t count; /* in flight */
	uint64_t bad;	/* commands with a token out of range or in flight */
};

must_check int token_init(struct token_table *t, uint32_t max);
/* Nothing may be in flight: the network card may still read that memory. */
void token_fini(struct token_table *t);

/* send (not NULL) is in flight under token: 0; -EINVAL out of range, -EBUSY in flight already. */
must_check int token_begin(struct token_table *t, uint32_t token, void *send);
/* The send ends: what was given to token_begin(), or NULL if there is none. */
void *token_end(struct token_table *t, uint32_t token);
/* First token in flight at or after from; max if there is none. */
uint32_t token_next(const struct token_table *t, uint32_t from);

#endif
