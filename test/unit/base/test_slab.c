/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/rand.h"
#include "base/slab.h"

static void random_use_never_gives_one_object_twice(void **state)
{
	enum { MAX = 100 };
	uint64_t owner[MAX] = {0}, serial = 0;
	struct slab s;
	struct rand r;
	uint32_t live = 0;

	rand_init(&r, 1);
	assert_int_equal(slab_init(&s, 20, MAX), 0);
	for (int n = 0; n < 50000; n++) {
		uint32_t i = (uint32_t)rand_below(&r, MAX);

		assert_int_equal(slab_is_live(&s, i), owner[i] != 0);
		if (owner[i] && rand_below(&r, 2)) {
			assert_true(*(uint64_t *)slab_at(&s, i) == owner[i]);
			assert_int_equal(slab_index(&s, slab_at(&s, i)), i);
			slab_free(&s, i);
			owner[i] = 0;
			live--;
		} else if ((i = slab_alloc(&s)) != SLAB_NONE) {
			assert_true(i < MAX && !owner[i]);
			*(uint64_t *)slab_at(&s, i) = owner[i] = ++serial;
			live++;
		} else {
			assert_int_equal(live, MAX);
		}
		assert_int_equal(s.live, live);
	}
	slab_fini(&s);
}

static void last_freed_is_given_first(void **state)
{
	struct slab s;

	assert_int_equal(slab_init(&s, 64, 8), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(slab_alloc(&s), i);
	slab_free(&s, 0);
	slab_free(&s, 2);
	assert_int_equal(slab_alloc(&s), 2);
	assert_int_equal(slab_alloc(&s), 0);
	assert_int_equal(slab_alloc(&s), 3);
	assert_int_equal((uintptr_t)slab_at(&s, 3) % 64, 0);
	slab_fini(&s);
}

static void full_slab_gives_none_until_one_is_freed(void **state)
{
	struct slab s;

	assert_int_equal(slab_init(&s, 8, 2), 0);
	slab_alloc(&s);
	slab_alloc(&s);
	assert_int_equal(slab_alloc(&s), SLAB_NONE);
	slab_free(&s, 1);
	assert_int_equal(slab_alloc(&s), 1);
	assert_int_equal(slab_alloc(&s), SLAB_NONE);
	slab_fini(&s);
}

/* 40 GB of address space must cost nothing before it is used. */
static void huge_limit_is_only_reserved(void **state)
{
	struct slab s;

	assert_int_equal(slab_init(&s, 4096, 10000000), 0);
	assert_int_equal(slab_alloc(&s), 0);
	*(char *)slab_at(&s, 9999999) = 1;
	slab_fini(&s);
}

static void impossible_sizes_are_refused(void **state)
{
	struct slab s;

	assert_int_equal(slab_init(&s, 0, 8), -EINVAL);
	assert_int_equal(slab_init(&s, 8, 0), -EINVAL);
	assert_int_equal(slab_init(&s, 8, SLAB_MAX + 1), -EINVAL);
	assert_int_equal(slab_init(&s, SIZE_MAX, 1), -EINVAL);
	assert_int_equal(slab_init(&s, SIZE_MAX / 2, 8), -EINVAL);
	assert_int_equal(slab_init(&s, 1ULL << 60, 1), -ENOMEM);
	slab_fini(&s);
}

/* H32: a name from an application is asked about before it is used. */
static void any_number_may_be_asked_whether_it_is_live(void **state)
{
	struct slab s;

	assert_int_equal(slab_init(&s, 8, 2), 0);
	assert_int_equal(slab_alloc(&s), 0);
	assert_true(slab_is_live(&s, 0));
	for (uint32_t bit = 1; bit; bit <<= 1)
		assert_false(slab_is_live(&s, bit) || slab_is_live(&s, UINT32_MAX - bit));
	assert_false(slab_is_live(&s, SLAB_NONE));
	slab_fini(&s);
}

static void double_free_asserts(void **state)
{
#ifdef ZS_DEBUG
	struct slab s;
	int status;

	assert_int_equal(slab_init(&s, 8, 2), 0);
	uint32_t i = slab_alloc(&s);

	slab_free(&s, i);
	pid_t child = fork();

	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		close(2);
		slab_free(&s, i);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	slab_fini(&s);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_use_never_gives_one_object_twice),
		cmocka_unit_test(last_freed_is_given_first),
		cmocka_unit_test(full_slab_gives_none_until_one_is_freed),
		cmocka_unit_test(huge_limit_is_only_reserved),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(any_number_may_be_asked_whether_it_is_live),
		cmocka_unit_test(double_free_asserts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
