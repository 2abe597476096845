/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See pass.h: ends that the service made before there was anything to pass (ENDS, attach.h). They
 * are asked for one, then two, … at once, so that who passes one socket now and then has few in
 * store. All under the client's lock.
 */
#define _GNU_SOURCE
#include <sys/socket.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/pass.h"
#include "client/client_priv.h"

static struct {
	int fd[ATTACH_ENDS_MAX];
	struct fd_id id[ATTACH_ENDS_MAX]; /* the program may have closed it */
	uint64_t name[ATTACH_ENDS_MAX];
	unsigned n;
	unsigned batch; /* so many were had at once last */
	uint16_t epoch; /* of the service that made them */
} ends;

static void put(unsigned i)
{
	if (fd_is(ends.fd[i], &ends.id[i]))
		close(ends.fd[i]);
}

void ends_drop(void)
{
	while (ends.n > 0)
		put(--ends.n);
}

static int store(struct attach_msg *m)
{
	unsigned n = m->ends.n;

	if (n == 0 || n > ATTACH_ENDS_MAX || n != m->n_fds)
		return -EPROTO;
	for (unsigned i = 0; i < n; i++) {
		ends.fd[i] = fd_take(m, i);
		ends.id[i] = fd_which(ends.fd[i]);
		ends.name[i] = m->ends.name[i];
	}
	ends.n = ends.batch = n;
	ends.epoch = client.epoch;
	return 0;
}

static int more(void)
{
	struct attach_ends want = {.n = 2 * ends.batch};
	struct attach_msg m;
	int rc;

	if (want.n == 0 || want.n > ATTACH_ENDS_MAX)
		want.n = want.n == 0 ? 1 : ATTACH_ENDS_MAX;
	rc = pass_ask(ATTACH_ENDS, &want, sizeof(want), NULL, ATTACH_ENDS_ARE, &m);
	if (rc < 0)
		return rc;
	rc = store(&m);
	attach_close_fds(&m);
	return rc;
}

int end_take(uint64_t *name)
{
	if (ends.epoch != client.epoch)
		ends_drop();
	for (;;) {
		int rc = ends.n == 0 ? more() : 0;

		if (rc < 0)
			return rc;
		*name = ends.name[--ends.n];
		if (fd_is(ends.fd[ends.n], &ends.id[ends.n]))
			return ends.fd[ends.n];
	}
}

uint64_t end_name(int fd)
{
	socklen_t len = sizeof(uint64_t);
	uint64_t name = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &name, &len) != 0 ||
	    len != sizeof(name) || name == UINT64_MAX)
		return 0;
	return name;
}
