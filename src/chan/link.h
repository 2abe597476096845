/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The link between two programs on one node (docs/design/013): shared memory that both write, with,
 * for each direction, a ring of entries and a ring of what is given back. All streams between the
 * two share it.
 *
 *	side 0  entries ──────►  side 1		payload up to LINK_INLINE lies in the entry,
 *	        ◄────── returns			longer payload in the sender's arena
 *	        ◄────── entries
 *	        returns ──────►
 *
 * No index is shared for what is produced: an entry carries its position, written last, and a
 * return word the parity of its lap. So news cost one cache line to move, the one that has them; an
 * index on a line of its own cost a tenth more of a round trip. How far the other has read entries
 * is an index, which it writes now and then; returns need none, since no more entries may be
 * unreturned than there are places.
 *
 * Of a stream an entry is some bytes; of records, one. Which it is both ends know of the socket.
 *
 * A stream leaves the link when its receiver hands it to another process, which can't wait for a
 * sender that looks at its link when it likes. So the receiver *cuts*: it counts up `cut`, waits for
 * the entry that is being written at this moment, if there is one, and takes what there is. A sender
 * says that it is writing, then looks at `cut`; if that is not what it was when it was told where to
 * send, it writes nothing, and sends by the service.
 *
 * The service has no part in it: when that is gone, streams go on, and the two sides tell each other
 * what it would have told them, by entries without payload (client/link_keep.c).
 *
 * A side trusts the other in nothing (H32): an entry is copied, then checked; an index that can't
 * be counts as `bad`.
 */
#ifndef ZS_CHAN_LINK_H
#define ZS_CHAN_LINK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#define LINK_MAGIC   0x4b4e4c5au
#define LINK_VERSION 3
#define LINK_SLOTS   512u  /* entries on their way */
#define LINK_RETURNS 4096u /* entries not yet given back */
#define LINK_INLINE  224u  /* bytes of payload in an entry */

/* Where payload lies that is not in the entry: the arena of a core of an application of the
 * service's, or the packets of the trust domain. */
#define LINK_REGION_NONE    0u
#define LINK_REGION_PACKETS UINT32_MAX
static inline uint32_t link_region(uint32_t app, unsigned core)
{
	return app << 4 | core;
}

enum {
	LINK_OOB = 1 << 0, /* the last byte is urgent */
	/* Of an entry without payload: what the service would have said, were it there. */
	LINK_FIN = 1 << 1,  /* the stream ends */
	LINK_RST = 1 << 2,  /* it is reset */
	LINK_ASK = 1 << 3,  /* is it there? If not, the token comes back marked */
	LINK_LOST = 1 << 4, /* of no stream: the sender's service is gone */
	/* … and an empty record. */
	LINK_EMPTY = 1 << 5,
};

struct link_entry {
	_Atomic uint32_t seq; /* position + 1 */
	uint32_t to, gen;     /* the stream, as the receiver calls it */
	uint32_t token;	      /* a word for the way back, with nothing in the bits of the flags */
	uint32_t len;	      /* of the payload; 0: see flags */
	uint32_t region;      /* LINK_REGION_NONE: it lies in data */
	uint32_t off;
	uint32_t flags;
	uint8_t data[LINK_INLINE];
};
_Static_assert(sizeof(struct link_entry) == 256, "four lines, of which two are used by 64 bytes");
_Static_assert(offsetof(struct link_entry, data) == 32, "layout");

/* The way back: token, and above it the parity of the lap, and whether the payload was refused:
 * its stream is there no more. */
#define LINK_TOKEN_BITS 28
#define LINK_TOKEN_MASK ((1u << LINK_TOKEN_BITS) - 1)
#define LINK_RET_ODD	(1u << 31)
#define LINK_RET_GONE	(1u << 30)

/* What one side writes. */
struct link_side {
	_Alignas(64) _Atomic uint32_t taken; /* entries of the other that it has read */
	/* It sleeps, and wants to be rung for: the ringer exchanges it (bell.h). */
	_Alignas(64) _Atomic uint32_t armed;
	_Atomic uint32_t cut;	/* streams that were taken before it was counted up are no more */
	_Atomic uint32_t ended; /* not 0: it takes nothing any more */
	/* For people: what it sent. */
	_Alignas(64) _Atomic uint64_t entries;
	_Atomic uint64_t bytes;
	_Atomic uint32_t writing; /* an entry: 1, else 0 */
	_Alignas(64) _Atomic uint32_t ret[LINK_RETURNS];
	_Alignas(64) struct link_entry entry[LINK_SLOTS];
};
_Static_assert(offsetof(struct link_side, ret) == 192, "layout");
_Static_assert(offsetof(struct link_side, entry) == 192 + 4 * LINK_RETURNS, "layout");

struct link_shm {
	uint32_t magic, version;
	/* At random, from who made it: that two programs hold a stream of it is believed by the next
	 * service when both know this. */
	uint64_t secret;
	uint32_t secret2;
	_Alignas(64) struct link_side side[2];
};
_Static_assert(sizeof(struct link_shm) == 64 + 2 * (192 + 4 * LINK_RETURNS + 256 * LINK_SLOTS),
	       "layout");

