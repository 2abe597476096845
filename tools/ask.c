/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Requests to the service and their answers. The connection stays for the next request. A service
 * that is there and says nothing for some seconds is given up; an answer may go on as long as it
 * goes on arriving.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "chan/attach.h"
#include "zstack.h"

#define PATIENCE_S 10

static int failed(const struct tool *t, int err)
{
	const char *why = err == ECONNREFUSED || err == ENOENT ? "no zstackd answers there"
			  : err == EACCES || err == EPERM      ? "no permission to connect"
			  : err == ECONNRESET		       ? "zstackd ended the connection"
			  : err == EAGAIN		       ? "zstackd does not answer"
			  : err == EPROTONOSUPPORT
				  ? "this zstack and that zstackd are of different versions"
				  : strerror(err);

	fprintf(stderr, "zstack: %s: %s\n", t->socket, why);
	return -1;
}

/* How long to wait for room, or for the next piece; 0: for ever. */
static void patience(int fd, double s)
{
	struct timeval tv = {.tv_sec = (time_t)s, .tv_usec = (suseconds_t)((s - (time_t)s) * 1e6)};

	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static int connect_to(struct tool *t)
{
	struct sockaddr_un to;
	socklen_t len;

	if (t->fd >= 0)
		return 0;
	if (attach_address(t->socket, &to, &len) < 0)
		return failed(t, ENAMETOOLONG);
	t->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (t->fd < 0)
		return failed(t, errno);
	patience(t->fd, PATIENCE_S);
	return connect(t->fd, (struct sockaddr *)&to, len) < 0 ? failed(t, errno) : 0;
}

int ask_begin(struct tool *t, json_t *request)
{
	struct attach_piece p;
	size_t len =
		json_dumpb(request, p.bytes, ATTACH_MSG_MAX - sizeof(p.head) - 1, JSON_COMPACT);
	int rc;

	json_decref(request);
	if (len == 0 || len >= ATTACH_MSG_MAX - sizeof(p.head)) {
		fprintf(stderr, "zstack: the arguments are too long\n");
		return -1;
	}
	if (connect_to(t) < 0)
		return -1;
	patience(t->fd, PATIENCE_S + t->takes_s);
	rc = attach_send(t->fd, ATTACH_ADMIN, &p, sizeof(p.head) + len, NULL, 0);
	return rc < 0 ? failed(t, -rc == EPIPE ? ECONNRESET : -rc) : 0;
}

/* An object with the key "error" is one; says it. */
static bool is_error(const json_t *o)
{
	const char *why = json_string_value(json_object_get(o, "error"));

	if (why != NULL)
		fprintf(stderr, "zstack: %s\n", why);
	return why != NULL;
}

/* The next piece of the answer, at most ATTACH_PIECE_MAX; 0 at the end. */
static ssize_t ask_piece(struct tool *t, char *out)
{
	struct attach_piece p;
	ssize_t n;

	do {
		n = attach_recv_piece(t->fd, &p);
	} while (n == -EINTR && !interrupted);
	if (n == -EINTR)
		return -1;
	if (n < 0)
		return failed(t, (int)-n);
	memcpy(out, p.bytes, (size_t)n);
	return n;
}

ssize_t ask_bytes(struct tool *t, char *out)
{
	ssize_t n = ask_piece(t, out);
	json_t *o;
	bool bad;

	/* It has begun; what there is to be told of may be long in coming. */
	if (n > 0)
		patience(t->fd, 0);
	if (n <= 0 || out[0] != '{')
		return n;
	o = json_loadb(out, (size_t)n, JSON_DISABLE_EOF_CHECK, NULL);
	bad = is_error(o);
	json_decref(o);
	return bad ? -1 : n;
}

/* The whole lines at the beginning of text: to line. How many bytes they were, -1: an error. */
static ssize_t lines(const char *text, size_t len, ask_line line, void *arg)
{
	size_t at = 0;
	const char *end;

	while ((end = memchr(text + at, '\n', len - at)) != NULL) {
		json_t *o = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL);
		bool bad = is_error(o);

		if (o != NULL && !bad)
			line(arg, o);
		json_decref(o);
		if (bad)
			return -1;
		at = (size_t)(end - text) + 1;
	}
	return (ssize_t)at;
}

/* Room for a piece behind what is there. */
static bool more_room(char **text, size_t len, size_t *size)
{
	char *grown;

	if (*size - len >= ATTACH_PIECE_MAX)
		return true;
	grown = realloc(*text, *size + 4 * ATTACH_PIECE_MAX);
	if (grown == NULL)
		return false;
	*text = grown;
	*size += 4 * ATTACH_PIECE_MAX;
	return true;
}

int ask(struct tool *t, json_t *request, ask_line line, void *arg)
{
	char *text = NULL;
	size_t len = 0, size = 0;
	ssize_t n = ask_begin(t, request), used;

	while (n >= 0) {
		if (!more_room(&text, len, &size)) {
			n = failed(t, ENOMEM);
			break;
		}
		n = ask_piece(t, text + len);
		if (n <= 0)
			break;
		len += (size_t)n;
		used = lines(text, len, line, arg);
		if (used < 0) {
			n = -1;
			break;
		}
		memmove(text, text + used, len - (size_t)used);
		len -= (size_t)used;
	}
	free(text);
	return n < 0 ? -1 : 0;
}
