/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See table.h. The memory is mapped, not allocated: it must be zeros, and go back as a whole.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>

#include "client/table.h"

#define PAGE 4096u

static void *map(uint64_t bytes, int prot)
{
	void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

void *table_new(uint64_t rows, size_t size)
{
	return map(rows * size, PROT_READ | PROT_WRITE);
}

void *table_reserve(uint64_t rows, size_t size)
{
	return map(rows * size, PROT_READ);
}

void table_free(void *table, uint64_t rows, size_t size)
{
	if (table != NULL)
		munmap(table, rows * size);
}

/* By whole pages: at the edges they belong to rows before and behind, too, for which it is early.
 */
int table_open(void *table, size_t size, uint64_t from, uint64_t to)
{
	uint64_t first = from * size / PAGE * PAGE, end = (to * size + PAGE - 1) / PAGE * PAGE;

	if (first >= end)
		return 0;
	return mprotect((char *)table + first, end - first, PROT_READ | PROT_WRITE) < 0 ? -ENOMEM
											: 0;
}
