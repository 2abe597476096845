/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See mem.h. Blocks of one size never become blocks of another: a list for each size is filled by
 * the most that size ever needed at once, which is the bound.
 */
#include "tcp/mem.h"

void tcp_mem_init(struct tcp_mem *m, void *base, size_t size)
{
	ASSERT((uintptr_t)base % TCP_MEM_MIN_BYTES == 0);
	*m = (struct tcp_mem){.base = base, .size = size};
}

/* The class whose blocks are the least that hold `bytes`; TCP_MEM_CLASSES when none does. */
static unsigned class_of(size_t bytes)
{
	unsigned c = 0;

	while (c < TCP_MEM_CLASSES && ((size_t)TCP_MEM_MIN_BYTES << c) < bytes)
		c++;
	return c;
}

void *tcp_mem_get(struct tcp_mem *m, size_t bytes)
{
	unsigned c = class_of(bytes);
	void *block;

	if (c == TCP_MEM_CLASSES)
		return NULL;
	block = m->free[c];
	if (block) {
		m->free[c] = *(void **)block;
		return block;
	}
	if (m->size - m->used < (size_t)TCP_MEM_MIN_BYTES << c)
		return NULL;
	block = m->base + m->used;
	m->used += (size_t)TCP_MEM_MIN_BYTES << c;
	return block;
}

void tcp_mem_put(struct tcp_mem *m, void *block, size_t bytes)
{
	unsigned c = class_of(bytes);

	ASSERT(c < TCP_MEM_CLASSES && (uint8_t *)block >= m->base &&
	       (uint8_t *)block < m->base + m->used);
	*(void **)block = m->free[c];
	m->free[c] = block;
}
