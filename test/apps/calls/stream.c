/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP: from socket() to its end.
 */
#include "calls.h"

static void connect_errors(void)
{
	struct sockaddr_in a = at(PEER, ECHO);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	show(connect(fd, (struct sockaddr *)&a, 4));
	show(connect(fd, AT(PEER, NOBODY)));
	show(connect(fd, AT(PEER, ECHO)));
	show(connect(fd, AT(PEER, ECHO)));
	show(close(fd));
	show(connect(fd, AT(PEER, ECHO)));
	fd = socket(AF_INET6, SOCK_STREAM, 0);
	show(connect(fd, AT(PEER, ECHO)));
}

static void unconnected(void)
{
	char buf[8] = "x";
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	show(bind(fd, AT(OWN, 0)));
	show(bind(fd, AT(OWN, 0)));
	show(read(fd, buf, 1));
	show(recv(fd, buf, 1, MSG_DONTWAIT));
	signal(SIGPIPE, SIG_IGN);
	show(write(fd, buf, 1));
	show(send(fd, buf, 1, MSG_NOSIGNAL));
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	show(shutdown(fd, SHUT_WR));
	show(accept(fd, NULL, NULL));
	show(listen(fd, 5));
	show(connect(fd, AT(PEER, ECHO)));
	show(read(fd, buf, 1));
	show(bind(fd, AT(OWN, 0)));
	show(close(fd));
}

static void echoes(void)
{
	char buf[64] = {0};
	int fd = tcp_to(ECHO);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	show(write(fd, "ping", 4));
	show(read_full(fd, buf, 4));
	show_bytes("got", buf, 4);
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	printf("%s %d\n", inet_ntoa(a.sin_addr), ntohs(a.sin_port));
	len = 3;
	show(getpeername(fd, (struct sockaddr *)&a, &len));
	printf("len %u\n", len);
	len = sizeof(a);
	show(getsockname(fd, (struct sockaddr *)&a, &len));
	printf("%s %u\n", inet_ntoa(a.sin_addr), len);
	show(getsockname(fd, NULL, NULL));
	signal(SIGPIPE, SIG_IGN);
	show(shutdown(fd, SHUT_WR));
	show(write(fd, "", 0));
	show(read(fd, buf, sizeof(buf)));
	show(read(fd, buf, sizeof(buf)));
	show(shutdown(fd, 7));
	show(close(fd));
	show(close(fd));
}

static volatile sig_atomic_t pipes;

static void on_pipe(int sig)
{
	pipes++;
}

static void broken_pipe(void)
{
	int fd = tcp_to(ECHO);

	signal(SIGPIPE, on_pipe);
	show(shutdown(fd, SHUT_WR));
	show(write(fd, "x", 1));
	show(pipes);
	show(send(fd, "x", 1, 0));
	show(pipes);
	show(send(fd, "x", 1, MSG_NOSIGNAL));
	show(pipes);
	struct iovec v = {"x", 1};
	show(writev(fd, &v, 1));
	show(pipes);
	show(sendto(fd, "x", 1, 0, NULL, 0));
	show(pipes);
	show(sendfile(fd, open("/proc/self/exe", O_RDONLY), NULL, 10));
	show(pipes);
}

static void reset_by_peer(void)
{
	char buf[8];
	int fd = tcp_to(RESET), err = -1;
	socklen_t len = sizeof(err);

	signal(SIGPIPE, on_pipe);
	show(write(fd, "x", 1));
	show(readable(fd));
	show(read(fd, buf, 8));
	show(read(fd, buf, 8));
	show(write(fd, "x", 1));
	show(pipes);
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	show(err);
	fd = tcp_to(RESET);
	show(write(fd, "x", 1));
	show(readable(fd));
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	show(err);
	show(read(fd, buf, 8));
	show(shutdown(fd, SHUT_RDWR));
}

