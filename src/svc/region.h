/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the service shares: anonymous files, mapped here and handed out by descriptor. Their
 * length is sealed at once, so nobody can take pages away under the service (H35). Which seals hold
 * what was tried on Linux 6: see FACTS in docs/design/007.
 *
 * Huge pages (of 2 MB): a page that is not there when it is touched, and can't be had, is a signal
 * that ends the toucher. So a region has all of its huge pages before it is mapped, or is of
 * ordinary ones; and from when its descriptor is handed out until it is sealed, while its holder
 * could take pages away, the service touches nothing of it (docs/design/007).
 */
#ifndef ZS_SVC_REGION_H
#define ZS_SVC_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define REGION_HUGE_BYTES (2ull << 20)

struct region {
	void *base;
	uint64_t bytes;
	int fd;
	bool adopted; /* sealed by the service before */
	bool huge;    /* in huge pages, each of which is there */
};

/* Zeroed memory, whole pages. Others can map it writable; here it is mapped as prot says
 * (PROT_READ, PROT_WRITE). -errno. */
int region_create(struct region *r, const char *name, uint64_t bytes, int prot) must_check;
/* The same in huge pages if there are enough, else in ordinary ones; r->huge says which. Not to be
 * touched between handing out and sealing. */
int region_create_huge(struct region *r, const char *name, uint64_t bytes, int prot) must_check;
/* The same out of a descriptor that a program brings, of memory that a service made and sealed with
 * all seals; it is duplicated. -EPERM: it is no such memory. */
int region_adopt(struct region *r, int fd, uint64_t bytes) must_check;
/* From now on no new writable mapping, by nobody; those that exist stay. -errno: then it must not
 * be touched. */
int region_seal(struct region *r) must_check;
void region_destroy(struct region *r);

#endif
