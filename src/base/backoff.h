/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Something that may not pay is tried the less the more often it did not: after k failures in a row
 * the next 2^k - 1 times are left out.
 */
#ifndef ZS_BASE_BACKOFF_H
#define ZS_BASE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff {
	uint8_t failed; /* in a row */
	uint16_t skip;	/* the next ones that are left out */
};

/* One is due: is it to be left out? */
static inline bool backoff_skips(struct backoff *b)
{
	if (b->skip == 0)
		return false;
	b->skip--;
	return true;
}

/* As `more` failures, beyond `most` (16 at most) none counts. */
static inline void backoff_failed(struct backoff *b, unsigned more, unsigned most)
{
	unsigned n = b->failed + more < most ? b->failed + more : most;

	b->failed = (uint8_t)n;
	b->skip = (uint16_t)((1u << n) - 1);
}

static inline void backoff_worked(struct backoff *b)
{
	b->failed = 0;
}

#endif
