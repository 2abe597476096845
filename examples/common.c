/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the examples share (common.h).
 */
#include <arpa/inet.h>
#include <signal.h>
#include <time.h>

#include "common.h"

static volatile sig_atomic_t stopping, asked;
static struct zs_config *config;

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		asked = 1;
	else
		stopping = 1;
}

static void catch_signals(void)
{
	struct sigaction a = {.sa_handler = on_signal}; /* no SA_RESTART: waits end with -EINTR */

	sigaction(SIGINT, &a, NULL);
	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGUSR1, &a, NULL);
	signal(SIGPIPE, SIG_IGN); /* the other side of a virtual link may leave */
}

bool example_stopping(void)
{
	return stopping;
}

bool example_asked(void)
{
	bool yes = asked;

	asked = 0;
	return yes;
}

static void help(const char *usage)
{
	printf("usage: %s OPTIONS %s\n%s\n", program_invocation_short_name, usage,
	       zs_config_usage());
	exit(0);
}

void example_options(int *argc, char **argv, const char *usage, int least, int most)
{
	config = zs_config_new();
	if (config == NULL)
		errx(1, "no memory");
	if (*argc > 1 && strcmp(argv[1], "--help") == 0)
		help(usage);
	if (zs_config_args(config, argc, argv) < 0)
		errx(1, "%s", zs_config_error(config));
	for (int i = 1; i < *argc; i++)
		if (argv[i][0] == '-')
			errx(1, "unknown option '%s'; --help lists them", argv[i]);
	if (*argc - 1 < least || *argc - 1 > most)
		errx(1, "usage: %s OPTIONS %s; --help lists the options",
		     program_invocation_short_name, usage);
}

void example_start(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	catch_signals();
	if (zs_start(config) < 0)
		errx(1, "%s", zs_config_error(config));
	zs_config_free(config);
}

long example_number(const char *what, const char *text, long least, long most)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < least || n > most)
		errx(1, "%s is a number from %ld to %ld, not '%s'", what, least, most, text);
	return n;
}

uint16_t example_port(const char *text)
{
	return (uint16_t)example_number("PORT", text, 1, 65535);
}

socklen_t example_addr(const char *ip, uint16_t port, union example_addr *out)
{
	*out = (union example_addr){0};
	if (inet_pton(AF_INET, ip, &out->in.sin_addr) == 1) {
		out->in.sin_family = AF_INET;
		out->in.sin_port = htons(port);
		return sizeof(out->in);
	}
	if (inet_pton(AF_INET6, ip, &out->in6.sin6_addr) != 1)
		errx(1, "'%s' is no IPv4 or IPv6 address", ip);
	out->in6.sin6_family = AF_INET6;
	out->in6.sin6_port = htons(port);
	return sizeof(out->in6);
}

int example_must(int result, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, strerror(-result));
	return result;
}

void example_listen(int set, int type, uint16_t port, int listener[2])
{
	static const char *const any[2] = {"0.0.0.0", "::"};
	const int one = 1;

	for (int i = 0; i < 2; i++) {
		union example_addr a;
		socklen_t len = example_addr(any[i], port, &a);
		int fd = example_must(zs_socket(a.sa.sa_family, type | SOCK_NONBLOCK, 0), "socket");
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

		if (i == 1)
			example_must(
				zs_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)),
				"IPV6_V6ONLY");
		example_must(zs_bind(fd, &a.sa, len), "bind");
		if (type == SOCK_STREAM)
			example_must(zs_listen(fd, 4096), "listen");
		example_must(zs_epoll_ctl(set, EPOLL_CTL_ADD, fd, &e), "epoll");
		listener[i] = fd;
	}
	printf("%s: listening on port %u\n", program_invocation_short_name, port);
}

void example_counters(FILE *out)
{
	struct zs_stats s;

	if (zs_stats(&s, sizeof(s)) < 0)
		return;
	fprintf(out,
		"%s: %lu connections accepted, %lu opened; received %lu bytes, sent %lu\n"
		"payload bytes copied by the API: %lu, by pressure: %lu, by the device: %lu\n",
		program_invocation_short_name, s.accepts, s.connects, s.rx_bytes, s.tx_bytes,
		s.api_copied_bytes, s.pressure_copied_bytes, s.device_copied_bytes);
}

int example_end(void)
{
	example_counters(stderr);
	zs_stop();
	return 0;
}

int example_wait(int set, struct epoll_event *e, int n, int timeout_ms)
{
	int got = zs_epoll_wait(set, e, n, timeout_ms);

	if (got == -ENODEV)
		errx(1, "the network interface was deleted; start again with another");
	return got == -EINTR ? 0 : example_must(got, "epoll");
}

uint64_t example_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
