/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Messages of the control connection, sent and received over a socket pair: the good ones, and what
 * a hostile side may send instead (H32, H37). No descriptor may stay behind.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "chan/attach.h"

static int pair[2];
static unsigned before;

static unsigned descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	before = descriptors();
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static int teardown(void **state)
{
	close(pair[0]);
	close(pair[1]);
	assert_int_equal(descriptors(), before);
	return 0;
}

/* Any bytes with any number of descriptors. */
static void send_raw(const void *bytes, size_t len, unsigned n_fds)
{
	union {
		char buf[CMSG_SPACE(253 * sizeof(int))];
		struct cmsghdr align;
	} control = {0};
	struct iovec v = {(void *)(uintptr_t)bytes, len};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};

	if (n_fds > 0) {
		struct cmsghdr *c;

		h.msg_control = control.buf;
		h.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		for (unsigned i = 0; i < n_fds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &pair[0], sizeof(int));
	}
	assert_int_equal(sendmsg(pair[0], &h, 0), len);
}

static int receive(struct attach_msg *m)
{
	return attach_recv(pair[1], m, MSG_DONTWAIT);
}

static void message_with_descriptors_arrives_whole(void **state)
{
	struct attach_welcome w = {.n_cores = 16, .pkt_bytes = 1, .arena_bytes = 2};
	struct attach_msg m;
	int fd[ATTACH_FDS_MAX];

	for (unsigned i = 0; i < ATTACH_FDS_MAX; i++)
		fd[i] = pair[0];
	assert_int_equal(attach_send(pair[0], ATTACH_WELCOME, &w, sizeof(w), fd, ATTACH_FDS_MAX),
			 0);
	assert_int_equal(receive(&m), 0);
	assert_int_equal(m.head.type, ATTACH_WELCOME);
	assert_int_equal(m.len, sizeof(w));
	assert_int_equal(m.welcome.n_cores, 16);
	assert_int_equal(m.n_fds, ATTACH_FDS_MAX);
	assert_true(fcntl(m.fd[0], F_GETFD) & FD_CLOEXEC);
	assert_false(m.has_cred);
	attach_close_fds(&m);
	assert_int_equal(m.n_fds, 0);
}

