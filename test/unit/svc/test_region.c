/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the holder of a region's descriptor can do to it: H35, H36. The descriptor of another
 * process is the same open file; reopening it is what /proc permits besides.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "svc/region.h"

#define BYTES 65536u

static struct region r;

static int setup(void **state)
{
	return region_create(&r, "test", BYTES - 1, PROT_READ | PROT_WRITE);
}

static int teardown(void **state)
{
	region_destroy(&r);
	return 0;
}

static void *map(int fd, int prot)
{
	void *p = mmap(NULL, BYTES, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int reopen(int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", r.fd);
	return open(path, flags | O_CLOEXEC);
}

static void region_is_of_whole_pages_and_zero(void **state)
{
	assert_int_equal(r.bytes, BYTES);
	for (unsigned i = 0; i < BYTES; i += 512)
		assert_int_equal(((char *)r.base)[i], 0);
	assert_true(fcntl(r.fd, F_GETFD) & FD_CLOEXEC);
}

static void h35_length_never_changes(void **state)
{
	for (int sealed = 0; sealed < 2; sealed++) {
		assert_int_equal(ftruncate(r.fd, 0), -1);
		assert_int_equal(ftruncate(r.fd, BYTES - 4096), -1);
		assert_int_equal(ftruncate(r.fd, BYTES + 4096), -1);
		assert_int_equal(fallocate(r.fd, 0, BYTES, 4096), -1);
		assert_int_equal(pwrite(r.fd, "x", 1, BYTES), -1);
		assert_int_equal(region_seal(&r), sealed ? -EPERM : 0);
	}
}

/* H35: the application unmaps what it has; the service's mapping stays what it was. */
static void h35_unmapping_elsewhere_changes_nothing_here(void **state)
{
	char *p = map(r.fd, PROT_READ | PROT_WRITE);

	assert_non_null(p);
	assert_int_equal(region_seal(&r), 0);
	p[100] = 'a';
	assert_int_equal(munmap(p, BYTES), 0);
	assert_int_equal(((char *)r.base)[100], 'a');
}

static void before_sealing_it_can_be_mapped_and_stays_so(void **state)
{
	char *p = map(r.fd, PROT_READ | PROT_WRITE);

	assert_non_null(p);
	assert_int_equal(region_seal(&r), 0);
	p[0] = 'x';
	((char *)r.base)[1] = 'y';
	assert_int_equal(((char *)r.base)[0], 'x');
	assert_int_equal(p[1], 'y');
	munmap(p, BYTES);
}

/* H36: each way to get at it for writing that the kernel has. */
static void h36_sealed_region_is_never_writable_again(void **state)
{
	char *p;
	int fd;

	assert_int_equal(region_seal(&r), 0);
	assert_null(map(r.fd, PROT_READ | PROT_WRITE));
	assert_null(map(r.fd, PROT_WRITE));
	assert_int_equal(write(r.fd, "x", 1), -1);
	assert_int_equal(pwrite(r.fd, "x", 1, 10), -1);
	assert_int_equal(fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
	fd = reopen(O_RDWR);
	if (fd >= 0) {
		assert_null(map(fd, PROT_READ | PROT_WRITE));
		assert_int_equal(write(fd, "x", 1), -1);
		close(fd);
	}
	fd = reopen(O_RDWR | O_TRUNC);
	if (fd >= 0)
		close(fd);
	p = map(r.fd, PROT_READ);
	assert_non_null(p);
	assert_int_equal(mprotect(p, BYTES, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(madvise(p, BYTES, MADV_REMOVE), -1);
	assert_int_equal(p[0], 0);
	munmap(p, BYTES);
	((char *)r.base)[5] = 1; /* its maker still can */
}

static void h36_seals_can_not_be_taken_off(void **state)
{
	int seals;

	assert_int_equal(region_seal(&r), 0);
	seals = fcntl(r.fd, F_GET_SEALS);
	assert_int_equal(fcntl(r.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(fcntl(r.fd, F_GET_SEALS), seals);
}

/* Who seals first, the application, keeps the service from nothing but attaching it. */
static void h35_region_that_its_holder_sealed_otherwise_is_refused(void **state)
{
	assert_int_equal(fcntl(r.fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(region_seal(&r), -EPERM);
}

/* A child has no part in it. */
static void mapping_is_not_inherited(void **state)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		unsigned char here;

		_exit(mincore(r.base, 4096, &here) == 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void impossible_size_is_an_error_and_leaves_nothing(void **state)
{
	struct region big;

	assert_true(region_create(&big, "big", 1ull << 62, PROT_READ) < 0);
	assert_null(big.base);
	region_destroy(&big);
}

/* A program brings the memory that it had from another service (H35). */
static void sealed_region_of_its_length_is_adopted(void **state)
{
	struct region a;

	assert_int_equal(region_seal(&r), 0);
	assert_int_equal(region_adopt(&a, r.fd, BYTES), 0);
	assert_int_not_equal(a.fd, r.fd);
	assert_int_equal(region_seal(&a), 0);
	((char *)r.base)[7] = 'x';
	assert_int_equal(((const char *)a.base)[7], 'x');
	region_destroy(&a);
}

static void adopt_fails(int fd, uint64_t bytes)
{
	struct region a;

	assert_true(region_adopt(&a, fd, bytes) < 0);
	assert_null(a.base);
	region_destroy(&a);
}

/* H35: anything that could be cut, or is no memory at all. */
static void h35_nothing_else_is_adopted(void **state)
{
	int fd[2];

	adopt_fails(-1, BYTES);
	adopt_fails(r.fd, BYTES); /* its length is sealed, and nothing else yet */
	assert_int_equal(region_seal(&r), 0);
	adopt_fails(r.fd, BYTES + 4096);
	adopt_fails(r.fd, BYTES - 4096);
	adopt_fails(r.fd, 0);
	assert_int_equal(pipe(fd), 0);
	adopt_fails(fd[0], BYTES);
	close(fd[0]);
	close(fd[1]);
	fd[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	adopt_fails(fd[0], BYTES);
	close(fd[0]);
	fd[0] = memfd_create("unsealed", MFD_ALLOW_SEALING | MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd[0], BYTES), 0);
	adopt_fails(fd[0], BYTES);
	assert_int_equal(fcntl(fd[0], F_ADD_SEALS, F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
			 0);
	adopt_fails(fd[0], BYTES); /* it can shrink */
	close(fd[0]);
}

/* ---- huge pages: the machine's, if there are any or may be ---- */

#define HUGE_TEST 4 /* of them */
#define NR_HUGE	  "/proc/sys/vm/nr_hugepages"

static long nr_huge(long set)
{
	FILE *f = fopen(NR_HUGE, set >= 0 ? "w" : "r");
	long n = -1;

	if (f == NULL)
		return -1;
	if (set >= 0)
		fprintf(f, "%ld", set);
	else if (fscanf(f, "%ld", &n) != 1)
		n = -1;
	fclose(f);
	return set >= 0 ? set : n;
}

static long huge_before;

static int setup_huge(void **state)
{
	huge_before = nr_huge(-1);
	nr_huge(huge_before + HUGE_TEST);
	return region_create_huge(&r, "huge", HUGE_TEST * REGION_HUGE_BYTES - 1,
				  PROT_READ | PROT_WRITE);
}

static int teardown_huge(void **state)
{
	region_destroy(&r);
	nr_huge(huge_before);
	return 0;
}

static int punch(unsigned i)
{
	return fallocate(r.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)(i * REGION_HUGE_BYTES), REGION_HUGE_BYTES);
}

/* Huge pages that this process takes; what it got. */
static unsigned take_all(void *at[], unsigned max)
{
	unsigned n = 0;

	while (n < max &&
	       (at[n] = mmap(NULL, REGION_HUGE_BYTES, PROT_READ,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0)) != MAP_FAILED)
		n++;
	return n;
}

static void give_all(void *at[], unsigned n)
{
	while (n > 0)
		munmap(at[--n], REGION_HUGE_BYTES);
}

#define WANT_HUGE()                                                                                \
	do {                                                                                       \
		if (!r.huge)                                                                       \
			skip(); /* there are none */                                               \
	} while (0)

static void huge_region_has_all_its_pages(void **state)
{
	struct stat st;

	WANT_HUGE();
	assert_int_equal(r.bytes, HUGE_TEST * REGION_HUGE_BYTES);
	assert_int_equal(fstat(r.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, r.bytes);
	for (unsigned i = 0; i < r.bytes; i += 4096)
		assert_int_equal(((char *)r.base)[i], 0);
}

/* H35: after sealing, with all ways that there are: the descriptor, a mapping of before. */
static void h35_huge_region_keeps_its_pages_once_sealed(void **state)
{
	struct stat st;
	char *p;

	WANT_HUGE();
	p = mmap(NULL, r.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, r.fd, 0);
	assert_true(p != MAP_FAILED);
	assert_int_equal(region_seal(&r), 0);
	assert_int_equal(punch(1), -1);
	assert_int_equal(madvise(p, r.bytes, MADV_REMOVE), -1);
	(void)madvise(p, r.bytes, MADV_DONTNEED);
	assert_int_equal(ftruncate(r.fd, 0), -1);
	assert_int_equal(fstat(r.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, r.bytes);
	p[REGION_HUGE_BYTES] = 'x';
	assert_int_equal(((char *)r.base)[REGION_HUGE_BYTES], 'x');
	munmap(p, r.bytes);
}

/* H35: a hole of before sealing is filled, or the region refused. */
static void h35_hole_in_a_huge_region_is_filled_when_it_is_sealed(void **state)
{
	struct stat st;

	WANT_HUGE();
	assert_int_equal(punch(2), 0);
	assert_int_equal(region_seal(&r), 0);
	assert_int_equal(fstat(r.fd, &st), 0);
	assert_int_equal(st.st_blocks * 512, r.bytes);
}

static void h35_hole_in_a_huge_region_that_can_not_be_filled_is_refused(void **state)
{
	static void *taken[4096];
	unsigned n;
	int rc;

	WANT_HUGE();
	assert_int_equal(punch(2), 0);
	n = take_all(taken, 4096);
	rc = region_seal(&r);
	give_all(taken, n);
	if (n == 4096)
		skip(); /* there is no end of them */
	assert_true(rc < 0);
}

/* Without enough there is ordinary memory. */
static void region_without_enough_huge_pages_is_ordinary(void **state)
{
	static void *taken[4096];
	unsigned n = take_all(taken, 4096);
	struct region small;
	int rc = region_create_huge(&small, "small", 2 * REGION_HUGE_BYTES, PROT_READ);

	give_all(taken, n);
	assert_int_equal(rc, 0);
	if (n < 4096)
		assert_false(small.huge);
	assert_int_equal(((const char *)small.base)[REGION_HUGE_BYTES], 0);
	region_destroy(&small);
}

/* H35: what the next service takes over has all its pages too. */
static void huge_region_is_adopted_when_it_has_all_its_pages(void **state)
{
	struct region a;
	int fd;

	WANT_HUGE();
	adopt_fails(r.fd, r.bytes); /* not sealed */
	assert_int_equal(region_seal(&r), 0);
	assert_int_equal(region_adopt(&a, r.fd, r.bytes), 0);
	assert_true(a.huge);
	((char *)r.base)[7] = 'x';
	assert_int_equal(((const char *)a.base)[7], 'x');
	region_destroy(&a);
	fd = memfd_create("holes", MFD_ALLOW_SEALING | MFD_CLOEXEC | MFD_HUGETLB);
	assert_int_equal(ftruncate(fd, REGION_HUGE_BYTES), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS,
			       F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL),
			 0);
	adopt_fails(fd, REGION_HUGE_BYTES);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define HUGE(f) cmocka_unit_test_setup_teardown(f, setup_huge, teardown_huge)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(region_is_of_whole_pages_and_zero),
		TEST(h35_length_never_changes),
		TEST(h35_unmapping_elsewhere_changes_nothing_here),
		TEST(before_sealing_it_can_be_mapped_and_stays_so),
		TEST(h36_sealed_region_is_never_writable_again),
		TEST(h36_seals_can_not_be_taken_off),
		TEST(h35_region_that_its_holder_sealed_otherwise_is_refused),
		TEST(mapping_is_not_inherited),
		TEST(sealed_region_of_its_length_is_adopted),
		TEST(h35_nothing_else_is_adopted),
		HUGE(huge_region_has_all_its_pages),
		HUGE(h35_huge_region_keeps_its_pages_once_sealed),
		HUGE(h35_hole_in_a_huge_region_is_filled_when_it_is_sealed),
		HUGE(h35_hole_in_a_huge_region_that_can_not_be_filled_is_refused),
		HUGE(huge_region_is_adopted_when_it_has_all_its_pages),
		cmocka_unit_test(region_without_enough_huge_pages_is_ordinary),
		cmocka_unit_test(impossible_size_is_an_error_and_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
