/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What hostile programs do, whatever a target is about: see fuzz_service.h.
 */
#define _GNU_SOURCE
#include "fuzz_service.h"

#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

void say_hello(struct peer *p, struct choices *c)
{
	struct attach_hello h = {.arena_bytes = (uint64_t)choose8(c) << choose8(c) % 40,
				 .max_sockets = choose8(c),
				 .max_loans = choose8(c),
				 .max_tokens = choose8(c)};
	struct peer *from = &evil[choose8(c) % EVIL_MAX];
	uint8_t how = choose8(c);
	int fd = -1;

	choose_bytes(c, h.program, how % sizeof(h.program));
	if (how & 1) { /* memory that it brings: its own of before, or none that could be taken */
		fd = how & 2 && from->arena_fd >= 0 ? dup(from->arena_fd)
						    : memfd_create("x", MFD_ALLOW_SEALING);
		if (how & 4)
			h.arena_bytes = from->map.arena_bytes;
	}
	say(p, ATTACH_HELLO, &h, sizeof(h), &fd, fd >= 0);
	if (fd >= 0)
		close(fd);
}

void say_anything(struct peer *p, struct choices *c)
{
	char raw[600] = {0};
	struct attach_head head = {ATTACH_MAGIC, ATTACH_VERSION, choose8(c)};
	size_t len = 1 + choose16(c) % (sizeof(raw) - 1); /* an empty one looks like the end */
	struct iovec v = {raw, len};
	union {
		char buf[CMSG_SPACE(80 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	unsigned n = choose8(c) % 81;
	uint8_t how = choose8(c);

	if (how & 1)
		head.version = how;
	choose_bytes(c, raw, 64);
	if (how & 6)
		memcpy(raw, &head, sizeof(head));
	if (n > 0 && (how & 8)) {
		struct cmsghdr *m;

		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(n * sizeof(int));
		m = CMSG_FIRSTHDR(&h);
		m->cmsg_level = SOL_SOCKET;
		m->cmsg_type = SCM_RIGHTS;
		m->cmsg_len = CMSG_LEN(n * sizeof(int));
		for (unsigned i = 0; i < n; i++)
			memcpy(CMSG_DATA(m) + i * sizeof(int), &p->sock, sizeof(int));
	}
	if (p->sock >= 0)
		(void)!sendmsg(p->sock, &h, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void scribble(struct peer *p, struct choices *c)
{
	uint32_t at, n = choose8(c);
	uint8_t bytes[256];

	if (p->map.base == NULL)
		return;
	n = choose_bytes(c, bytes, n);
	/* Mostly where the header and the indices are. */
	at = choose8(c) & 1 ? choose32(c) : choose16(c) % 1024;
	if (n == 0 || at % p->rings_bytes + n > p->rings_bytes)
		return;
	memcpy((char *)p->map.base + at % p->rings_bytes, bytes, n);
}

/* As the service gives names: from the first on, with the next generation when one is used again.
 */
uint32_t choose_sid(struct choices *c)
{
	uint8_t i = choose8(c);

	return (uint32_t)(1 + i / 16 % 4) << SID_INDEX_BITS | i % 16;
}

void command(struct peer *p, struct choices *c)
{
	struct ip_addr self = ip_addr_v4(be32(0x0a000001));
	struct chan_sqe q = {.op = choose8(c) % (CHAN_OP_MAX + 1), .flags = choose8(c)};

	q.sid = choose_sid(c);
	q.ticket = choose8(c) % 8;
	q.token = choose8(c);
	q.len = choose16(c);
	q.off = choose32(c);
	if (choose8(c) % 8 == 0)
		q.off |= (uint64_t)(choose8(c) & 1 ? honest.app : evil[choose8(c) % EVIL_MAX].app)
			 << 32;
	q.loan = choose32(c);
	q.port = choose8(c) & 1 ? UDP_PORT : choose16(c);
	if (q.op == CHAN_OP_SOCKET) {
		q.arg[0] = AF_INET;
		q.arg[1] = choose8(c) & 1 ? SOCK_DGRAM : SOCK_STREAM;
	} else if (choose8(c) & 1) {
		memcpy(q.addr, &self, sizeof(self));
	} else {
		q.arg[0] = (int32_t)choose8(c);
		q.arg[1] = (int32_t)choose8(c);
	}
	push(p, &q);
}
