/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A datagram to an address of this host that nobody wants: Linux knows of it before the send
 * returns, so the next call on the socket says ECONNREFUSED, and programs count on that. So a
 * socket that is told of such errors, since it has a peer or IP_RECVERR, waits for the stack to
 * have had its datagram: the first to an address, and after that one now and then, since who was
 * there is mostly still there, and a stream of datagrams must not wait for each.
 *
 * That a datagram to all needs SO_BROADCAST is known to the stack, too: the first of a socket to
 * such an address waits for it.
 */
#include <string.h>

#include "client/client_priv.h"

#define HEARD_NS 10000000

/* Whom the last datagram waited for, of any socket of this process. */
static struct {
	uint8_t addr[16];
	uint16_t port;
	int64_t at_ns; /* 0: nobody */
} heard;

/* Who was last allowed to send to a broadcast address. */
static struct {
	const struct csock *s;
	uint32_t serial;
	uint8_t addr[16];
} broadcaster;

static bool heard_of(const uint8_t to[16], uint16_t port)
{
	return heard.at_ns != 0 && heard.port == port && memcmp(heard.addr, to, 16) == 0 &&
	       now_ns() - heard.at_ns < HEARD_NS;
}

/* The stack has had the datagram: what it says of it, which is the socket's error no more if it is
 * this call's. */
static int wait_for_stack(struct csock *s)
{
	struct chan_sqe cmd = {.op = CHAN_OP_NOP};
	uint32_t serial = s->serial;
	struct chan_cqe e;

	if (cmd_call(csock_core(s), NULL, &cmd, &e) < 0 || s->serial != serial)
		return 0;
	return s->err;
}

int refused_broadcast(struct csock *s, const uint8_t to[16])
{
	int err;

	/* The last socket that was allowed to has been asked. */
	if (broadcaster.serial == s->serial && broadcaster.s == s &&
	    memcmp(broadcaster.addr, to, 16) == 0)
		return 0;
	err = wait_for_stack(s);
	if (err == -EACCES) {
		s->err = 0;
		return err;
	}
	if (err == 0) {
		broadcaster.s = s;
		broadcaster.serial = s->serial;
		memcpy(broadcaster.addr, to, 16);
	}
	return 0;
}

int refused_look(struct csock *s, const uint8_t to[16], uint16_t port)
{
	uint32_t serial = s->serial;
	int err;

	if (heard_of(to, port) || !address_is_here(to))
		return 0;
	err = wait_for_stack(s);
	if (s->serial != serial)
		return 0;
	if (err == 0) {
		memcpy(heard.addr, to, sizeof(heard.addr));
		heard.port = port;
		heard.at_ns = now_ns();
	} else {
		heard.at_ns = 0;
	}
	/* What is wrong with the datagram itself is this call's error. */
	if (err == 0 || err == -ECONNREFUSED)
		return 0;
	s->err = 0;
	return err;
}
