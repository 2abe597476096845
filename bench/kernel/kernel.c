/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The part of Z-Stack's API that the examples use, on the kernel's sockets: so that a comparison is
 * between two stacks and not between two programs. `http_kernel` is examples/http with this behind
 * it instead of libzstack, as a good program for the kernel would be: non-blocking sockets, one
 * epoll set, edge-triggered, one system call to receive and one (sendmsg, gathering) to send.
 *
 * What differs: received bytes are copied by the kernel into blocks of 64 KiB, sent ones out of
 * them; a buffer counts as sent when the kernel has copied it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zstack/stats.h>
#include <zstack/zc.h>
#include <zstack/zstack.h>

#define MAX_FD	65536
#define MAX_IOV 64
#define SMALL	2048

/* In front of the bytes of each buffer; the handle is its address. */
struct block {
	struct block *next; /* free ones */
	uint32_t refs, bytes;
	char data[];
};

struct zs_config {
	char error[128];
};

static struct block *free_block[2]; /* SMALL, and ZS_BUF_MAX */

/* What is left of a buffer that the kernel took a part of, and what is to be done after it. */
struct pending {
	struct zs_buf rest; /* handle 0: nothing */
	uint64_t cookies;
	bool listed, shut, closed;
};
static struct pending pending[MAX_FD];
static int list[MAX_FD], listed; /* descriptors with a rest */
static int set = -1;		 /* a program has one epoll set */
static struct zs_stats stats;

static int result(long n)
{
	return n < 0 ? -errno : (int)n;
}

/* ---- configuration: the options of the command line mean nothing here ---- */

struct zs_config *zs_config_new(void)
{
	return calloc(1, sizeof(struct zs_config));
}

void zs_config_free(struct zs_config *config)
{
	free(config);
}

int zs_config_args(struct zs_config *config, int *argc, char **argv)
{
	return 0;
}

const char *zs_config_usage(void)
{
	return "  on the kernel's sockets: there are no options\n";
}

const char *zs_config_error(const struct zs_config *config)
{
	return config->error;
}

int zs_start(struct zs_config *config)
{
	return 0;
}

void zs_stop(void)
{
}

int zs_stats(struct zs_stats *out, size_t size)
{
	memcpy(out, &stats, size);
	return 0;
}

int zs_dump(enum zs_dump_what what, FILE *out)
{
	return 0;
}

/* ---- sockets ---- */

int zs_socket(int domain, int type, int protocol)
{
	const int one = 1;
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);

	if (fd >= MAX_FD) {
		close(fd);
		return -EMFILE;
	}
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	return result(fd);
}

int zs_bind(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
	return result(bind(fd, addr, addrlen));
}

int zs_listen(int fd, int backlog)
{
	return result(listen(fd, backlog));
}

int zs_accept4(int fd, struct sockaddr *addr, socklen_t *addrlen, int flags)
{
	int s = accept4(fd, addr, addrlen, flags | SOCK_CLOEXEC);

	if (s >= MAX_FD) {
		close(s);
		return -EMFILE;
	}
	stats.accepts += s >= 0;
	return result(s);
}

int zs_shutdown(int fd, int how)
{
	if (pending[fd].rest.handle != 0 && how == SHUT_WR) {
		pending[fd].shut = true;
		return 0;
	}
	return result(shutdown(fd, how));
}

int zs_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	return result(setsockopt(fd, level, name, value, len));
}

int zs_epoll_create1(int flags)
{
	set = epoll_create1(EPOLL_CLOEXEC);
	return result(set);
}

int zs_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return result(epoll_ctl(epfd, op, fd, event));
}

/* ---- buffers ---- */

static struct block *block_of(const struct zs_buf *b)
{
	return (struct block *)(uintptr_t)b->handle;
}

int zs_buf_alloc(int fd, uint32_t size, struct zs_buf *buf)
{
	unsigned class = size > SMALL;
	struct block *b = free_block[class];

	if (b != NULL)
		free_block[class] = b->next;
	else
		b = malloc(sizeof(*b) + (class ? ZS_BUF_MAX : SMALL));
	if (b == NULL)
		return -ENOBUFS;
	b->refs = 1;
	b->bytes = class;
	*buf = (struct zs_buf){.data = b->data, .len = size, .handle = (uintptr_t)b};
	return 0;
}

int zs_buf_ref(const struct zs_buf *buf)
{
	block_of(buf)->refs++;
	return 0;
}

