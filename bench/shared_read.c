/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What it costs to read a stream that another process holds, too: an ordinary program, run plain
 * and by zstack run.
 *
 *	zstack run -- shared_read ADDRESS PORT MEGABYTES HOLDERS [ROUNDS]
 *
 * It listens at the port. In each round a child connects and sends; HOLDERS more children, 0 and
 * up, hold the accepted connection and do nothing; the parent reads it by 16 KB at a time, as libpq
 * does. Prints the median of MB/s.
 */
#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX  100
#define HOLDERS_MAX 16

static struct sockaddr_in at = {.sin_family = AF_INET};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	return pid;
}

static void send_all(size_t left)
{
	static char buf[64 << 10];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
		err(1, "connect");
	while (left > 0) {
		ssize_t n = write(fd, buf, left < sizeof(buf) ? left : sizeof(buf));

		if (n <= 0)
			err(1, "write");
		left -= (size_t)n;
	}
	_exit(0);
}

static size_t read_all(int fd)
{
	static char buf[16 << 10];
	size_t all = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		all += (size_t)n;
	if (n < 0)
		err(1, "read");
	return all;
}

static double round_of(int l, size_t bytes, int holders)
{
	pid_t holder[HOLDERS_MAX];
	double start;
	int fd;

	if (child() == 0)
		send_all(bytes);
	fd = accept(l, NULL, NULL);
	if (fd < 0)
		err(1, "accept");
	for (int i = 0; i < holders; i++) {
		holder[i] = child();
		if (holder[i] == 0)
			for (;;)
				pause();
	}
	start = now_s();
	if (read_all(fd) != bytes)
		errx(1, "bytes are missing");
	start = now_s() - start;
	for (int i = 0; i < holders; i++)
		kill(holder[i], SIGKILL);
	close(fd);
	while (wait(NULL) > 0)
		;
	return (double)bytes / 1e6 / start;
}

static int less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, holders, rounds;
	double v[ROUNDS_MAX];
	size_t bytes;

	if (argc < 5 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1)
		errx(2, "shared_read ADDRESS PORT MEGABYTES HOLDERS [ROUNDS]");
	at.sin_port = htons((uint16_t)atoi(argv[2]));
	bytes = (size_t)atol(argv[3]) * 1000000;
	holders = atoi(argv[4]);
	rounds = argc > 5 ? atoi(argv[5]) : 5;
	if (holders < 0 || holders > HOLDERS_MAX || rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "at most %d holders and %d rounds", HOLDERS_MAX, ROUNDS_MAX);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (l < 0 || bind(l, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(l, 8) != 0)
		err(1, "%s port %s", argv[1], argv[2]);
	for (int i = 0; i < rounds; i++)
		v[i] = round_of(l, bytes, holders);
	qsort(v, (size_t)rounds, sizeof(v[0]), less);
	printf("%d more holders: %.0f MB/s\n", holders, v[rounds / 2]);
	return 0;
}
