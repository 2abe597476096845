/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Does what the core must not: devtools/check-purity has to refuse this archive.
 */
#include <time.h>

long impure(void);

long impure(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}
