/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options, and ioctl: set before and after the socket is decided on.
 */
#include <net/if.h>

#include "calls.h"

#define INTS(X)                                                                                    \
	X(SOL_SOCKET, SO_REUSEADDR, 1)                                                             \
	X(SOL_SOCKET, SO_REUSEPORT, 1)                                                             \
	X(SOL_SOCKET, SO_KEEPALIVE, 1)                                                             \
	X(SOL_SOCKET, SO_BROADCAST, 1)                                                             \
	X(SOL_SOCKET, SO_OOBINLINE, 1)                                                             \
	X(SOL_SOCKET, SO_DONTROUTE, 1)                                                             \
	X(SOL_SOCKET, SO_PRIORITY, 4)                                                              \
	X(SOL_SOCKET, SO_RCVLOWAT, 3)                                                              \
	X(SOL_SOCKET, SO_SNDBUF, 20000)                                                            \
	X(SOL_SOCKET, SO_RCVBUF, 20000)                                                            \
	X(IPPROTO_IP, IP_TOS, 16)                                                                  \
	X(IPPROTO_IP, IP_TTL, 33)                                                                  \
	X(IPPROTO_TCP, TCP_NODELAY, 1)                                                             \
	X(IPPROTO_TCP, TCP_CORK, 1)                                                                \
	X(IPPROTO_TCP, TCP_KEEPIDLE, 30)                                                           \
	X(IPPROTO_TCP, TCP_KEEPINTVL, 7)                                                           \
	X(IPPROTO_TCP, TCP_KEEPCNT, 3)                                                             \
	X(IPPROTO_TCP, TCP_USER_TIMEOUT, 9000)                                                     \
	X(IPPROTO_TCP, TCP_MAXSEG, 1000)                                                           \
	X(IPPROTO_TCP, TCP_LINGER2, 8)

static int get(int fd, int level, int name)
{
	int v = -77;
	socklen_t len = sizeof(v);

	return getsockopt(fd, level, name, &v, &len) == 0 ? v : -1;
}

static int set(int fd, int level, int name, int v)
{
	return setsockopt(fd, level, name, &v, sizeof(v));
}

static void get_all(int fd)
{
#define X(level, name, value) show(get(fd, level, name));
	INTS(X)
#undef X
}

static void set_all(int fd)
{
#define X(level, name, value) show(set(fd, level, name, value));
	INTS(X)
#undef X
}

/* But those whose defaults are each stack's own. */
static void defaults(void)
{
	int fd = tcp_to(ECHO);

	show(get(fd, SOL_SOCKET, SO_REUSEADDR));
	show(get(fd, SOL_SOCKET, SO_KEEPALIVE));
	show(get(fd, SOL_SOCKET, SO_ERROR));
	show(get(fd, SOL_SOCKET, SO_TYPE));
	show(get(fd, SOL_SOCKET, SO_DOMAIN));
	show(get(fd, SOL_SOCKET, SO_PROTOCOL));
	show(get(fd, SOL_SOCKET, SO_ACCEPTCONN));
	show(get(fd, SOL_SOCKET, SO_RCVLOWAT));
	show(get(fd, SOL_SOCKET, SO_SNDLOWAT));
	show(get(fd, SOL_SOCKET, SO_PRIORITY));
	show(get(fd, IPPROTO_IP, IP_TTL));
	show(get(fd, IPPROTO_IP, IP_TOS));
	show(get(fd, IPPROTO_TCP, TCP_NODELAY));
	show(get(fd, IPPROTO_TCP, TCP_CORK));
	show(get(fd, IPPROTO_TCP, TCP_KEEPIDLE));
	show(get(fd, IPPROTO_TCP, TCP_KEEPINTVL));
	show(get(fd, IPPROTO_TCP, TCP_KEEPCNT));
	show(get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
	show(get(fd, IPPROTO_TCP, TCP_MAXSEG));
	show(get(fd, SOL_SOCKET, SO_BINDTODEVICE));
}

static void after_connect(void)
{
	int fd = tcp_to(ECHO);

	set_all(fd);
	get_all(fd);
}

static void carried(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	set_all(fd);
	show(connect(fd, AT(PEER, ECHO)));
	get_all(fd);
}

/* Automatic sizes are sizes, too, before there is a connection. */
static void buffers(void)
{
	int type[] = {SOCK_STREAM, SOCK_DGRAM}, port, l = listener(&port);

	show(get(l, SOL_SOCKET, SO_RCVBUF) > 0);
	show(get(l, SOL_SOCKET, SO_SNDBUF) > 0);
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_INET, type[i], 0);

		show(bind(fd, AT(OWN, 0)));
		show(get(fd, SOL_SOCKET, SO_RCVBUF) > 0);
		show(get(fd, SOL_SOCKET, SO_SNDBUF) > 0);
		show(set(fd, SOL_SOCKET, SO_RCVBUF, 10000));
		show(get(fd, SOL_SOCKET, SO_RCVBUF));
	}
}