int zs_buf_release(const struct zs_buf *bufs, int n)
{
	for (int i = 0; i < n; i++) {
		struct block *b = block_of(&bufs[i]);

		if (b == NULL || --b->refs > 0)
			continue;
		b->next = free_block[b->bytes];
		free_block[b->bytes] = b;
	}
	return 0;
}

int zs_recv_zc(int fd, struct zs_buf *bufs, int n, int flags)
{
	struct zs_buf b;
	int e = zs_buf_alloc(fd, ZS_BUF_MAX, &b);
	ssize_t got;

	if (e < 0)
		return e;
	got = recv(fd, b.data, b.len, flags);
	if (got <= 0) {
		e = result(got);
		zs_buf_release(&b, 1);
		return e;
	}
	b.len = (uint32_t)got;
	*bufs = b;
	stats.rx_bytes += (uint64_t)got;
	stats.api_copied_bytes += (uint64_t)got;
	return 1;
}

static int gather(const struct zs_buf *bufs, int n, struct iovec *iov)
{
	for (int i = 0; i < n; i++)
		iov[i] = (struct iovec){.iov_base = bufs[i].data, .iov_len = bufs[i].len};
	return n;
}

/* How many of the buffers `taken` bytes are; what remains of the last one is kept in rest[fd]. */
static int account(int fd, const struct zs_buf *bufs, int n, uint64_t taken)
{
	int i = 0;

	stats.tx_bytes += taken;
	stats.api_copied_bytes += taken;
	for (; i < n && taken >= bufs[i].len; i++)
		taken -= bufs[i].len;
	zs_buf_release(bufs, i);
	if (taken == 0)
		return i;
	struct pending *p = &pending[fd];

	p->rest = bufs[i];
	p->rest.data = (char *)p->rest.data + taken;
	p->rest.len -= (uint32_t)taken;
	if (!p->listed)
		list[listed++] = fd;
	p->listed = true;
	return i + 1;
}

/* 0 when nothing is left. */
static int send_rest(int fd)
{
	struct zs_buf b = pending[fd].rest;
	ssize_t n;

	if (b.handle == 0)
		return 0;
	n = send(fd, b.data, b.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	pending[fd].rest.handle = 0;
	account(fd, &b, 1, (uint64_t)n);
	return pending[fd].rest.handle == 0 ? 0 : -EAGAIN;
}

/* Sends the rests that can be sent now, and does what waited for them. */
static void run_pending(void)
{
	for (int i = 0; i < listed;) {
		int fd = list[i];
		struct pending *p = &pending[fd];

		if (send_rest(fd) == -EAGAIN) {
			i++;
			continue;
		}
		list[i] = list[--listed];
		if (p->closed)
			close(fd);
		else if (p->shut)
			shutdown(fd, SHUT_WR);
		zs_buf_release(&p->rest, 1); /* of a connection that broke */
		*p = (struct pending){.cookies = p->cookies};
	}
}

int zs_epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	int n = epoll_wait(epfd, events, maxevents, listed > 0 && timeout != 0 ? 1 : timeout);

	n = result(n);
	if (listed > 0)
		run_pending();
	return n;
}

int zs_send_zc(int fd, const struct zs_buf *bufs, int n, uint64_t cookie, int flags)
{
	struct iovec iov[MAX_IOV];
	struct msghdr m = {.msg_iov = iov};
	ssize_t taken;
	int e = send_rest(fd);

	if (e < 0)
		return e;
	m.msg_iovlen = (size_t)gather(bufs, n < MAX_IOV ? n : MAX_IOV, iov);
	taken = sendmsg(fd, &m, flags | MSG_NOSIGNAL);
	if (taken < 0)
		return -errno;
	pending[fd].cookies += cookie;
	return account(fd, bufs, n, (uint64_t)taken);
}

/* The kernel has its own copy by now. The server's cookies are lengths, so their sum is as good. */
int zs_sent_zc(int fd, uint64_t *out, int n)
{
	if (n < 1 || pending[fd].cookies == 0)
		return 0;
	*out = pending[fd].cookies;
	pending[fd].cookies = 0;
	return 1;
}

int zs_close(int fd)
{
	if (pending[fd].listed) {
		epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
		pending[fd].closed = true;
		return 0;
	}
	pending[fd].cookies = 0;
	return result(close(fd));
}
