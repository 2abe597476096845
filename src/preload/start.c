/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack is attached to when it is first needed, not when the program starts: most programs that
 * inherit LD_PRELOAD (shells, helpers) never use a socket that is ours.
 *
 * What the environment says is in run.h.
 *
 * A service that can't be reached is reported once on stderr; calls that need it say ENETDOWN, and
 * each second one of them tries again. Where memory or descriptors were missing they say that, and
 * each of them tries, as the program may have made room.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "preload/handover.h"
#include "preload/preload.h"

#define RETRY_NS 1000000000ll

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool running;
static _Atomic bool forked; /* this is a child that has not made a socket yet */
static bool told;
static int64_t failed_ns;
static int failed; /* why, as room_error() */

void say(const char *fmt, ...)
{
	char text[600] = "zstack: ";
	size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, sizeof(text) - n - 1, fmt, ap);
	va_end(ap);
	strcat(text, "\n");
	(void)!real.write(STDERR_FILENO, text, strlen(text));
}

/* ---- the rules ---- */

static struct rules rules;
static pthread_once_t rules_once = PTHREAD_ONCE_INIT;

/* Not in a constructor: ours run before the C library has its environment (real.c). */
static void rules_read(void)
{
	if (rules_parse(&rules, run_env(RUN_ENV)) < 0)
		say("no memory for the rules");
	if (rules.bad > 0 && rules.verbose)
		say("%u rules in %s make no sense, and are skipped", rules.bad, RUN_ENV);
}

const struct rules *run_rules(void)
{
	pthread_once(&rules_once, rules_read);
	return &rules;
}

/* ---- the stack ---- */

/* fork: a thread that is in the middle of a change finishes it first; the child has the locks free.
 * Registered behind the client's own, so that its lock is taken after ours. */
static void child(void)
{
	number_unlock_child();
	fd_unlock_child();
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	/* The service may have refused it, and the stack of a program is its parent's. */
	if (zs_fcntl(-1, F_GETFL) == -ENXIO)
		atomic_store(&running, false);
	atomic_store(&forked, true);
}

/* A child of fork attaches when it first needs to, and may find that it can't. */
static void settle(void)
{
	enter();
	atomic_store(&forked, false);
	if (!host_settle())
		atomic_store(&running, false);
	leave(0);
}

static void fork_watch(void)
{
	static bool done;

	if (!done)
		pthread_atfork(number_lock, number_unlock, child);
	done = true;
}

/* Are ports named? Then the stack is loaded, and ends with the program. */
bool start_embedded(void)
{
	const char *at = getenv(RUN_ENV_CONFIG);

	while (at != NULL && *at != '\0') {
		if (strncmp(at, "vdev=", 5) == 0 || strncmp(at, "port=", 5) == 0)
			return true;
		at += strcspn(at, ";");
		at += *at == ';';
	}
	return false;
}

static bool stops;

/* The last of all destructors, but the C library's streams are still to be flushed then. A service
 * sees the end of the process, and closes its sockets as the kernel does: nothing is to be done. */
__attribute__((destructor)) static void stop(void)
{
	if (!stops)
		return;
	fflush(NULL);
	zs_stop();
}

bool lacks_room(int r)
{
	return r == -ENOBUFS || r == -ENOMEM || r == -ENFILE || r == -EMFILE;
}

int room_error(int r)
{
	if (lacks_room(r))
		return r == -ENOMEM ? -ENOMEM : -ENOBUFS;
	return r < 0 ? -ENETDOWN : r;
}

static const char *error_name(int r)
{
	return r == -ENOMEM ? "ENOMEM" : r == -ENOBUFS ? "ENOBUFS" : "ENETDOWN";
}

/* needed: else it is tried in advance, and nobody is told of what may never matter. */
static int start_now(bool needed)
{
	struct zs_config *c = zs_config_new();
	int r;

	fd_host();
	/* Descriptors of its own, while the program has all that it may have. */
	limit_widen();
	r = zs_start(c);
	limit_narrow();
	if (r == 0)
		fork_watch();
	stops = r == 0 && start_embedded();

	if (r < 0 && !told && needed)
		say("%s; its sockets get %s until that works",
		    c != NULL ? zs_config_error(c) : strerror(-r), error_name(room_error(r)));
	told = r < 0 && (told || needed);
	zs_config_free(c);
	return r;
}

void start_adopted(void)
{
	fork_watch();
	atomic_store_explicit(&running, true, memory_order_release);
}

bool started(void)
{
	return atomic_load_explicit(&running, memory_order_acquire);
}

static int start(bool needed)
{
	int64_t now;
	int r;

	enter();
	pthread_mutex_lock(&lock);
	now = mono_ns();
	if (!started() && (failed_ns == 0 || lacks_room(failed) || now - failed_ns >= RETRY_NS)) {
		failed = room_error(start_now(needed));
		failed_ns = failed < 0 && needed ? now : 0;
		atomic_store_explicit(&running, failed == 0, memory_order_release);
	}
	r = started() ? 0 : failed;
	pthread_mutex_unlock(&lock);
	leave(0);
	return r;
}

int start_need(void)
{
	if (likely(started()) && unlikely(atomic_load_explicit(&forked, memory_order_relaxed)))
		settle();
	return likely(started()) ? 0 : start(true);
}

void start_early(void)
{
	if (!started() && !start_embedded())
		(void)!start(false);
}
