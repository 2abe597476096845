/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A server that executes itself and goes on with its sockets (test_exec.py, client/exec.h). What
 * stands for a socket here is a number of its own, since libzstack's descriptors are no files.
 *
 *	again   accepts two connections, has read a part of the first one, leaves the second behind
 *	fails   the program that is to be executed is not there
 *	reset   the first connection is over by reset before the new image looks at it
 */
#include <err.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/exec.h"
#include "server.h"

#define LISTENER 11 /* what stands for it, and its number in the new image */
#define FIRST	 12
#define PART	 1234

static void listen_and_serve(int l)
{
	for (;;)
		serve_echo(must(zs_accept(l, NULL, NULL), "accept"));
}

static void second_image(const char *mode, const char *letter)
{
	struct exec_file *f;
	int n = exec_adopt(atoi(letter), &f);
	char c;

	if (n < 0)
		errx(1, "adopt: %s", strerror(-n));
	for (int i = 0; i < n; i++)
		must(exec_place((unsigned)i, (int)f[i].ino), "place");
	exec_placed();
	free(f);
	close(atoi(letter));
	printf("second %d\n", n);
	fflush(stdout);
	if (strcmp(mode, "reset") == 0 && zs_read(FIRST, &c, 1) != -ECONNRESET)
		errx(1, "the connection is not reset");
	if (strcmp(mode, "again") == 0)
		serve_echo(FIRST);
	listen_and_serve(LISTENER);
}

static void read_part(int fd)
{
	char part[PART];

	if (must((int)zs_recv(fd, part, sizeof(part), MSG_WAITALL), "recv") != PART)
		errx(1, "short read");
	write_all(fd, part, sizeof(part));
}

/* And leaves the error to be told. */
static void await_reset(int fd)
{
	struct pollfd p = {.fd = fd};

	do {
		must(zs_poll(&p, 1, -1), "poll");
	} while ((p.revents & POLLERR) == 0);
}

static void go(const char *mode, const char *self, int l, int fd)
{
	struct exec_file f[] = {{l, 1, LISTENER, {0}}, {fd, 1, FIRST, {0}}};
	int letter = must(exec_prepare(f, 2, true), "prepare");
	char number[16];

	snprintf(number, sizeof(number), "%d", letter);
	execl(strcmp(mode, "fails") == 0 ? "/nowhere" : self, self, mode, number, NULL);
	close(letter);
}

int main(int argc, char **argv)
{
	struct zs_config *c = zs_config_new();
	int l, first, other;

	if (argc == 3)
		second_image(argv[1], argv[2]);
	if (c == NULL || zs_config_args(c, &argc, argv) < 0 || argc != 2 || zs_start(c) < 0)
		errx(1, "%s", zs_config_error(c));
	l = server_socket(SOCK_STREAM, 7, SO_REUSEADDR, 128);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	first = must(zs_accept(l, NULL, NULL), "accept");
	other = must(zs_accept(l, NULL, NULL), "accept");
	if (strcmp(argv[1], "reset") == 0)
		await_reset(first);
	else
		read_part(first);
	go(argv[1], argv[0], l, first);
	/* It failed: everything is as before. */
	serve_echo(first);
	serve_echo(other);
	listen_and_serve(l);
}
