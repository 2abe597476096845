/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Two run-time assertions (the third kind is _Static_assert). Neither is ever used on anything that
 * a peer, an application or a shared ring can cause: that is an error path with a counter and a
 * test.
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

/* `cold` and `noinline` themselves stay free: headers of others use them inside __attribute__. */
#define must_check __attribute__((warn_unused_result))
#define slow_path  __attribute__((__noinline__))
#define cold_path  __attribute__((__cold__, __noinline__))

/* DPDK's headers define these too, in either order. */
#ifndef likely
#define likely(x) __builtin_expect(!!(x), 1)
#endif
#ifndef unlikely
#define unlikely(x) __builtin_expect(!!(x), 0)
#endif
#ifndef container_of
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#endif
#define array_size(a) (sizeof(a) / sizeof((a)[0]))

#endif
