/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "tcp/demux.h"

/* Half full on average: a bucket of eight then overflows for about two in a hundred. */
#define AVERAGE_FILL (DEMUX_WAYS / 2)

static uint32_t power_of_two(uint32_t at_least)
{
	uint32_t n = 1;

	while (n < at_least)
		n <<= 1;
	return n;
}

int demux_init(struct demux *d, uint32_t max)
{
	uint32_t homes = power_of_two(max / AVERAGE_FILL + 1);
	/* Bucket 0 is a home, so 0 can mean "no overflow". Should all entries fall into one bucket,
	 * the overflow buckets still hold them: see close_hole. */
	uint32_t total = homes + max / DEMUX_WAYS + 1;
	uint64_t bytes = (uint64_t)total * sizeof(struct demux_bucket);
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return -ENOMEM;
	madvise(mem, bytes, MADV_HUGEPAGE); /* as in base/slab.c */
	*d = (struct demux){.buckets = mem,
			    .max = max,
			    .mask = homes - 1,
			    .next_more = homes,
			    .total = total,
			    .bytes = bytes};
	return 0;
}

void demux_fini(struct demux *d)
{
	if (d->buckets != NULL)
		munmap(d->buckets, d->bytes);
	*d = (struct demux){0};
}

static uint32_t more_get(struct demux *d)
{
	uint32_t n = d->free_more;

	if (n != 0) {
		d->free_more = d->buckets[n].more;
		d->buckets[n].more = 0;
		return n;
	}
	BUG_ON(d->next_more >= d->total);
	return d->next_more++;
}

static void more_put(struct demux *d, uint32_t n)
{
	d->buckets[n].more = d->free_more;
	d->free_more = n;
}

int demux_add(struct demux *d, uint32_t hash, uint32_t index)
{
	struct demux_bucket *b = &d->buckets[hash & d->mask];

	if (d->count >= d->max)
		return -ENOSPC;
	for (;;) {
		for (unsigned i = 0; i < DEMUX_WAYS; i++) {
			if (b->index[i] != 0)
				continue;
			b->index[i] = index + 1;
			b->tag[i] = (uint16_t)(hash >> 16);
			d->count++;
			return 0;
		}
		if (b->more == 0) {
			b->more = more_get(d);
		}
		b = &d->buckets[b->more];
	}
}

static int bucket_find(const struct demux_bucket *b, uint16_t tag, uint32_t index)
{
	for (int i = 0; i < DEMUX_WAYS; i++)
		if (b->tag[i] == tag && b->index[i] == index + 1)
			return i;
	return -1;
}

static int bucket_last(const struct demux_bucket *b)
{
	for (int i = DEMUX_WAYS - 1; i >= 0; i--)
		if (b->index[i] != 0)
			return i;
	return -1;
}

/* Fills the hole with an entry of the chain's last bucket, and gives that one back when it empties:
 * so only the last bucket of a chain has holes, and max / DEMUX_WAYS overflow buckets always
 * suffice. */
static void close_hole(struct demux *d, struct demux_bucket *b, int hole)
{
	struct demux_bucket *prev = NULL, *last = b;
	int from;

	while (last->more != 0) {
		prev = last;
		last = &d->buckets[last->more];
	}
	from = bucket_last(last);
	if (from >= 0 && last != b) {
		b->index[hole] = last->index[from];
		b->tag[hole] = last->tag[from];
		last->index[from] = 0;
	}
	if (prev != NULL && bucket_last(last) < 0) {
		more_put(d, prev->more);
		prev->more = 0;
	}
}

void demux_del(struct demux *d, uint32_t hash, uint32_t index)
{
	struct demux_bucket *b = &d->buckets[hash & d->mask];
	int at;

	while ((at = bucket_find(b, (uint16_t)(hash >> 16), index)) < 0) {
		BUG_ON(b->more == 0);
		b = &d->buckets[b->more];
	}
	b->index[at] = 0;
	d->count--;
	close_hole(d, b, at);
}