/* One side's view. */
struct link_end {
	struct link_side *mine, *other;
	uint32_t tx, tx_taken; /* next entry to write; as far as the other has read */
	uint32_t rx, rx_told;  /* next entry to read; as far as the other was told */
	uint32_t ret_tx, ret_rx;
	uint32_t cut; /* as mine->cut */
	uint64_t secret;
	uint32_t secret2;
	uint64_t sent_entries, sent_bytes;
	uint64_t bad; /* times the other's index was impossible */
};

/* Fresh memory, zeroed. */
void link_format(struct link_shm *sh);
/* -EPROTO: it is none of this version. side: 0 or 1. */
must_check int link_attach(struct link_end *e, struct link_shm *sh, unsigned side);

/* ---- sending ---- */

/* Room for how many entries? Looks at the other's index only when there is less than `want`. */
static inline uint32_t link_room_for(struct link_end *e, uint32_t want)
{
	uint32_t room = LINK_SLOTS - (e->tx - e->tx_taken), taken;

	if (likely(room >= want))
		return room;
	taken = atomic_load_explicit(&e->other->taken, memory_order_acquire);
	if (e->tx - taken <= e->tx - e->tx_taken)
		e->tx_taken = taken;
	else
		e->bad++;
	return LINK_SLOTS - (e->tx - e->tx_taken);
}

static inline struct link_entry *link_slot(struct link_end *e)
{
	return &e->mine->entry[e->tx % LINK_SLOTS];
}

/* The entry is there, or there will be none after all. */
static inline void link_written(struct link_end *e)
{
	atomic_store_explicit(&e->mine->writing, 0, memory_order_release);
}

/* Before a slot is filled, for a stream that was taken when the other's cut was so. False: it was
 * counted up since. */
static inline bool link_begin(struct link_end *e, uint32_t cut)
{
	(void)atomic_exchange(&e->mine->writing, 1);
	if (likely(atomic_load(&e->other->cut) == cut))
		return true;
	link_written(e);
	return false;
}

/* The slot was filled. */
static inline void link_push(struct link_end *e, uint32_t bytes)
{
	struct link_entry *q = link_slot(e);

	e->tx++;
	atomic_store_explicit(&q->seq, e->tx, memory_order_release);
	link_written(e);
	e->sent_bytes += bytes;
	atomic_store_explicit(&e->mine->entries, ++e->sent_entries, memory_order_relaxed);
	atomic_store_explicit(&e->mine->bytes, e->sent_bytes, memory_order_relaxed);
}

/* ---- receiving ---- */

/* The next entry, to be copied and then checked; NULL: there is none yet. */
static inline const struct link_entry *link_next(const struct link_end *e)
{
	const struct link_entry *q = &e->other->entry[e->rx % LINK_SLOTS];

	return atomic_load_explicit(&q->seq, memory_order_acquire) == e->rx + 1 ? q : NULL;
}

/* It was read. The other is told when that matters to it: after a part of the ring. */
static inline bool link_take(struct link_end *e)
{
	e->rx++;
	if (likely(e->rx - e->rx_told < LINK_SLOTS / 8))
		return false;
	e->rx_told = e->rx;
	atomic_store_explicit(&e->mine->taken, e->rx, memory_order_release);
	return true;
}

/* From here on the other begins no entry for streams that were taken before. One may be half
 * written: link_is_written(). */
static inline void link_cut(struct link_end *e)
{
	(void)atomic_exchange(&e->mine->cut, ++e->cut);
}

/* Everything that is to be read of the other was, and nothing will be. */
static inline void link_say_ended(struct link_end *e)
{
	atomic_store_explicit(&e->mine->ended, 1, memory_order_release);
}

static inline bool link_has_ended(const struct link_end *e)
{
	return atomic_load_explicit(&e->other->ended, memory_order_acquire) != 0;
}

static inline bool link_is_written(const struct link_end *e)
{
	return atomic_load(&e->other->writing) != 0;
}

/* ---- giving back ---- */

static inline uint32_t link_lap(uint32_t at)
{
	return (at / LINK_RETURNS) % 2 == 0 ? LINK_RET_ODD : 0;
}

/* word: a token, and LINK_RET_GONE. There is a place, if the other kept to its limit. */
static inline void link_give_back(struct link_end *e, uint32_t word)
{
	_Atomic uint32_t *at = &e->mine->ret[e->ret_tx % LINK_RETURNS];

	atomic_store_explicit(at, word | link_lap(e->ret_tx), memory_order_release);
	e->ret_tx++;
}

/* Is there a word that came back? */
static inline bool link_peek_return(const struct link_end *e, uint32_t *word)
{
	uint32_t w = atomic_load_explicit(&e->other->ret[e->ret_rx % LINK_RETURNS],
					  memory_order_acquire);

	/* Fresh memory has none: the first lap is odd. */
	*word = w & ~LINK_RET_ODD;
	return (w & LINK_RET_ODD) == link_lap(e->ret_rx);
}

/* The next; false: none. */
static inline bool link_returned(struct link_end *e, uint32_t *word)
{
	if (!link_peek_return(e, word))
		return false;
	e->ret_rx++;
	return true;
}

#endif
