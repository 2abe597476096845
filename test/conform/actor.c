/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One of the two programs of a conformance scenario: reads a line with a call, makes it, answers
 * with a line that says what came of it. Descriptors have names, addresses are the actors' own
 * names, so that what the kernel and Z-Stack answer can be compared line by line.
 *
 *	actor kernel OWN PEER
 *	actor zstack OWN PEER OPTIONS OF THE STACK
 *
 * OWN and PEER are IPv4 addresses, or IPv6.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "actor.h"
#include "zstack/zstack.h"

#define NAMES	 64
#define WORDS	 12
#define PATIENCE 10000 /* ms to wait for what must come */

static const struct calls *sys;
static const char *own, *peer;
static int domain;

static struct {
	char name[16];
	int fd;
} names[NAMES];

static char *word[WORDS];
static int words;

/* ---- names ---- */

static int *fd_of(const char *name)
{
	int i = 0;

	while (i < NAMES - 1 && names[i].name[0] != '\0' && strcmp(names[i].name, name) != 0)
		i++;
	if (names[i].name[0] == '\0') {
		snprintf(names[i].name, sizeof(names[i].name), "%s", name);
		names[i].fd = -1;
	}
	return &names[i].fd;
}

static const char *arg(int i)
{
	return i < words ? word[i] : "";
}

struct constant {
	const char *name;
	int value;
};

static const struct constant constants[] = {
	{"tcp", SOCK_STREAM},
	{"udp", SOCK_DGRAM},
	{"seqpacket", SOCK_SEQPACKET},
	{"nonblock", SOCK_NONBLOCK},
	{"PEEK", MSG_PEEK},
	{"DONTWAIT", MSG_DONTWAIT},
	{"WAITALL", MSG_WAITALL},
	{"TRUNC", MSG_TRUNC},
	{"OOB", MSG_OOB},
	{"MORE", MSG_MORE},
	{"r", SHUT_RD},
	{"w", SHUT_WR},
	{"rw", SHUT_RDWR},
	{"IN", POLLIN},
	{"OUT", POLLOUT},
	{"PRI", POLLPRI},
	{"ERR", POLLERR},
	{"HUP", POLLHUP},
	{"RDHUP", POLLRDHUP},
	{"NVAL", POLLNVAL},
	{"ET", (int)EPOLLET},
	{"ONESHOT", EPOLLONESHOT},
	{"add", EPOLL_CTL_ADD},
	{"mod", EPOLL_CTL_MOD},
	{"del", EPOLL_CTL_DEL},
	{"SOCKET", SOL_SOCKET},
	{"TCP", IPPROTO_TCP},
	{"IP", IPPROTO_IP},
	{"ERROR", SO_ERROR},
	{"TYPE", SO_TYPE},
	{"DOMAIN", SO_DOMAIN},
	{"PROTOCOL", SO_PROTOCOL},
	{"ACCEPTCONN", SO_ACCEPTCONN},
	{"REUSEADDR", SO_REUSEADDR},
	{"REUSEPORT", SO_REUSEPORT},
	{"KEEPALIVE", SO_KEEPALIVE},
	{"BROADCAST", SO_BROADCAST},
	{"OOBINLINE", SO_OOBINLINE},
	{"RCVLOWAT", SO_RCVLOWAT},
	{"NODELAY", TCP_NODELAY},
	{"MAXSEG", TCP_MAXSEG},
	{"KEEPIDLE", TCP_KEEPIDLE},
	{"KEEPINTVL", TCP_KEEPINTVL},
	{"KEEPCNT", TCP_KEEPCNT},
	{"CORK", TCP_CORK},
	{"TTL", IP_TTL},
	{"TOS", IP_TOS},
	{"PKTINFO", IP_PKTINFO},
	{"RECVTTL", IP_RECVTTL},
};

/* "IN|OUT" or a number. */
static int value_of(const char *text)
{
	char copy[128], *rest = copy, *part;
	int v = 0;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((part = strsep(&rest, "|")) != NULL) {
		size_t i = 0, n = sizeof(constants) / sizeof(constants[0]);

		while (i < n && strcmp(constants[i].name, part) != 0)
			i++;
		v |= i < n ? constants[i].value : (int)strtol(part, NULL, 0);
	}
	return v;
}

static const char *events_text(int events)
{
	static char text[64];
	static const char *const bits[] = {"IN", "OUT", "PRI", "ERR", "HUP", "RDHUP", "NVAL"};

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		if (events & value_of(bits[i])) {
			strcat(text, text[0] ? "|" : "");
			strcat(text, bits[i]);
		}
	}
	return text[0] ? text : "-";
}

/* ---- answers ---- */

static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
}

