/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that the service shares: anonymous files, mapped here and handed out by descriptor. Their
 * length is sealed at once, so nobody can take pages away under the service (H35). Which seals hold
 * what was tried on Linux 6: see FACTS in docs/design/007.
 */
#ifndef ZS_SVC_REGION_H
#define ZS_SVC_REGION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

struct region {
	void *base;
	uint64_t bytes;
	int fd;
	bool adopted; /* sealed by the service before */
};

/* Zeroed memory, whole pages. Others can map it writable; here it is mapped as prot says
 * (PROT_READ, PROT_WRITE). -errno. */
int region_create(struct region *r, const char *name, uint64_t bytes, int prot) must_check;
/* The same out of a descriptor that a program brings, of memory that a service made and sealed with
 * all seals; it is duplicated. -EPERM: it is no such memory. */
int region_adopt(struct region *r, int fd, uint64_t bytes) must_check;
/* From now on no new writable mapping, by nobody; those that exist stay. -errno. */
int region_seal(struct region *r) must_check;
void region_destroy(struct region *r);

#endif