static void accepted(void)
{
	int port, l = listener(&port), c, s;

	set_all(l);
	c = call_me(port);
	show(readable(l));
	s = accept(l, NULL, NULL);
	get_all(s);
	show(close(c));
}

static void values(void)
{
	struct linger l = {1, 5};
	struct timeval tv = {3, 250000}, got;
	socklen_t len = sizeof(got);
	char name[16] = "";
	int fd = tcp_to(ECHO), v = 1;

	show(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	l = (struct linger){0};
	len = sizeof(l);
	show(getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len));
	printf("%d %d %u\n", l.l_onoff, l.l_linger, len);
	show(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, 4));
	l.l_onoff = 0;
	show(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	show(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	len = sizeof(got);
	show(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &got, &len));
	printf("%ld %ld %u\n", (long)got.tv_sec, (long)got.tv_usec, len);
	tv.tv_usec = 1000000;
	show(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)));
	show(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5));
	len = sizeof(name);
	show(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	printf("%s\n", name);
	show(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8));
	show(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, 1));
	show(setsockopt(fd, SOL_SOCKET, 9999, &v, sizeof(v)));
	show(setsockopt(fd, IPPROTO_TCP, 9999, &v, sizeof(v)));
	show(setsockopt(fd, 9999, 1, &v, sizeof(v)));
	show(getsockopt(fd, SOL_SOCKET, 9999, &v, &len));
	show(getsockopt(fd, IPPROTO_TCP, 9999, &v, &len));
	show(setsockopt(fd, SOL_SOCKET, SO_TYPE, &v, sizeof(v)));
	show(setsockopt(fd, SOL_SOCKET, SO_ERROR, &v, sizeof(v)));
	show(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, sizeof(v)));
	show(set(fd, IPPROTO_IP, IP_TTL, 300));
	show(set(fd, IPPROTO_TCP, TCP_KEEPCNT, 0));
	show(set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 40000));
	len = 1;
	v = 0;
	show(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &v, &len));
	printf("%d %u\n", v, len);
}

static void advice(void)
{
	int fd = tcp_to(ECHO), port, l = listener(&port);

	show(set(l, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1));
	show(set(l, IPPROTO_TCP, TCP_FASTOPEN, 5));
	show(set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384));
	show(set(fd, IPPROTO_TCP, TCP_QUICKACK, 1));
	show(set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO));
	show(get(fd, IPPROTO_IP, IP_MTU_DISCOVER));
	show(set(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(set(fd, SOL_SOCKET, SO_INCOMING_CPU, 0));
	show(set(fd, SOL_SOCKET, SO_TIMESTAMP, 1));
	show(set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 30000));
	show(set(fd, IPPROTO_TCP, TCP_SYNCNT, 3));
}

