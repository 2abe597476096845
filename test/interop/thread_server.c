/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A server with many threads, for test_threads.py. Whoever made a socket has no special part in it:
 *
 *	echo N    N threads accept from one listener, made by a thread that has ended; each serves
 *	          its connection with blocking calls
 *	turns     four threads write one stream in turn, and the last closes it; whoever accepted it
 *	          has ended
 *	sleeper   the thread that made listener and connection sleeps for ever; another serves
 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

#define WRITERS 4
#define ROUNDS	200
#define PIECE	1500

static int listen_fd, conn_fd;
static pthread_barrier_t made;

static void *make_listener(void *arg)
{
	listen_fd = server_socket(SOCK_STREAM, 7, 0, 2048);
	pthread_barrier_wait(&made);
	return arg;
}

static void *accept_and_echo(void *arg)
{
	for (;;)
		serve_echo(must(zs_accept(listen_fd, NULL, NULL), "accept"));
	return arg;
}

/* ---- turns ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int turn;

static void *write_in_turn(void *arg)
{
	int me = (int)(long)arg;
	char piece[PIECE];

	for (int round = me; round < ROUNDS; round += WRITERS) {
		pthread_mutex_lock(&lock);
		while (turn != round)
			pthread_cond_wait(&moved, &lock);
		pthread_mutex_unlock(&lock);
		memset(piece, 'a' + round % 26, sizeof(piece));
		write_all(conn_fd, piece, sizeof(piece));
		if (round == ROUNDS - 1)
			must(zs_close(conn_fd), "close");
		pthread_mutex_lock(&lock);
		turn++;
		pthread_cond_broadcast(&moved);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

static void *accept_and_leave(void *arg)
{
	conn_fd = must(zs_accept(listen_fd, NULL, NULL), "accept");
	turn = 0;
	pthread_barrier_wait(&made);
	return arg;
}

static void serve_turns(void)
{
	for (;;) {
		start_thread(accept_and_leave, NULL);
		pthread_barrier_wait(&made);
		for (long i = 0; i < WRITERS; i++)
			start_thread(write_in_turn, (void *)i);
		pthread_mutex_lock(&lock);
		while (turn != ROUNDS)
			pthread_cond_wait(&moved, &lock);
		pthread_mutex_unlock(&lock);
	}
}

/* ---- sleeper ---- */

static void *make_and_sleep(void *arg)
{
	listen_fd = server_socket(SOCK_STREAM, 7, 0, 2048);
	printf("ready\n");
	fflush(stdout);
	conn_fd = must(zs_accept(listen_fd, NULL, NULL), "accept");
	pthread_barrier_wait(&made);
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	struct zs_config *c = zs_config_new();

	if (c == NULL || zs_config_args(c, &argc, argv) < 0 || argc < 2 || zs_start(c) < 0)
		errx(1, "%s", zs_config_error(c));
	pthread_barrier_init(&made, NULL, 2);
	start_thread(strcmp(argv[1], "sleeper") == 0 ? make_and_sleep : make_listener, NULL);
	pthread_barrier_wait(&made);
	printf("ready\n");
	fflush(stdout);
	if (strcmp(argv[1], "turns") == 0)
		serve_turns();
	if (strcmp(argv[1], "sleeper") == 0)
		serve_echo(conn_fd);
	for (int i = argc > 2 ? atoi(argv[2]) : 4; i > 0; i--)
		start_thread(accept_and_echo, NULL);
	for (;;)
		pause();
}
