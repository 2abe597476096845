/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How many sockets went where, and why: counted in memory that the service can read, where `zstack
 * apps` looks. A program that never needs the stack tells nobody.
 */
#include <pthread.h>

#include "preload/preload.h"

/* A child counts its own, also when there is no stack that would see to it. */
static void watch_fork(void)
{
	pthread_atfork(NULL, NULL, host_count_none);
}

void count_socket(enum chan_told where)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	enter();
	pthread_once(&once, watch_fork);
	host_count(where);
	leave(0);
}
