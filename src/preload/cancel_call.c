/* SPDX-License-Identifier: BSD-3-Clause
 *
 * pthread_cancel. Nothing inside the library is a cancellation point: a thread that ended there
 * would take locks along (real.c makes the client's system calls by hand for that). It ends when it
 * leaves a hook. So that it does leave, a thread that is cancelled is nudged by a signal that
 * nobody uses; from then on each of its calls looks.
 *
 * Not done: asynchronous cancellation (PTHREAD_CANCEL_ASYNCHRONOUS) inside the library.
 */
#include "preload/preload.h"

bool cancel_enabled(void)
{
	int state, none;

	if (pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) != 0)
		return false;
	pthread_setcancelstate(state, &none);
	return state == PTHREAD_CANCEL_ENABLE;
}

void cancel_look(void)
{
	pthread_testcancel();
	/* It goes on all the same: it is already about to end, and this is its cleanup. */
	if (cancel_enabled())
		atomic_fetch_and(&inside.pending, (uint8_t)~INSIDE_CANCEL);
}

static void nudged(int sig)
{
	(void)sig;
	atomic_fetch_or(&inside.pending, INSIDE_CANCEL);
	if (inside.depth > 0)
		host_interrupt();
}

/* The highest that has no handler. The program may install one later: then there is another. */
static int nudge_choose(void)
{
	struct sigaction a = {.sa_handler = nudged, .sa_flags = SA_RESTART}, now;

	for (int sig = SIGRTMAX; sig >= SIGRTMIN; sig--) {
		if (real.sigaction(sig, NULL, &now) != 0)
			continue;
		if (now.sa_handler == nudged)
			return sig;
		if (now.sa_handler == SIG_DFL && real.sigaction(sig, &a, NULL) == 0)
			return sig;
	}
	return 0;
}

int pthread_cancel(pthread_t thread)
{
	int r = real.pthread_cancel(thread), nudge;

	if (r != 0 || !started())
		return r;
	nudge = nudge_choose();
	if (nudge != 0)
		(void)pthread_kill(thread, nudge);
	return 0;
}