static void say_result(ssize_t r)
{
	if (r < 0)
		say("%s", strerrorname_np((int)-r));
	else
		say("%zd", r);
}

static void say_bytes(const char *p, ssize_t n)
{
	say_result(n);
	if (n > 0 && n <= 64)
		say(" \"%.*s\"", (int)n, p);
}

static socklen_t address(struct sockaddr_storage *s, const char *who, int port)
{
	const char *text = strcmp(who, "own") == 0 ? own : strcmp(who, "peer") == 0 ? peer : NULL;
	struct sockaddr_in *a = (struct sockaddr_in *)s;
	struct sockaddr_in6 *b = (struct sockaddr_in6 *)s;

	memset(s, 0, sizeof(*s));
	s->ss_family = (sa_family_t)domain;
	if (text == NULL)
		text = strcmp(who, "any") != 0 ? who : domain == AF_INET ? "0.0.0.0" : "::";
	if (domain == AF_INET) {
		a->sin_port = htons((uint16_t)port);
		inet_pton(AF_INET, text, &a->sin_addr);
		return sizeof(*a);
	}
	b->sin6_port = htons((uint16_t)port);
	inet_pton(AF_INET6, text, &b->sin6_addr);
	return sizeof(*b);
}

/* An address by who has it; ports that somebody chose freely as "*". */
static void say_address(const struct sockaddr_storage *s, socklen_t len)
{
	const struct sockaddr_in *a = (const struct sockaddr_in *)s;
	const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)s;
	char text[64] = "?";
	int port = ntohs(s->ss_family == AF_INET ? a->sin_port : b->sin6_port);

	if (len == 0) {
		say(" none");
		return;
	}
	inet_ntop(s->ss_family,
		  s->ss_family == AF_INET ? (const void *)&a->sin_addr : &b->sin6_addr, text,
		  sizeof(text));
	say(" %s", strcmp(text, own) == 0 ? "own" : strcmp(text, peer) == 0 ? "peer" : text);
	say(port >= 20000 ? ":*" : ":%d", port);
}

/* ---- calls ---- */

static void do_socket(void)
{
	int r = sys->socket(domain, value_of(arg(2)), 0);

	*fd_of(arg(1)) = r;
	say_result(r < 0 ? r : 0);
}

static void do_bind(void)
{
	struct sockaddr_storage s;
	socklen_t len = address(&s, arg(2), value_of(arg(3)));

	say_result(sys->bind(*fd_of(arg(1)), (struct sockaddr *)&s, len));
}

static void do_connect(void)
{
	struct sockaddr_storage s;
	socklen_t len = address(&s, arg(2), value_of(arg(3)));

	if (strcmp(arg(2), "unspec") == 0)
		s.ss_family = AF_UNSPEC;
	say_result(sys->connect(*fd_of(arg(1)), (struct sockaddr *)&s, len));
}

static void do_listen(void)
{
	say_result(sys->listen(*fd_of(arg(1)), value_of(arg(2))));
}

static void do_accept(void)
{
	struct sockaddr_storage s;
	socklen_t len = sizeof(s);
	int r = sys->accept4(*fd_of(arg(1)), (struct sockaddr *)&s, &len, value_of(arg(3)));

	say_result(r < 0 ? r : 0);
	if (r >= 0) {
		*fd_of(arg(2)) = r;
		say_address(&s, len);
	}
}

static void do_send(void)
{
	say_result(sys->sendto(*fd_of(arg(1)), arg(2), strlen(arg(2)), value_of(arg(3)), NULL, 0));
}

static void do_sendto(void)
{
	struct sockaddr_storage s;
	socklen_t len = address(&s, arg(3), value_of(arg(4)));

	say_result(sys->sendto(*fd_of(arg(1)), arg(2), strlen(arg(2)), value_of(arg(5)),
			       (struct sockaddr *)&s, len));
}

static char big[1 << 20];

/* Many bytes; a blocking socket. */
static void do_sendn(void)
{
	size_t n = (size_t)value_of(arg(2));

	memset(big, 'x', sizeof(big));
	say_result(sys->sendto(*fd_of(arg(1)), big, n, value_of(arg(3)), NULL, 0));
}

/* Until the socket takes no more, also when all has arrived that was on its way: how much that is
 * is nobody's affair. */
static void do_fill(void)
{
	ssize_t r, n = 0;

	for (int full = 0; full < 5;) {
		r = sys->sendto(*fd_of(arg(1)), big, sizeof(big), MSG_DONTWAIT, NULL, 0);
		if (r > 0)
			n += r;
		full = r > 0 ? 0 : full + 1;
		if (r <= 0)
			poll(NULL, 0, 40);
	}
	say(n > 0 ? "some " : "none ");
	say_result(r);
}

