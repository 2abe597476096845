/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sendfile and splice. A file is read straight into buffers that the stack sends: one copy, as the
 * kernel's own when it has no pages to share. tee and copy_file_range need no hook: of a
 * placeholder they say what they say of any socket.
 *
 * A pipe's bytes can't be put back, nor a socket's. So from a pipe only as much is taken as one
 * buffer has, when the socket has room; and a socket's bytes are looked at first, and taken when
 * the pipe has them.
 */
#include <stdlib.h>

#include "preload/preload.h"

#define PIECE ZS_BUF_MAX

static bool nonblocking(int fd)
{
	return (zs_fcntl(fd, F_GETFL) & O_NONBLOCK) != 0;
}

/* ---- sendfile ---- */

/* One buffer: how many bytes went; 0 the end of the file; -errno. */
static long send_piece(int out, int in, off64_t at, size_t len)
{
	struct zs_buf b;
	ssize_t n;
	long r;

	r = zs_buf_alloc(out, len < PIECE ? (uint32_t)len : PIECE, &b);
	if (r < 0)
		return r;
	n = pread64(in, b.data, b.len, at);
	r = n < 0 ? -errno : n;
	b.len = n > 0 ? (uint32_t)n : 0;
	if (n > 0)
		r = zs_send_zc(out, &b, 1, 0, 0);
	if (n <= 0 || r <= 0)
		(void)zs_buf_release(&b, 1);
	return n > 0 && r > 0 ? n : r;
}

/* The memory for buffers is all in use: a socket that waits does so with a copy of its own. */
static long send_copied(int out, int in, off64_t at, size_t len)
{
	char buf[4096];
	ssize_t n;

	if (nonblocking(out))
		return -EAGAIN;
	n = pread64(in, buf, len < sizeof(buf) ? len : sizeof(buf), at);
	return n <= 0 ? (n < 0 ? -errno : 0) : zs_write(out, buf, (size_t)n);
}

static long send_file(int out, int in, off64_t *at, size_t len)
{
	size_t done = 0;
	long r = 1;

	while (done < len && r > 0) {
		r = send_piece(out, in, *at, len - done);
		if (r == -ENOBUFS)
			r = send_copied(out, in, *at, len - done);
		if (r > 0) {
			done += (size_t)r;
			*at += r;
		}
	}
	return done > 0 ? (long)done : r;
}

/* Why sendfile() refuses a source of which nothing was read: anything but files and block devices.
 * Asked afterwards, since nearly always it is a file. */
static int source_error(int in)
{
	int flags = real.fcntl(in, F_GETFL);
	struct stat st;

	if (flags < 0 || (flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	if (fstat(in, &st) != 0)
		return -errno;
	return S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? 0 : -EINVAL;
}

static ssize_t sendfile_ours(int out, int in, off64_t *offset, size_t len)
{
	off64_t at = offset != NULL ? *offset : lseek64(in, 0, SEEK_CUR);
	long r = at < 0 ? -EINVAL : 0, why;

	if (r == 0 && len > 0)
		CALL(r, send_file(out, in, &at, len));
	if (r <= 0) {
		why = source_error(in);
		r = why < 0 ? why : r;
	}
	if (r > 0 && offset != NULL)
		*offset = at;
	else if (r > 0)
		lseek64(in, at, SEEK_SET);
	return write_result(out, r, 0);
}

ssize_t sendfile(int out, int in, off_t *offset, size_t len)
{
	off64_t at = offset != NULL ? *offset : 0;
	ssize_t n;

	if (likely(!fd_is_ours(out)))
		return fd_is_ours(in) ? result(-EINVAL) : real.sendfile(out, in, offset, len);
	n = sendfile_ours(out, in, offset != NULL ? &at : NULL, len);
	if (n > 0 && offset != NULL)
		*offset = at;
	return n;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t len)
{
	if (likely(!fd_is_ours(out)))
		return fd_is_ours(in) ? result(-EINVAL) : real.sendfile64(out, in, offset, len);
	return sendfile_ours(out, in, offset, len);
}

/* ---- splice: SPLICE_F_NONBLOCK is for the pipe; the socket has O_NONBLOCK, as on Linux ---- */

/* Is there something in the pipe, or room, now or in the end? 0, -EAGAIN, -EINTR. */
static int pipe_wait(int fd, short events, unsigned flags)
{
	struct pollfd p = {.fd = fd, .events = events};
	bool now = (flags & SPLICE_F_NONBLOCK) || (real.fcntl(fd, F_GETFL) & O_NONBLOCK);
	int n = real.poll(&p, 1, now ? 0 : -1);

	return n > 0 ? 0 : n == 0 ? -EAGAIN : -errno;
}

static long splice_out(int in, int out, size_t len, unsigned flags)
{
	int more = flags & SPLICE_F_MORE ? MSG_MORE : 0, r = pipe_wait(in, POLLIN, flags);
	struct pollfd room = {.fd = out, .events = POLLOUT};
	bool waits = !nonblocking(out);
	struct zs_buf b;
	ssize_t n;

	if (r == 0)
		r = zs_poll(&room, 1, waits ? -1 : 0) > 0 ? 0 : -EAGAIN;
	if (r == 0)
		r = zs_buf_alloc(out, len < PIECE ? (uint32_t)len : PIECE, &b);
	if (r < 0)
		return r == -ENOBUFS ? -EAGAIN : r;
	n = real.read(in, b.data, b.len);
	r = n < 0 ? -errno : 0;
	b.len = n > 0 ? (uint32_t)n : 0;
	while (n > 0 && r == 0) {
		r = zs_send_zc(out, &b, 1, 0, more);
		/* Others filled it meanwhile; what we have must go. */
		if (r == -EAGAIN)
			r = zs_poll(&room, 1, -1) > 0 ? 0 : -EINTR;
	}
	if (n <= 0 || r <= 0)
		(void)zs_buf_release(&b, 1);
	return n > 0 && r > 0 ? n : r;
}

static long splice_in(int in, int out, size_t len, unsigned flags)
{
	int r = pipe_wait(out, POLLOUT, flags);
	char *buf = r == 0 ? malloc(PIECE) : NULL;
	ssize_t n, k;

	if (buf == NULL)
		return r < 0 ? r : -ENOMEM;
	n = zs_recv(in, buf, len < PIECE ? len : PIECE, MSG_PEEK);
	if (n > 0) {
		k = real.write(out, buf, (size_t)n);
		n = k < 0 ? -errno : zs_recv(in, buf, (size_t)k, MSG_TRUNC | MSG_DONTWAIT);
	}
	free(buf);
	return n;
}

ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t len, unsigned flags)
{
	struct stat st;
	long r;

	if (likely(!fd_is_ours(in) && !fd_is_ours(out)))
		return real.splice(in, in_at, out, out_at, len, flags);
	if (fd_is_ours(in) && fd_is_ours(out))
		return result(-EINVAL);
	if (fstat(fd_is_ours(in) ? out : in, &st) != 0)
		return -1;
	if ((fd_is_ours(in) ? out_at : in_at) != NULL && S_ISFIFO(st.st_mode))
		return result(-ESPIPE);
	if (!S_ISFIFO(st.st_mode) || in_at != NULL || out_at != NULL)
		return result(-EINVAL);
	if (len == 0)
		return 0;
	if (fd_is_ours(in))
		CALL(r, splice_in(in, out, len, flags));
	else
		CALL(r, splice_out(in, out, len, flags));
	return fd_is_ours(out) ? write_result(out, r, 0) : result(r);
}
