/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory of the engine's arrays that grow: blocks of power-of-two sizes, cut from one arena that is
 * handed in, kept on a free list for each size. Deterministic, bounded, never returned to the
 * system. One core's, as the engine is.
 */
#ifndef ZS_TCP_MEM_H
#define ZS_TCP_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#define TCP_MEM_MIN_BYTES 64u
#define TCP_MEM_CLASSES	  20 /* 64 B to 32 MiB */

struct tcp_mem {
	uint8_t *base;
	size_t size, used; /* bytes; what is above `used` was never touched */
	void *free[TCP_MEM_CLASSES];
};

/* base is aligned to 64 bytes and outlives m. */
void tcp_mem_init(struct tcp_mem *m, void *base, size_t size);
/* At least `bytes`, aligned to 64, uninitialized; NULL when the arena is used up. */
void *tcp_mem_get(struct tcp_mem *m, size_t bytes) must_check;
/* bytes as it was given to tcp_mem_get. */
void tcp_mem_put(struct tcp_mem *m, void *block, size_t bytes);

#endif
