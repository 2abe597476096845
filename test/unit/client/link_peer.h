/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Another program, and the service that hands over a link to it, played by the test.
 */
#ifndef ZS_TEST_CLIENT_LINK_PEER_H
#define ZS_TEST_CLIENT_LINK_PEER_H

#include "fake.h"

#include <sys/mman.h>

#include "chan/attach.h"
#include "client/link.h"

/* No test needs all of these helpers. */
#pragma GCC diagnostic ignored "-Wunused-function"

#define core0	(&fake.core[0])
#define ARENA	(1u << 20)
#define OTHER	7u /* number of the other program */
#define LINK_ID 3u

static struct link_shm *sh;
static struct link_end far; /* the other program's end */
static uint8_t *far_arena;
static int control; /* the service's end of the control connection */
static uint32_t sid;
static int fd;
static char buf[70000];

static int memory(size_t bytes, void *at)
{
	int m = memfd_create("test", MFD_CLOEXEC);

	assert_true(m >= 0 && ftruncate(m, (off_t)bytes) == 0);
	*(void **)at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0);
	assert_ptr_not_equal(*(void **)at, MAP_FAILED);
	return m;
}

static void next_message(enum attach_type type)
{
	struct attach_msg m;

	assert_int_equal(attach_recv(control, &m, MSG_DONTWAIT), 0);
	assert_int_equal(m.head.type, type);
	assert_int_equal(m.linked.id, LINK_ID);
	assert_int_equal(m.linked.res, 0);
}

/* The service hands a link over. */
static void link_comes(void)
{
	struct attach_msg m = {.link = {.head.type = ATTACH_LINK,
					.id = LINK_ID,
					.side = 1,
					.app = OTHER,
					.n_cores = 1,
					.bytes = sizeof(*sh),
					.arena_bytes = ARENA},
			       .n_fds = 4};
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	client.transport.service.sock = pair[0];
	client.transport.service.app = 1;
	control = pair[1];
	m.fd[0] = memory(sizeof(*sh), &sh);
	link_format(sh);
	sh->secret = 5;
	sh->secret2 = 6;
	assert_int_equal(link_attach(&far, sh, 0), 0);
	m.fd[1] = bell_open();
	m.fd[2] = bell_open();
	m.fd[3] = memory(ARENA, &far_arena);
	assert_true(links_message(&m));
	attach_close_fds(&m);
	next_message(ATTACH_LINKED);
}

static void say(enum chan_ev ev, uint32_t link, uint64_t off)
{
	struct chan_cqe e = {.ev = (uint8_t)ev, .sid = sid, .aux = link, .off = off};

	fake_event(core0, &e);
	zs_process(0);
}

static void entry(const struct lsock *name_of, const char *text)
{
	struct link_entry *q = link_slot(&far);

	*q = (struct link_entry){.to = (uint32_t)(name_of - client.links->sock),
				 .gen = name_of->gen,
				 .token = 5,
				 .len = (uint32_t)strlen(text)};
	q->flags = q->len == 0 ? LINK_EMPTY : 0;
	memcpy(q->data, text, q->len);
	link_push(&far, q->len);
}

static struct lsock *own(void)
{
	int err;

	return lsock_of(fd_csock(fd, &err));
}

static int teardown(void **state)
{
	struct core *c = &client.core[0];

	/* Whatever happened, nothing is left of it. */
	zs_close(fd);
	for (unsigned i = 0; i < client.links->n; i++)
		if (client.links->link[i].state != LINK_FREE)
			link_end(&client.links->link[i], true);
	zs_process(0);
	for (unsigned i = 0; i < client.links->n; i++)
		assert_int_equal(client.links->link[i].state, LINK_FREE);
	assert_int_equal(c->tokens_left, c->max_tokens);
	fake_teardown(state);
	close(control);
	munmap(sh, sizeof(*sh));
	munmap(far_arena, ARENA);
	return 0;
}

#endif