/* Reads until n bytes are there, whatever the pieces are, or the end. */
static void do_drain(void)
{
	ssize_t left = value_of(arg(2)), n = 0, r = 1;

	while (n < left && r > 0) {
		struct pollfd p = {.fd = *fd_of(arg(1)), .events = POLLIN};

		if (sys->poll(&p, 1, PATIENCE) <= 0)
			break;
		r = sys->recvfrom(p.fd, big, sizeof(big), MSG_DONTWAIT, NULL, NULL);
		n += r > 0 ? r : 0;
	}
	if (n < left)
		say("%zd then ", n);
	else
		say("all then ");
	say_result(r > 0 ? 1 : r);
}

static void do_recv(void)
{
	ssize_t r = sys->recvfrom(*fd_of(arg(1)), big, (size_t)value_of(arg(2)), value_of(arg(3)),
				  NULL, NULL);

	say_bytes(big, r);
}

static void do_recvfrom(void)
{
	struct sockaddr_storage s;
	socklen_t len = sizeof(s);
	ssize_t r = sys->recvfrom(*fd_of(arg(1)), big, (size_t)value_of(arg(2)), value_of(arg(3)),
				  (struct sockaddr *)&s, &len);

	say_bytes(big, r);
	if (r >= 0)
		say_address(&s, len);
}

static void do_recvmsg(void)
{
	char control[256];
	struct iovec v = {big, (size_t)value_of(arg(2))};
	struct msghdr m = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	ssize_t r = sys->recvmsg(*fd_of(arg(1)), &m, value_of(arg(3)));

	say_bytes(big, r);
	say("%s", m.msg_flags & MSG_TRUNC ? " TRUNC" : "");
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); r >= 0 && h != NULL; h = CMSG_NXTHDR(&m, h))
		say(" cmsg %d/%d len %zu", h->cmsg_level, h->cmsg_type, (size_t)h->cmsg_len);
}

static void do_shutdown(void)
{
	say_result(sys->shutdown(*fd_of(arg(1)), value_of(arg(2))));
}

static void do_close(void)
{
	say_result(sys->close(*fd_of(arg(1))));
}

static void do_getopt(void)
{
	int v = 0;
	socklen_t len = sizeof(v);
	int r = sys->getsockopt(*fd_of(arg(1)), value_of(arg(2)), value_of(arg(3)), &v, &len);

	say_result(r);
	if (r == 0 && value_of(arg(2)) == SOL_SOCKET && value_of(arg(3)) == SO_ERROR && v != 0)
		say(" %s", strerrorname_np(v));
	else if (r == 0)
		say(" %d", v);
}

static void do_setopt(void)
{
	int v = value_of(arg(4));

	say_result(sys->setsockopt(*fd_of(arg(1)), value_of(arg(2)), value_of(arg(3)), &v,
				   words > 5 ? (socklen_t)value_of(arg(5)) : sizeof(v)));
}