static void info(void)
{
	struct tcp_info ti = {0};
	socklen_t len = sizeof(ti);
	int fd = tcp_to(ECHO), port, l = listener(&port);

	show(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(ti.tcpi_state);
	show(ti.tcpi_snd_mss > 500);
	show(len > 90);
	len = sizeof(ti);
	show(getsockopt(l, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(ti.tcpi_state);
	len = 1;
	show(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(len);
}

/* Linux says of a listener how many wait, and how many may. */
static void backlog(void)
{
	struct tcp_info ti = {0};
	socklen_t len = sizeof(ti);
	int port, l = listener(&port), c = call_me(port);

	show(readable(l));
	show(getsockopt(l, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(ti.tcpi_unacked);
	show(ti.tcpi_sacked);
	show(close(accept(l, NULL, NULL)));
	show(listen(l, -1));
	show(getsockopt(l, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(ti.tcpi_unacked);
	show(ti.tcpi_sacked);
	show(listen(l, 5));
	show(getsockopt(l, IPPROTO_TCP, TCP_INFO, &ti, &len));
	show(ti.tcpi_sacked);
	show(close(c));
}

static void controls(void)
{
	struct ifreq ifr = {.ifr_name = "lo"};
	char buf[16];
	int fd = tcp_to(GREET), n = 1, port, l = listener(&port);

	show(readable(fd));
	show(ioctl(fd, FIONREAD, &n));
	show(n);
	n = 1;
	show(ioctl(fd, FIONBIO, &n));
	show((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	show(read(fd, buf, 16));
	show(read(fd, buf, 16));
	n = 0;
	show(ioctl(fd, FIONBIO, &n));
	show(ioctl(fd, FIONREAD, &n));
	show(n);
	show(ioctl(l, FIONREAD, &n));
	show(ioctl(fd, SIOCATMARK, &n));
	show(n);
	show(ioctl(fd, TIOCOUTQ, &n));
	show(n);
	show(ioctl(fd, SIOCGIFINDEX, &ifr));
	show(ifr.ifr_ifindex);
	show(ioctl(fd, SIOCGIFFLAGS, &ifr));
	show((ifr.ifr_flags & IFF_LOOPBACK) != 0);
	show(ioctl(fd, FIOCLEX));
	show(fcntl(fd, F_GETFD));
	show(ioctl(fd, TIOCGWINSZ, buf));
}

static void datagram_options(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	show(set(fd, SOL_SOCKET, SO_BROADCAST, 1));
	show(set(fd, IPPROTO_IP, IP_MULTICAST_TTL, 5));
	show(connect(fd, AT(PEER, UECHO)));
	show(get(fd, SOL_SOCKET, SO_BROADCAST));
	show(get(fd, IPPROTO_IP, IP_MULTICAST_TTL));
	show(get(fd, IPPROTO_IP, IP_MULTICAST_LOOP));
	show(get(fd, IPPROTO_IP, IP_TTL));
	show(get(fd, SOL_SOCKET, SO_PROTOCOL));
	show(set(fd, IPPROTO_TCP, TCP_NODELAY, 1));
	show(get(fd, IPPROTO_TCP, TCP_NODELAY));
	show(set(fd, IPPROTO_IP, IP_RECVERR, 1));
	show(get(fd, IPPROTO_IP, IP_RECVERR));
	show(set(fd, IPPROTO_IP, IP_PKTINFO, 1));
	show(get(fd, IPPROTO_IP, IP_PKTINFO));
	show(get(fd, IPPROTO_IP, IP_MTU) >= 1280);
}

const struct call_case option_cases[] = {
	{"defaults", defaults},
	{"after_connect", after_connect},
	{"carried", carried},
	{"accepted", accepted},
	{"buffers", buffers},
	{"values", values},
	{"advice", advice},
	{"info", info},
	{"backlog", backlog},
	{"controls", controls},
	{"datagram_options", datagram_options},
	{NULL, NULL},
};
