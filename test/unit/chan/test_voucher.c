/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A voucher tells who made it and what for; nothing else is taken for one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "chan/voucher.h"

#define NOBODY 65534

static const uint8_t any[16], other[16] = {[15] = 1};

static void tells_its_maker(void **state)
{
	uint32_t user = 7;
	int fd = voucher_make(VOUCHER_ATTACH), second = voucher_make(VOUCHER_ATTACH);

	assert_true(fd >= 0 && second >= 0);
	assert_int_equal(voucher_read(fd, VOUCHER_ATTACH, &user), 0);
	assert_int_equal(user, geteuid());
	assert_int_equal(voucher_read(fd, NULL, &user), 0);
	close(fd);
	close(second);
}

static void is_for_one_thing(void **state)
{
	char tcp[VOUCHER_MAX], udp[VOUCHER_MAX], near_[VOUCHER_MAX], far_[VOUCHER_MAX];
	uint32_t user;
	int fd;

	voucher_for_bind(tcp, any, 80, false);
	voucher_for_bind(udp, any, 80, true);
	voucher_for_bind(near_, any, 8, false);
	voucher_for_bind(far_, other, 80, false);
	fd = voucher_make(tcp);
	assert_true(fd >= 0);
	assert_int_equal(voucher_read(fd, tcp, &user), 0);
	assert_int_equal(voucher_read(fd, udp, &user), -EINVAL);
	assert_int_equal(voucher_read(fd, near_, &user), -EINVAL);
	assert_int_equal(voucher_read(fd, far_, &user), -EINVAL);
	assert_int_equal(voucher_read(fd, VOUCHER_ATTACH, &user), -EINVAL);
	close(fd);
}

/* In a child, since it can't become root again. */
static int as_nobody(int fd)
{
	uint32_t user = NOBODY;
	int mine;

	if (setresuid(NOBODY, NOBODY, NOBODY) != 0)
		return 2;
	if (voucher_read(fd, VOUCHER_ATTACH, &user) != 0 || user != 0)
		return 3;
	mine = voucher_make(VOUCHER_ATTACH);
	if (mine < 0 || voucher_read(mine, VOUCHER_ATTACH, &user) != 0 || user != NOBODY)
		return 4;
	/* Who listens on another's makes it his own: he can only lose by that. */
	if (listen(fd, 1) != 0 || voucher_read(fd, VOUCHER_ATTACH, &user) != 0 || user != NOBODY)
		return 5;
	return 0;
}

static void stays_its_makers(void **state)
{
	int fd = voucher_make(VOUCHER_ATTACH), status = 0;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		_exit(as_nobody(fd));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
}

static int named(int type, const char *name, size_t len)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	memcpy(at.sun_path, name, len);
	assert_int_equal(bind(fd, (struct sockaddr *)&at,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	return fd;
}

static void refuses_others(void **state)
{
	static const char good[] = "\0zstack-voucher/attach/5", bad[] = "\0zstack-vouche/attach/5";
	uint32_t user;
	int fd[8], pair[2], n = 0;

	assert_int_equal(pipe(pair), 0);
	fd[n++] = pair[0];
	fd[n++] = pair[1];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	fd[n++] = pair[0];
	fd[n++] = pair[1];
	fd[n++] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(listen(fd[n - 1], 1), 0);
	fd[n++] = named(SOCK_STREAM, good, sizeof(good) - 1); /* it does not listen */
	fd[n++] = named(SOCK_STREAM, bad, sizeof(bad) - 1);
	assert_int_equal(listen(fd[n - 1], 1), 0);
	for (int i = 0; i < n; i++) {
		assert_int_equal(voucher_read(fd[i], VOUCHER_ATTACH, &user), -EINVAL);
		assert_int_equal(voucher_read(fd[i], NULL, &user), -EINVAL);
		close(fd[i]);
	}
	assert_int_equal(voucher_read(-1, NULL, &user), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_its_maker),
		cmocka_unit_test(is_for_one_thing),
		cmocka_unit_test(stays_its_makers),
		cmocka_unit_test(refuses_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