static void credentials_are_the_kernels(void **state)
{
	struct attach_grant g = {.id = 7, .port = 80};
	struct attach_msg m;
	int one = 1;

	assert_int_equal(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	assert_int_equal(attach_send(pair[0], ATTACH_GRANT, &g, sizeof(g), NULL, 0), 0);
	assert_int_equal(receive(&m), 0);
	assert_true(m.has_cred);
	assert_int_equal(m.cred.uid, getuid());
	assert_int_equal(m.cred.pid, getpid());
}

/* Every type, cut at every length. */
static void h32_message_shorter_than_its_type_is_refused(void **state)
{
	static const size_t least[] = {
		[ATTACH_HELLO] = sizeof(struct attach_hello),
		[ATTACH_WELCOME] = sizeof(struct attach_welcome),
		[ATTACH_REFUSED] = sizeof(struct attach_refused),
		[ATTACH_MAPPED] = sizeof(struct attach_head),
		[ATTACH_READY] = sizeof(struct attach_head),
		[ATTACH_GRANT] = sizeof(struct attach_grant),
		[ATTACH_GRANTED] = sizeof(struct attach_granted),
		[ATTACH_BYE] = sizeof(struct attach_head),
	};
	union {
		struct attach_head head;
		char bytes[ATTACH_MSG_MAX];
	} raw = {.head = {ATTACH_MAGIC, ATTACH_VERSION, 0}};
	struct attach_msg m;

	for (unsigned type = ATTACH_HELLO; type <= ATTACH_BYE; type++) {
		raw.head.type = (uint16_t)type;
		for (size_t len = 1; len <= least[type]; len++) {
			send_raw(&raw, len, 1);
			assert_int_equal(receive(&m), len < least[type] ? -EPROTO : 0);
			attach_close_fds(&m);
		}
	}
}

static void h32_message_longer_than_any_is_refused(void **state)
{
	static char big[4096];
	struct attach_head head = {ATTACH_MAGIC, ATTACH_VERSION, ATTACH_BYE};
	struct attach_msg m;

	memcpy(big, &head, sizeof(head));
	send_raw(big, sizeof(big), 2);
	assert_int_equal(receive(&m), -EPROTO);
	send_raw(big, ATTACH_MSG_MAX, 0);
	assert_int_equal(receive(&m), -EPROTO);
	send_raw(big, ATTACH_MSG_MAX - 1, 0);
	assert_int_equal(receive(&m), 0);
}

static void h32_wrong_magic_version_and_type_are_told_apart(void **state)
{
	struct attach_head head = {ATTACH_MAGIC ^ 1, ATTACH_VERSION, ATTACH_BYE};
	struct attach_msg m;

	send_raw(&head, sizeof(head), 1);
	assert_int_equal(receive(&m), -EPROTO);
	head.magic = ATTACH_MAGIC;
	head.version = 99;
	send_raw(&head, sizeof(head), 1);
	assert_int_equal(receive(&m), -EPROTONOSUPPORT);
	assert_int_equal(m.head.version, 99);
	head.version = ATTACH_VERSION;
	for (unsigned type = 0; type < 70000; type += type < 20 ? 1 : 4099) {
		head.type = (uint16_t)type;
		if (head.type >= ATTACH_HELLO && head.type <= ATTACH_RESUME)
			continue;
		send_raw(&head, sizeof(head), 1);
		assert_int_equal(receive(&m), -EPROTO);
	}
}

/* Of more descriptors than a message may have, none stays open and nothing is written past the
 * table, whatever the kernel lets through. */
static void h32_too_many_descriptors_are_closed(void **state)
{
	struct attach_head head = {ATTACH_MAGIC, ATTACH_VERSION, ATTACH_BYE};
	struct attach_msg m;
	int one = 1;

	for (int cred = 0; cred < 2; cred++) {
		for (unsigned n = ATTACH_FDS_MAX - 1; n < ATTACH_FDS_MAX + 20; n++) {
			send_raw(&head, sizeof(head), n);
			if (receive(&m) == 0)
				assert_in_range(m.n_fds, 1, ATTACH_FDS_MAX);
			attach_close_fds(&m);
		}
		setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
	}
}

static void end_and_emptiness_are_told_apart_from_messages(void **state)
{
	struct attach_msg m;

	assert_int_equal(receive(&m), -EAGAIN);
	shutdown(pair[0], SHUT_WR);
	assert_int_equal(receive(&m), -ECONNRESET);
}

/* H34: a side that never reads makes the other's send fail, not wait. */
static void h34_receiver_that_never_reads_does_not_block_the_sender(void **state)
{
	struct attach_head head;
	unsigned n = 0;
	int rc;

	while ((rc = attach_send(pair[0], ATTACH_READY, &head, sizeof(head), NULL, 0)) == 0)
		assert_true(++n < 1000000);
	assert_int_equal(rc, -EAGAIN);
}

static void sending_to_who_is_gone_is_an_error_and_no_signal(void **state)
{
	struct attach_head head;

	shutdown(pair[1], SHUT_RDWR);
	assert_int_equal(attach_send(pair[0], ATTACH_READY, &head, sizeof(head), NULL, 0), -EPIPE);
}

static void address_is_a_path_or_an_abstract_name(void **state)
{
	struct sockaddr_un at;
	char longest[sizeof(at.sun_path) + 1];
	socklen_t len;

	assert_int_equal(attach_address("/run/x", &at, &len), 0);
	assert_string_equal(at.sun_path, "/run/x");
	assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 7);
	assert_int_equal(attach_address("@x", &at, &len), 0);
	assert_memory_equal(at.sun_path, "\0x", 2);
	assert_int_equal(len, offsetof(struct sockaddr_un, sun_path) + 2);
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(at.sun_path)] = '\0';
	assert_int_equal(attach_address(longest, &at, &len), -ENAMETOOLONG);
	longest[sizeof(at.sun_path) - 1] = '\0';
	assert_int_equal(attach_address(longest, &at, &len), 0);
	assert_int_equal(attach_address("", &at, &len), -ENAMETOOLONG);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(message_with_descriptors_arrives_whole),
		TEST(credentials_are_the_kernels),
		TEST(h32_message_shorter_than_its_type_is_refused),
		TEST(h32_message_longer_than_any_is_refused),
		TEST(h32_wrong_magic_version_and_type_are_told_apart),
		TEST(h32_too_many_descriptors_are_closed),
		TEST(end_and_emptiness_are_told_apart_from_messages),
		TEST(h34_receiver_that_never_reads_does_not_block_the_sender),
		TEST(sending_to_who_is_gone_is_an_error_and_no_signal),
		TEST(address_is_a_path_or_an_abstract_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