static void do_linger(void)
{
	struct linger l = {value_of(arg(2)), value_of(arg(3))};

	say_result(sys->setsockopt(*fd_of(arg(1)), SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

/* Time-outs, in milliseconds. */
static void do_timeout(void)
{
	int ms = value_of(arg(3));
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	say_result(sys->setsockopt(*fd_of(arg(1)), SOL_SOCKET,
				   strcmp(arg(2), "rcv") == 0 ? SO_RCVTIMEO : SO_SNDTIMEO, &tv,
				   sizeof(tv)));
}

static void do_name(void)
{
	struct sockaddr_storage s;
	socklen_t len = sizeof(s);
	int r = strcmp(arg(0), "peername") == 0
			? sys->getpeername(*fd_of(arg(1)), (struct sockaddr *)&s, &len)
			: sys->getsockname(*fd_of(arg(1)), (struct sockaddr *)&s, &len);

	say_result(r);
	if (r == 0)
		say_address(&s, len);
}

static void do_fionread(void)
{
	int v = 0, r = sys->ioctl(*fd_of(arg(1)), FIONREAD, &v);

	say_result(r);
	if (r == 0)
		say(" %d", v);
}

static void do_atmark(void)
{
	int v = 0, r = sys->ioctl(*fd_of(arg(1)), SIOCATMARK, &v);

	say_result(r);
	if (r == 0)
		say(" %d", v);
}

static void do_nonblock(void)
{
	int r = sys->fcntl(*fd_of(arg(1)), F_SETFL, value_of(arg(2)) ? O_NONBLOCK : 0);

	say_result(r < 0 ? r : sys->fcntl(*fd_of(arg(1)), F_GETFL, 0) & O_NONBLOCK);
}

#define ALL_EVENTS (POLLIN | POLLOUT | POLLPRI | POLLRDHUP)

static void do_poll(void)
{
	struct pollfd p = {.fd = *fd_of(arg(1)), .events = ALL_EVENTS};

	sys->poll(&p, 1, 0);
	say("%s", events_text(p.revents));
}

/* Until all of these are so at once; what is so then is told. */
static void do_wait(void)
{
	int want = value_of(arg(2));
	struct pollfd p = {.fd = *fd_of(arg(1))};

	for (int i = 0; i < PATIENCE && (p.revents & want) != want; i++) {
		p.events = (short)want;
		p.revents = 0;
		sys->poll(&p, 1, 1);
	}
	p.events = ALL_EVENTS;
	sys->poll(&p, 1, 0);
	say("%s", events_text(p.revents));
}

static void do_epoll(void)
{
	int r = sys->epoll_create1(0);

	*fd_of(arg(1)) = r;
	say_result(r < 0 ? r : 0);
}

static void do_ectl(void)
{
	struct epoll_event e = {.events = (uint32_t)value_of(arg(4)), .data.fd = *fd_of(arg(3))};

	say_result(sys->epoll_ctl(*fd_of(arg(1)), value_of(arg(2)), *fd_of(arg(3)), &e));
}

/* What a set says: at once ("now"), or when there is something. */
static void do_ewait(void)
{
	struct epoll_event e[8];
	int n = sys->epoll_wait(*fd_of(arg(1)), e, 8, strcmp(arg(2), "now") == 0 ? 0 : PATIENCE);

	if (n < 0)
		say_result(n);
	for (int i = 0; i < NAMES && n > 0; i++) {
		for (int k = 0; k < n; k++) {
			if (names[i].name[0] != '\0' && names[i].fd == e[k].data.fd)
				say("%s:%s ", names[i].name, events_text((int)e[k].events));
		}
	}
	if (n == 0)
		say("-");
}

static const struct {
	const char *name;
	void (*run)(void);
} commands[] = {
	{"socket", do_socket},	   {"bind", do_bind},	      {"connect", do_connect},
	{"listen", do_listen},	   {"accept", do_accept},     {"send", do_send},
	{"sendto", do_sendto},	   {"sendn", do_sendn},	      {"fill", do_fill},
	{"drain", do_drain},	   {"recv", do_recv},	      {"recvfrom", do_recvfrom},
	{"recvmsg", do_recvmsg},   {"shutdown", do_shutdown}, {"close", do_close},
	{"getopt", do_getopt},	   {"setopt", do_setopt},     {"linger", do_linger},
	{"timeout", do_timeout},   {"sockname", do_name},     {"peername", do_name},
	{"fionread", do_fionread}, {"atmark", do_atmark},     {"nonblock", do_nonblock},
	{"poll", do_poll},	   {"wait", do_wait},	      {"epoll", do_epoll},
	{"ectl", do_ectl},	   {"ewait", do_ewait},
};

static void obey(char *line)
{
	char *rest = line, *w;

	words = 0;
	while (words < WORDS && (w = strsep(&rest, " \n")) != NULL) {
		if (*w != '\0')
			word[words++] = w;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, arg(0)) == 0) {
			commands[i].run();
			putchar('\n');
			return;
		}
	}
	say("no such call\n");
}

/* An IPv6 address is not one's own until duplicate address detection is through (RFC 4862 §5.4). */
static void address_wait(void)
{
	struct timespec pause = {.tv_nsec = 10000000};
	struct sockaddr_storage s;
	socklen_t len = address(&s, "own", 0);
	int fd = zs_socket(domain, SOCK_DGRAM, 0);

	for (int i = 0; i < 1000 && zs_bind(fd, (struct sockaddr *)&s, len) != 0; i++)
		nanosleep(&pause, NULL);
	zs_close(fd);
}

static void stack_start(int argc, char **argv)
{
	struct zs_config *c = zs_config_new();

	if (c == NULL || zs_config_args(c, &argc, argv) < 0 || zs_start(c) < 0) {
		fprintf(stderr, "actor: %s\n", c != NULL ? zs_config_error(c) : "no memory");
		exit(1);
	}
	zs_config_free(c);
	address_wait();
}

int main(int argc, char **argv)
{
	char line[512];

	if (argc < 4)
		return 2;
	own = argv[2];
	peer = argv[3];
	domain = strchr(own, ':') != NULL ? AF_INET6 : AF_INET;
	sys = strcmp(argv[1], "kernel") == 0 ? &kernel_calls : &zstack_calls;
	if (sys == &zstack_calls)
		stack_start(argc - 3, argv + 3);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin) != NULL)
		obey(line);
	zs_stop();
	return 0;
}
