/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A static program, which no library is loaded into, with a connection at 0 and 1 (test_relay.py).
 * The first argument says what it does:
 *
 *	echo     sends back what comes; at its end, if all went well, ends with 0
 *	sink     reads nothing, until it is killed
 *	half     ends its writing at once, then reads all; writes how much to the file given
 *	unread   waits until something is there, sends "no", and ends without reading it
 *	server   sends "hello", and ends
 *	blocks   says whether the connection does
 *	errors   writes until that fails, and why to the file given
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int must(ssize_t r, const char *what)
{
	if (r < 0)
		err(1, "%s", what);
	return (int)r;
}

static void report(const char *file, const char *what)
{
	int fd = must(open(file, O_WRONLY | O_CREAT, 0644), file);

	must(write(fd, what, strlen(what)), "write");
	close(fd);
}

static void echo(void)
{
	static char buf[65536];
	ssize_t n;

	while ((n = must(read(0, buf, sizeof(buf)), "read")) > 0)
		for (ssize_t at = 0; at < n;)
			at += must(write(1, buf + at, (size_t)(n - at)), "write");
}

static void half(const char *file)
{
	static char buf[65536];
	char text[32];
	long all = 0;
	ssize_t n;

	must(shutdown(1, SHUT_WR), "shutdown");
	while ((n = must(read(0, buf, sizeof(buf)), "read")) > 0)
		all += n;
	snprintf(text, sizeof(text), "%ld", all);
	report(file, text);
}

static void unread(void)
{
	struct pollfd p = {.fd = 0, .events = POLLIN};

	must(poll(&p, 1, -1), "poll");
	must(write(1, "no", 2), "write");
}

static void errors(const char *file)
{
	static char buf[65536];

	signal(SIGPIPE, SIG_IGN);
	while (write(1, buf, sizeof(buf)) > 0)
		;
	report(file, strerrorname_np(errno));
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (strcmp(mode, "echo") == 0)
		echo();
	else if (strcmp(mode, "sink") == 0)
		pause();
	else if (strcmp(mode, "half") == 0)
		half(argv[2]);
	else if (strcmp(mode, "unread") == 0)
		unread();
	else if (strcmp(mode, "server") == 0)
		must(write(1, "hello", 5), "write");
	else if (strcmp(mode, "blocks") == 0)
		must(dprintf(1, "%d", (fcntl(0, F_GETFL) & O_NONBLOCK) == 0), "write");
	else if (strcmp(mode, "errors") == 0)
		errors(argv[2]);
	else
		errx(1, "what is to be done?");
	return 0;
}