static void end_of_stream(void)
{
	char buf[32];
	int fd = tcp_to(LAST);

	show(readable(fd));
	show(recv(fd, buf, 3, MSG_PEEK));
	show_bytes("peek", buf, 3);
	show(recv(fd, buf, sizeof(buf), MSG_WAITALL));
	show_bytes("all", buf, 7);
	show(recv(fd, buf, sizeof(buf), 0));
	show(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
	show(write(fd, "more", 4));
	show(shutdown(fd, SHUT_RD));
	show(read(fd, buf, 1));
}

static void flags(void)
{
	char buf[32] = {0};
	int fd = tcp_to(GREET);

	show(readable(fd));
	show(recv(fd, buf, 2, MSG_TRUNC));
	printf("kept %d\n", buf[0]);
	show(recv(fd, buf, 3, MSG_PEEK | MSG_WAITALL));
	show_bytes("peek", buf, 3);
	show(recv(fd, buf, 5, MSG_WAITALL));
	show_bytes("five", buf, 5);
	show(recv(fd, buf, 1, MSG_OOB));
	show(recv(fd, buf, 1, MSG_ERRQUEUE));
	show(recv(fd, buf, 0, MSG_DONTWAIT));
	show(recv(fd, buf, 31, MSG_DONTWAIT | MSG_NOSIGNAL));
	show(recv(fd, buf, 31, MSG_DONTWAIT));
	show(read(fd, buf, 0));
	show(send(fd, "x", 1, MSG_DONTROUTE));
	show(send(fd, "x", 1, MSG_EOR | MSG_CONFIRM | MSG_MORE));
	show(send(fd, "x", 1, MSG_ZEROCOPY));
	show(send(fd, NULL, 1, 0));
}

/* What is thrown away needs no place. */
static void discarded(void)
{
	char buf[8] = {0};
	struct iovec v = {NULL, 2};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	int fd = tcp_to(GREET);

	show(readable(fd));
	show(recv(fd, NULL, 2, MSG_TRUNC));
	show(recvmsg(fd, &m, MSG_TRUNC));
	show(recvfrom(fd, NULL, 4, MSG_TRUNC | MSG_PEEK, NULL, NULL));
	show(recv(fd, buf, 3, MSG_TRUNC | MSG_PEEK));
	printf("kept %d\n", buf[0]);
	show(recvfrom(fd, NULL, 1, MSG_TRUNC, NULL, NULL));
	show(recv(fd, buf, 4, 0));
	show_bytes("then", buf, 4);
	show(recv(fd, NULL, 64, MSG_TRUNC | MSG_DONTWAIT));
	show(recv(fd, NULL, 64, MSG_TRUNC | MSG_DONTWAIT));
}

static void vectors(void)
{
	char a[3], b[8], c[8];
	struct iovec out[] = {{"one", 3}, {"", 0}, {"twothree", 8}};
	struct iovec in[] = {{a, 3}, {b, 3}, {c, 8}};
	struct msghdr m = {.msg_iov = in, .msg_iovlen = 3};
	volatile int less = -1, more = 1025; /* the compiler knows better */
	int fd = tcp_to(ECHO);

	show(writev(fd, out, 3));
	show(readable(fd));
	show(readv(fd, in, 2));
	show_bytes("a", a, 3);
	show_bytes("b", b, 3);
	show(readable(fd));
	m.msg_controllen = 0;
	m.msg_namelen = 77;
	show(recvmsg(fd, &m, 0));
	printf("flags %x namelen %u\n", m.msg_flags, m.msg_namelen);
	show_bytes("a", a, 3);
	show_bytes("b", b, 2);
	show(writev(fd, out, less));
	show(readv(fd, in, more));
	show(writev(fd, out, 0));
	show(readv(fd, in, 0));
	m = (struct msghdr){.msg_iov = out, .msg_iovlen = 3};
	show(sendmsg(fd, &m, 0));
	show(read_full(fd, c, 8));
	show_bytes("c", c, 8);
	m.msg_iovlen = 5000;
	show(sendmsg(fd, &m, 0));
	show(preadv2(fd, in, 1, -1, 0));
	show(preadv2(fd, in, 1, 0, 0));
	show(pwritev2(fd, out, 1, -1, 0));
	show(pread(fd, a, 3, 0));
	show(pwrite(fd, a, 3, 0));
	show(preadv(fd, in, 1, 0));
	show(pwritev(fd, out, 1, 0));
	show(lseek(fd, 0, SEEK_CUR));
}

static void accepts(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	char buf[32];
	int port, l = listener(&port), c = call_me(port), s, on = -1;

	show(readable(l));
	s = accept(l, (struct sockaddr *)&a, &len);
	show(s > l);
	printf("%s len %u\n", inet_ntoa(a.sin_addr), len);
	show(read_full(s, buf, 9));
	show_bytes("got", buf, 9);
	show(fcntl(s, F_GETFL) & O_NONBLOCK);
	show(fcntl(s, F_GETFD));
	len = sizeof(on);
	show(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &on, &len));
	show(on);
	show(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &on, &len));
	show(on);
	show(close(s));
	show(close(c));
	c = call_me(port);
	show(readable(l));
	s = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	show((fcntl(s, F_GETFL) & O_NONBLOCK) != 0);
	show(fcntl(s, F_GETFD));
	show(accept4(l, NULL, NULL, 1));
	show(fcntl(l, F_SETFL, O_NONBLOCK));
	show(accept(l, NULL, NULL));
	show(read(l, buf, 1));
	show(connect(l, AT(PEER, ECHO)));
	show(listen(l, 1));
	show(getpeername(l, (struct sockaddr *)&a, &len));
	show(accept(s, NULL, NULL));
	show(shutdown(l, SHUT_RD));
	show(accept(l, NULL, NULL));
}

