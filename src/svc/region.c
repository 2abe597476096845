/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See region.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "svc/region.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u /* Linux 6.3 */
#endif

#define SEALS_LENGTH (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_ALL    (SEALS_LENGTH | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

static int fill(struct region *r, int prot)
{
	if (ftruncate(r->fd, (off_t)r->bytes) < 0 || fcntl(r->fd, F_ADD_SEALS, SEALS_LENGTH) < 0)
		return -errno;
	r->base = mmap(NULL, r->bytes, prot, MAP_SHARED | MAP_NORESERVE, r->fd, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return -errno;
	}
	return madvise(r->base, r->bytes, MADV_DONTFORK) < 0 ? -errno : 0;
}

int region_create(struct region *r, const char *name, uint64_t bytes, int prot)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	int rc;

	*r = (struct region){.bytes = (bytes + page - 1) / page * page};
	r->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (r->fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		r->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (r->fd < 0)
		return -errno;
	rc = fill(r, prot);
	if (rc < 0)
		region_destroy(r);
	return rc;
}

/* Nothing but a memfd can be sealed; one of huge pages is not taken, since reading where it has
 * none yet may fail with a signal. */
static bool is_sealed_memory(int fd, uint64_t bytes)
{
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & SEALS_ALL) == SEALS_ALL && fstatfs(fd, &fs) == 0 &&
	       fs.f_type == TMPFS_MAGIC && fstat(fd, &st) == 0 && (uint64_t)st.st_size == bytes;
}

int region_adopt(struct region *r, int fd, uint64_t bytes)
{
	*r = (struct region){.bytes = bytes, .fd = -1, .adopted = true};
	if (bytes == 0 || !is_sealed_memory(fd, bytes))
		return -EPERM;
	r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (r->fd < 0)
		return -errno;
	r->base = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, r->fd, 0);
	if (r->base != MAP_FAILED && madvise(r->base, bytes, MADV_DONTFORK) == 0)
		return 0;
	r->base = r->base == MAP_FAILED ? NULL : r->base;
	region_destroy(r);
	return -ENOMEM;
}

int region_seal(struct region *r)
{
	if (r->adopted)
		return 0;
	if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	return (fcntl(r->fd, F_GET_SEALS) & SEALS_ALL) == SEALS_ALL ? 0 : -EPERM;
}

void region_destroy(struct region *r)
{
	if (r->base != NULL)
		munmap(r->base, r->bytes);
	if (r->fd > 0)
		close(r->fd);
	*r = (struct region){.fd = -1};
}
