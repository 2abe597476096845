/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two run-time assertions (the third kind is _Static_assert). Neither is ever used on anything that
 * a peer, an application or a shared ring can cause: that is an error path with a counter and a test.
 */
#ifndef ZS_BASE_ASSERT_H
#define ZS_BASE_ASSERT_H

/* Reports on standard error and aborts. Not inline, so that the cold path is a call. */
_Noreturn void assert_fail(const char *what, const char *file, int line) __attribute__((cold));

/* An invariant of our own code: debug, test and fuzz builds only. */
#ifdef ZS_DEBUG
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			assert_fail(#cond, __FILE__, __LINE__);                                    \
	} while (0)
#else
#define ASSERT(cond)                                                                               \
	do {                                                                                       \
		(void)sizeof(cond);                                                                \
	} while (0)
#endif

/* A bug that must not go on, on control paths: every build. */
#define BUG_ON(cond)                                                                               \
	do {                                                                                       \
		if (__builtin_expect(!!(cond), 0))                                                 \
			assert_fail(#cond, __FILE__, __LINE__);                                    \
	} while (0)

#define must_check  __attribute__((warn_unused_result))
#define noinline    __attribute__((noinline))
#define cold        __attribute__((cold, noinline))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define array_size(a)                   (sizeof(a) / sizeof((a)[0]))

#endif
