/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack is attached to when it is first needed, not when the program starts: most programs that
 * inherit LD_PRELOAD (shells, helpers) never use a socket that is ours.
 *
 * What the environment says is in run.h.
 *
 * A service that can't be reached is reported once on stderr; calls that need it say ENETDOWN, and
 * each second one of them tries again.
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

static int start_now(void)
{
	struct zs_config *c = zs_config_new();
	int r;

	fd_host();
	r = zs_start(c);
	if (r == 0)
		fork_watch();
	stops = r == 0 && start_embedded();

	if (r < 0 && !told)
		say("%s; its sockets get ENETDOWN until that works",
		    c != NULL ? zs_config_error(c) : strerror(-r));
	told = r < 0;
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

int start_need(void)
{
	int64_t now;

	if (likely(started()) && unlikely(atomic_load_explicit(&forked, memory_order_relaxed)))
		settle();
	if (likely(started()))
		return 0;
	enter();
	pthread_mutex_lock(&lock);
	now = mono_ns();
	if (!started() && (failed_ns == 0 || now - failed_ns >= RETRY_NS)) {
		failed_ns = start_now() < 0 ? now : 0;
		atomic_store_explicit(&running, failed_ns == 0, memory_order_release);
	}
	pthread_mutex_unlock(&lock);
	leave(0);
	return started() ? 0 : -ENETDOWN;
}
