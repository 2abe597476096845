/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What fork() costs a program that has sockets: an ordinary program, run plain and by zstack run.
 *
 *	zstack run -- fork_cost ADDRESS PORT SOCKETS [ROUNDS] [PROGRAM]
 *
 * It listens at SOCKETS ports from PORT on, forks ROUNDS times, and prints two medians: the call,
 * as the parent sees it; and until the child is gone, which ends at once, or executes PROGRAM.
 * Both in µs. The first round is left out.
 */
#include <arpa/inet.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 10000

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void listen_at(const char *addr, int port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, addr, &at.sin_addr);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 64) != 0)
		err(1, "port %d", port);
}

static int less(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), less);
	return v[n / 2];
}

static void round_of(char **program, double *call, double *gone)
{
	double start = now_us();
	pid_t pid = fork();
	int status;

	if (pid < 0)
		err(1, "fork");
	if (pid == 0 && *program != NULL)
		execv(*program, program);
	if (pid == 0)
		_exit(0);
	*call = now_us() - start;
	if (waitpid(pid, &status, 0) != pid || status != 0)
		errx(1, "the child ended with %x", (unsigned)status);
	*gone = now_us() - start;
}

int main(int argc, char **argv)
{
	static double call[ROUNDS_MAX], gone[ROUNDS_MAX];
	int rounds = argc > 4 ? atoi(argv[4]) : 200;

	if (argc < 4 || rounds < 1 || rounds > ROUNDS_MAX)
		errx(2, "fork_cost ADDRESS PORT SOCKETS [ROUNDS] [PROGRAM]");
	for (int i = 0; i < atoi(argv[3]); i++)
		listen_at(argv[1], atoi(argv[2]) + i);
	round_of(argv + (argc > 5 ? 5 : argc), &call[0], &gone[0]);
	for (int i = 0; i < rounds; i++)
		round_of(argv + (argc > 5 ? 5 : argc), &call[i], &gone[i]);
	printf("%s sockets: fork %.0f us, until the child is gone %.0f us\n", argv[3],
	       median(call, rounds), median(gone, rounds));
	return 0;
}
