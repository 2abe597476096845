/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See supervise.h.
 */
#include <netinet/in.h>

#include "preload/supervise.h"
#include "preload/whose.h"

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int zstack_supervise_whose(const struct supervise_ask *a);
EXPORTED int zstack_supervise_take(int fd);

/* Not served. */
static int udp(struct wish *w)
{
	if (whose(w) > WHOSE_KERNEL)
		whose_unserved(w);
	return SUPERVISE_KERNEL;
}

static int ask(const struct supervise_ask *a)
{
	struct wish w;
	int r;

	if (!wish_from(&w, a->fd, a->verb, a->addr, a->len))
		return SUPERVISE_KERNEL;
	w.c.connect = a->connect;
	w.fd = a->number;
	w.pid = a->pid;
	if (w.c.udp)
		return udp(&w);
	r = whose_done(&w, whose_told(&w));
	if (r < 0)
		return r;
	return (r != WHOSE_KERNEL ? SUPERVISE_OURS : 0) | (r != WHOSE_OURS ? SUPERVISE_KERNEL : 0) |
	       (r == WHOSE_BOTH && host_is_shared() ? SUPERVISE_SHARED : 0);
}

int zstack_supervise_whose(const struct supervise_ask *a)
{
	long r;

	CALL_ONCE(r, ask(a));
	return (int)r;
}

int zstack_supervise_take(int fd)
{
	long r;

	CALL_ONCE(r, decide_ours(fd));
	return (int)r;
}
