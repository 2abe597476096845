/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Hooks that read.
 */
#include "preload/preload.h"

ssize_t read(int fd, void *buf, size_t len)
{
	long r;

	if (likely(!fd_is_ours(fd)))
		return real.read(fd, buf, len);
	do {
		enter();
		r = zs_read(fd, buf, len);
	} while (leave(r));
	return result(r);
}
