/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where EAL's memory lies: applications read received payload there, by offsets from its start.
 */
#include <rte_memory.h>

#include "dev/dev_priv.h"

static int widen(const struct rte_memseg_list *msl, const struct rte_memseg *ms, void *arg)
{
	struct dev_span *span = arg;
	uintptr_t lo = (uintptr_t)ms->addr, hi = lo + ms->len;

	if (span->bytes == 0) {
		*span = (struct dev_span){ms->addr, ms->len};
		return 0;
	}
	if (lo < (uintptr_t)span->base) {
		span->bytes += (uintptr_t)span->base - lo;
		span->base = ms->addr;
	}
	if (hi > (uintptr_t)span->base + span->bytes)
		span->bytes = hi - (uintptr_t)span->base;
	return 0;
}

struct dev_span dev_mem_span(void)
{
	struct dev_span span = {0};

	rte_memseg_walk(widen, &span);
	return span;
}
