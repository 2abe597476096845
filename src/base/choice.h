/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which of two ways is cheaper here, found by trying. Work is done in stretches, each by one way;
 * now and then a stretch goes by the other, and when that was clearly cheaper than the stretches
 * before and after it, twice in a row, it becomes the way. The longer nothing changes the rarer the
 * trials are: of eight stretches at first, of 256 later.
 *
 * The caller sees to it that stretches can be compared: the same kind of work, and short.
 */
#ifndef ZS_BASE_CHOICE_H
#define ZS_BASE_CHOICE_H

#include <stdbool.h>
#include <stdint.h>

#define CHOICE_PAUSE_MIN 8
#define CHOICE_PAUSE_MAX 256

struct choice {
	bool other;	/* the way that is taken, but for trials */
	bool trying;	/* this stretch goes by the way not taken */
	bool tried;	/* the last one did */
	uint8_t won;	/* trials in a row */
	uint16_t pause; /* stretches between trials; 0: none yet */
	uint16_t left;	/* stretches until the next */
	uint32_t usual; /* cost of the last stretch by the way taken; 0: not known */
	uint32_t trial; /* of the last trial */
};

/* By which way now: false one, true the other. */
static inline bool choice_now(const struct choice *c)
{
	return c->other != c->trying;
}

/* Clearly: by an eighth. */
static inline bool choice_cheaper(uint32_t trial, uint32_t before, uint32_t after)
{
	uint32_t least = before < after ? before : after;

	return trial < least - least / 8;
}

static inline void choice_judge(struct choice *c, uint32_t after)
{
	if (!choice_cheaper(c->trial, c->usual, after)) {
		c->won = 0;
		c->pause = c->pause < CHOICE_PAUSE_MAX ? c->pause * 2 : CHOICE_PAUSE_MAX;
		c->left = c->pause;
		return;
	}
	c->left = 1; /* is it so? */
	if (++c->won < 2)
		return;
	c->other = !c->other;
	c->won = 0;
	c->pause = c->left = CHOICE_PAUSE_MIN;
}

/* A stretch is over. cost: of each piece of its work, in any unit, more than 0. */
static inline void choice_stretch(struct choice *c, uint32_t cost)
{
	if (c->pause == 0)
		c->pause = c->left = CHOICE_PAUSE_MIN;
	if (c->trying) {
		c->trial = cost;
		c->trying = false;
		c->tried = true;
		return;
	}
	if (c->tried)
		choice_judge(c, cost);
	else if (c->left > 0)
		c->left--;
	c->tried = false;
	c->usual = cost;
	c->trying = c->left == 0;
}

/* The stretch says nothing: there was not enough to do. */
static inline void choice_skip(struct choice *c)
{
	c->trying = c->tried = false;
	c->usual = 0;
}

#endif
