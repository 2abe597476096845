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

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

#define SEALS_LENGTH (F_SEAL_SHRINK | F_SEAL_GROW)
#define SEALS_ALL    (SEALS_LENGTH | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL)

/* Pages that are there before anybody maps them can't be missing later. */
static int back(int fd, uint64_t bytes)
{
	return fallocate(fd, 0, 0, (off_t)bytes) < 0 ? -errno : 0;
}

static int map(struct region *r, int prot)
{
	r->base = mmap(NULL, r->bytes, prot, MAP_SHARED | MAP_NORESERVE, r->fd, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return -errno;
	}
	if (!r->huge) /* of the kinds that the system makes by itself, if its owner permits it */
		(void)madvise(r->base, r->bytes, MADV_HUGEPAGE);
	return madvise(r->base, r->bytes, MADV_DONTFORK) < 0 ? -errno : 0;
}

static int fill(struct region *r, int prot)
{
	int rc = 0;

	if (ftruncate(r->fd, (off_t)r->bytes) < 0 || fcntl(r->fd, F_ADD_SEALS, SEALS_LENGTH) < 0)
		return -errno;
	if (r->huge)
		rc = back(r->fd, r->bytes);
	return rc == 0 ? map(r, prot) : rc;
}

static int memory_open(const char *name, unsigned flags)
{
	int fd;

	flags |= MFD_CLOEXEC | MFD_ALLOW_SEALING;
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
		fd = memfd_create(name, flags);
	return fd < 0 ? -errno : fd;
}

static int create(struct region *r, const char *name, uint64_t bytes, int prot, bool huge)
{
	uint64_t page = huge ? REGION_HUGE_BYTES : (uint64_t)sysconf(_SC_PAGESIZE);
	int rc;

	*r = (struct region){.bytes = (bytes + page - 1) / page * page, .huge = huge};
	r->fd = memory_open(name, huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	if (r->fd < 0)
		return r->fd;
	rc = fill(r, prot);
	if (rc < 0)
		region_destroy(r);
	return rc;
}

int region_create(struct region *r, const char *name, uint64_t bytes, int prot)
{
	return create(r, name, bytes, prot, false);
}

int region_create_huge(struct region *r, const char *name, uint64_t bytes, int prot)
{
	if (create(r, name, bytes, prot, true) == 0)
		return 0;
	return create(r, name, bytes, prot, false);
}

/* Nothing but a memfd can be sealed. Where a file of huge pages has a hole, reading may fail with a
 * signal: it must have them all, and with its seals nobody makes a hole again. */
static bool is_sealed_memory(int fd, uint64_t bytes, bool *huge)
{
	struct statfs fs;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS_ALL) != SEALS_ALL || fstatfs(fd, &fs) < 0 ||
	    fstat(fd, &st) < 0 || (uint64_t)st.st_size != bytes)
		return false;
	*huge = fs.f_type == HUGETLBFS_MAGIC;
	return fs.f_type == TMPFS_MAGIC || (*huge && (uint64_t)st.st_blocks * 512 >= bytes);
}

int region_adopt(struct region *r, int fd, uint64_t bytes)
{
	int rc;

	*r = (struct region){.bytes = bytes, .fd = -1, .adopted = true};
	if (bytes == 0 || !is_sealed_memory(fd, bytes, &r->huge))
		return -EPERM;
	r->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	rc = r->fd < 0 ? -errno : map(r, PROT_READ);
	if (rc < 0)
		region_destroy(r);
	return rc;
}

int region_seal(struct region *r)
{
	if (r->adopted)
		return 0;
	if (fcntl(r->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) < 0)
		return -errno;
	if ((fcntl(r->fd, F_GET_SEALS) & SEALS_ALL) != SEALS_ALL)
		return -EPERM;
	/* Up to now whoever has the descriptor could make holes. */
	return r->huge ? back(r->fd, r->bytes) : 0;
}

void region_destroy(struct region *r)
{
	if (r->base != NULL)
		munmap(r->base, r->bytes);
	if (r->fd > 0)
		close(r->fd);
	*r = (struct region){.fd = -1};
}