static void nonblocking_connect(void)
{
	struct pollfd p;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), err = -1;
	socklen_t len = sizeof(err);

	show(connect(fd, AT(PEER, ECHO)));
	p = (struct pollfd){.fd = fd, .events = POLLOUT};
	show(poll(&p, 1, 2000));
	printf("revents %x\n", p.revents);
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	show(err);
	show(connect(fd, AT(PEER, ECHO)));
	show(connect(fd, AT(PEER, ECHO)));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	show(connect(fd, AT(PEER, NOBODY)));
	p = (struct pollfd){.fd = fd, .events = POLLOUT | POLLIN};
	show(poll(&p, 1, 2000));
	printf("revents %x\n", p.revents);
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	printf("%s\n", strerrorname_np(err));
	show(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	show(err);
}

static void urgent(void)
{
	char buf[16];
	int fd = tcp_to(URGENT), n = -1, one = 1;
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLPRI};

	usleep(300000);
	show(poll(&p, 1, 2000));
	printf("revents %x\n", p.revents);
	show(sockatmark(fd));
	show(ioctl(fd, FIONREAD, &n));
	show(n);
	show(recv(fd, buf, 16, MSG_OOB));
	show_bytes("oob", buf, 1);
	show(recv(fd, buf, 16, MSG_OOB));
	show(recv(fd, buf, 16, 0));
	show(sockatmark(fd));
	show(recv(fd, buf, 16, 0));
	show_bytes("rest", buf, 2);
	fd = tcp_to(URGENT);
	show(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof(one)));
	usleep(300000);
	show(recv(fd, buf, 16, MSG_OOB));
	show(recv(fd, buf, 16, 0));
	show(sockatmark(fd));
	show(recv(fd, buf, 16, 0));
	show_bytes("inline", buf, 3);
}

static void fast_open(void)
{
	char buf[8];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	show(sendto(fd, "hello", 5, MSG_FASTOPEN, AT(PEER, ECHO)));
	show(read_full(fd, buf, 5));
	show_bytes("got", buf, 5);
}

const struct call_case stream_cases[] = {
	{"connect_errors", connect_errors},
	{"unconnected", unconnected},
	{"echoes", echoes},
	{"broken_pipe", broken_pipe},
	{"reset_by_peer", reset_by_peer},
	{"end_of_stream", end_of_stream},
	{"flags", flags},
	{"discarded", discarded},
	{"vectors", vectors},
	{"accepts", accepts},
	{"nonblocking_connect", nonblocking_connect},
	{"urgent", urgent},
	{"fast_open", fast_open},
	{NULL, NULL},
};
