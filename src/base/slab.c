/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Reserving and releasing a slab's address space (slab.h). Nothing is given back to the system
 * before the end: the high-water mark of connections is what the machine must be able to bear
 * anyway.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "base/slab.h"

static void *reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* Objects are found at random: with small pages each costs a walk of the page tables. Where
	 * the system has no large ones, nothing is lost. */
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

int slab_init(struct slab *s, size_t size, uint32_t max)
{
	size_t bytes;

	*s = (struct slab){.max = max, .first = SLAB_NONE};
	if (size == 0 || size > SIZE_MAX - 7 || max == 0 || max > SLAB_MAX)
		return -EINVAL;
	s->size = (size + 7) & ~(size_t)7;
	if (__builtin_mul_overflow(s->size, max, &bytes))
		return -EINVAL;
	s->base = reserve(bytes);
	if (!s->base)
		return -ENOMEM;
	s->link = reserve(max * sizeof(s->link[0]));
	if (!s->link) {
		slab_fini(s);
		return -ENOMEM;
	}
	return 0;
}

void slab_fini(struct slab *s)
{
	if (s->base)
		munmap(s->base, s->size * s->max);
	if (s->link)
		munmap(s->link, s->max * sizeof(s->link[0]));
	*s = (struct slab){.first = SLAB_NONE};
}
