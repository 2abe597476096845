/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Streams on sockets of ours. The C library's own would call its read and write past the hooks; one
 * of fopencookie() calls ours. Its number is written into it, for fileno().
 *
 * stdin, stdout and stderr are variables: when 0, 1 or 2 become sockets of ours they point to such
 * streams, and back to what they were when the numbers are the kernel's again.
 *
 * Not done: freopen(); a program that has kept the old value of stdout.
 */
#include <stdlib.h>
#include <string.h>

#include "preload/preload.h"

static int cookie_fd(void *cookie)
{
	return (int)(intptr_t)cookie;
}

static ssize_t stream_read(void *cookie, char *buf, size_t len)
{
	return hook_read(cookie_fd(cookie), buf, len);
}

/* 0 is what tells an error of fopencookie()'s. */
static ssize_t stream_write(void *cookie, const char *buf, size_t len)
{
	ssize_t n = hook_write(cookie_fd(cookie), buf, len);

	return n < 0 ? 0 : n;
}

static int stream_seek(void *cookie, off64_t *at, int whence)
{
	return (int)result(-ESPIPE);
}

static int stream_close(void *cookie)
{
	return hook_close(cookie_fd(cookie));
}

static bool mode_fits(const char *mode)
{
	return mode != NULL && (*mode == 'r' || *mode == 'w' || *mode == 'a');
}

FILE *fdopen(int fd, const char *mode)
{
	cookie_io_functions_t io = {stream_read, stream_write, stream_seek, stream_close};
	FILE *f;

	if (likely(!fd_is_ours(fd)))
		return real.fdopen(fd, mode);
	if (!mode_fits(mode) || fd_kind(fd) == FD_OWN) {
		errno = mode_fits(mode) ? EBADF : EINVAL;
		return NULL;
	}
	f = fopencookie((void *)(intptr_t)fd, mode, io);
	if (f != NULL)
		f->_fileno = fd;
	return f;
}

/* ---- stdin, stdout, stderr ---- */

static struct {
	FILE *ours, *first;
} standard[3];
static FILE **const variable[3] = {&stdin, &stdout, &stderr};

void stdio_take(int fd)
{
	static const cookie_io_functions_t io = {stream_read, stream_write, stream_seek, NULL};
	FILE *f;

	if ((unsigned)fd >= array_size(standard) || standard[fd].ours != NULL)
		return;
	f = fopencookie((void *)(intptr_t)fd, fd == 0 ? "r" : "w", io);
	if (f == NULL)
		return;
	f->_fileno = fd;
	if (fd == 2)
		setvbuf(f, NULL, _IONBF, 0);
	fflush(*variable[fd]);
	standard[fd].first = *variable[fd];
	standard[fd].ours = *variable[fd] = f;
}

void stdio_give_back(int fd)
{
	FILE *f;

	if ((unsigned)fd >= array_size(standard) || standard[fd].ours == NULL)
		return;
	f = standard[fd].ours;
	standard[fd].ours = NULL;
	fflush(f);
	if (*variable[fd] == f)
		*variable[fd] = standard[fd].first;
	real.fclose(f);
}

/* ---- dprintf ---- */

int vdprintf(int fd, const char *fmt, va_list ap)
{
	char *text = NULL;
	int n, err;
	size_t at = 0;

	if (likely(!fd_is_ours(fd)))
		return real.vdprintf(fd, fmt, ap);
	n = vasprintf(&text, fmt, ap);
	if (n < 0)
		return n;
	while (n > 0 && at < (size_t)n) {
		ssize_t k = hook_write(fd, text + at, (size_t)n - at);

		if (k < 0)
			n = -1;
		at += k > 0 ? (size_t)k : 0;
	}
	err = errno;
	free(text);
	errno = err;
	return n;
}

int dprintf(int fd, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vdprintf(fd, fmt, ap);
	va_end(ap);
	return n;
}

int __vdprintf_chk(int fd, int flag, const char *fmt, va_list ap)
{
	return fd_is_ours(fd) ? vdprintf(fd, fmt, ap) : real.__vdprintf_chk(fd, flag, fmt, ap);
}

int __dprintf_chk(int fd, int flag, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __vdprintf_chk(fd, flag, fmt, ap);
	va_end(ap);
	return n;
}
