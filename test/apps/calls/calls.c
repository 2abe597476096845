/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the cases share, and the choice of one. See calls.h.
 */
#include "calls.h"

static const struct call_case *const groups[] = {
	stream_cases, dgram_cases,  number_cases, option_cases, copy_cases,	 ready_cases,
	event_cases,  family_cases, share_cases,  error_cases,	multicast_cases, interface_cases};

long show_result(const char *text, long r)
{
	int err = errno;

	if (r == -1)
		printf("%s = -1 %s\n", text, strerrorname_np(err));
	else
		printf("%s = %ld\n", text, r);
	fflush(stdout);
	errno = err;
	return r;
}

void show_bytes(const char *name, const void *p, long n)
{
	printf("%s: %.*s\n", name, (int)(n > 0 ? n : 0), (const char *)p);
	fflush(stdout);
}

int tcp_to(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (connect(fd, AT(PEER, port)) != 0) {
		show_result("connect to the peer", -1);
		exit(1);
	}
	return fd;
}

int listener(int *port)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, AT(OWN, 0)) != 0 || listen(fd, 8) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) != 0) {
		show_result("a listener", -1);
		exit(1);
	}
	*port = ntohs(a.sin_port);
	return fd;
}

int call_me(int port)
{
	char text[16];
	int fd = tcp_to(CALLER), n = snprintf(text, sizeof(text), "%d\n", port);

	if (write(fd, text, (size_t)n) != n)
		show_result("calling the peer", -1);
	return fd;
}

int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 2000) > 0;
}

long read_full(int fd, void *buf, long n)
{
	long done = 0, r = 1;

	while (done < n && r > 0) {
		r = read(fd, (char *)buf + done, (size_t)(n - done));
		done += r > 0 ? r : 0;
	}
	return done > 0 ? done : r;
}

int main(int argc, char **argv)
{
	for (unsigned g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
		for (const struct call_case *c = groups[g]; c->name != NULL; c++) {
			if (argc < 2) {
				puts(c->name);
			} else if (strcmp(argv[1], c->name) == 0) {
				alarm(20);
				c->run();
				return 0;
			}
		}
	}
	return argc < 2 ? 0 : 2;
}
