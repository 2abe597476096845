/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exec() in a program that is attached to a service (docs/design/011, 5): the program to come is a
 * child as fork makes one (fork.c), but nothing of the client's tables goes along. So what it needs
 * is in the mail when it starts: one descriptor survives, a UNIX socket, in which lies WELCOME with
 * the child's descriptors and one more, of a memfd that says which sockets there are.
 *
 *	[ struct exec_head | struct exec_item, its options | ... ]
 *
 * A child of fork that has done nothing with its sockets yet puts its own WELCOME there: it is the
 * same process.
 *
 * If exec fails, closing that socket undoes everything: with the letter in it goes the child's
 * connection, the service knows that there is no child, and its sockets have one holder again.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/exec.h"
#include "client/image.h"

#define EXEC_MAGIC 0x4558535au
#define BYTES_MAX  (256u << 20)

struct exec_head {
	uint32_t magic;
	uint32_t image_bytes; /* another version has another size */
	uint32_t n;
	uint32_t pad;
	char path[112]; /* of the service, and its name (attach_name()) */
	char name[112];
};

struct exec_item {
	struct exec_file file;
	struct sock_image image;
};

/* ---- the image that goes ---- */

static bool write_all(int fd, const void *what, size_t n)
{
	return write(fd, what, n) == (ssize_t)n;
}

static void names_write(struct exec_head *h)
{
	const struct rejoin *j = &client.transport.rejoin;

	memcpy(h->path, j->path, sizeof(j->path));
	memcpy(h->name, j->name, sizeof(j->name));
}

static bool write_one(int fd, const struct exec_file *f, const struct csock *s)
{
	struct exec_item item = {.file = *f};

	image_write(&item.image, s);
	return write_all(fd, &item, sizeof(item)) &&
	       (s->opts == NULL ||
		write_all(fd, s->opts->opt, s->opts->n * sizeof(s->opts->opt[0])));
}

/* 1, or 0: it can't go along. Each call to the service lets others close descriptors. */
static int write_sock(int memfd, const struct exec_file *f, uint32_t app)
{
	int err;
	struct csock *s = fd_csock(f->fd, &err);
	uint32_t serial = s != NULL ? s->serial : 0;

	if (s == NULL || s->state == CSOCK_CONNECTING)
		return 0;
	s->child_sid = 0;
	if (s->state != CSOCK_BROKEN)
		fork_share(s, app);
	if (s->serial != serial || (s->child_sid == 0 && s->state != CSOCK_BROKEN))
		return 0;
	return write_one(memfd, f, s) ? 1 : -ENOSPC;
}

static int write_socks(int memfd, const struct exec_file *f, unsigned n, uint32_t app)
{
	struct exec_head head = {.magic = EXEC_MAGIC, .image_bytes = sizeof(struct exec_item)};

	names_write(&head);
	if (!write_all(memfd, &head, sizeof(head)))
		return -ENOSPC;
	for (unsigned i = 0; i < n; i++) {
		int r = write_sock(memfd, &f[i], app);

		if (r < 0)
			return r;
		head.n += (uint32_t)r;
	}
	fork_fence();
	return pwrite(memfd, &head, sizeof(head), 0) == sizeof(head) ? (int)head.n : -ENOSPC;
}

/* The letter: the descriptor it can be read from, which stays open across exec. */
static int mail(struct attach_msg *m, int memfd)
{
	int fd[ATTACH_FDS_MAX], pair[2], r;

	if (m->n_fds >= ATTACH_FDS_MAX)
		return -EPROTO;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return -errno;
	memcpy(fd, m->fd, m->n_fds * sizeof(fd[0]));
	fd[m->n_fds] = memfd;
	r = attach_send(pair[0], ATTACH_WELCOME, &m->welcome, sizeof(m->welcome), fd, m->n_fds + 1);
	close(pair[0]);
	if (r == 0)
		return pair[1];
	close(pair[1]);
	return r;
}

static int prepare(const struct exec_file *f, unsigned n)
{
	struct attach_msg m;
	int memfd, r = attach_fork(&client.transport.service, &m);

	if (r < 0)
		return r;
	memfd = memfd_create("zstack-exec", MFD_CLOEXEC);
	r = memfd < 0 ? -errno : write_socks(memfd, f, n, m.welcome.app);
	if (r >= 0)
		r = r > 0 ? mail(&m, memfd) : -ENOENT;
	attach_close_fds(&m);
	if (memfd >= 0)
		close(memfd);
	return r;
}

/* ---- a child that was not born: what it has of the service is another's as well as its own ----
 */

static const struct exec_file *file_of(const struct exec_file *f, unsigned n, const struct csock *s)
{
	int err;

	for (unsigned i = 0; i < n; i++)
		if (fd_csock(f[i].fd, &err) == s)
			return &f[i];
	return NULL;
}

/* All sockets, because what the new image does not find it closes. */
static int write_all_socks(int memfd, const struct exec_file *f, unsigned n)
{
	static const struct exec_file nowhere = {.fd = -1};
	struct exec_head head = {.magic = EXEC_MAGIC, .image_bytes = sizeof(struct exec_item)};
	struct csock *s;
	int err;

	names_write(&head);
	if (!write_all(memfd, &head, sizeof(head)))
		return -ENOSPC;
	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		const struct exec_file *file;

		s = fd_csock(fd, &err);
		if (s == NULL || s->fd != fd || (s->child_sid == 0 && s->state != CSOCK_BROKEN))
			continue;
		file = file_of(f, n, s);
		if (!write_one(memfd, file != NULL ? file : &nowhere, s))
			return -ENOSPC;
		head.n++;
	}
	return pwrite(memfd, &head, sizeof(head), 0) == sizeof(head) ? (int)head.n : -ENOSPC;
}

static int prepare_unborn(const struct exec_file *f, unsigned n)
{
	struct attach_msg m = *child_welcome();
	int memfd = memfd_create("zstack-exec", MFD_CLOEXEC);
	int r = memfd < 0 ? -errno : write_all_socks(memfd, f, n);

	if (r >= 0)
		r = r > 0 ? mail(&m, memfd) : -ENOENT;
	if (memfd >= 0)
		close(memfd);
	return r;
}

int exec_prepare(const struct exec_file *f, unsigned n, bool becomes)
{
	int r = -ENOTCONN;

	client_lock_as_is();
	if (child_unborn() && !becomes)
		child_born();
	if (child_unborn())
		r = prepare_unborn(f, n);
	else if (client.running && client.transport.attached && !client.lost)
		r = prepare(f, n);
	client_unlock();
	return r;
}

/* ---- the image that comes ---- */

static struct csock **adopted;
static unsigned n_adopted;

static void *read_all(int fd, size_t *bytes)
{
	struct stat st;
	char *p;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(struct exec_head) ||
	    st.st_size > BYTES_MAX)
		return NULL;
	*bytes = (size_t)st.st_size;
	p = malloc(*bytes);
	if (p != NULL && pread(fd, p, *bytes, 0) == (ssize_t)*bytes)
		return p;
	free(p);
	return NULL;
}

static bool head_sane(const struct exec_head *h)
{
	return h->magic == EXEC_MAGIC && h->image_bytes == sizeof(struct exec_item) && h->n > 0 &&
	       h->n <= FD_MAX && memchr(h->path, '\0', sizeof(h->path)) != NULL &&
	       memchr(h->name, '\0', sizeof(h->name)) != NULL;
}

/* Reads on at *at; NULL when there is no more. */
static const void *take(const char *all, size_t bytes, size_t *at, size_t n)
{
	const char *p = all + *at;

	if (n > bytes - *at)
		return NULL;
	*at += n;
	return p;
}

/* One item, and its options; false: that were all. */
static bool item_open(const char *all, size_t bytes, size_t *at, struct exec_file *f)
{
	const void *item = take(all, bytes, at, sizeof(struct exec_item)), *opts;
	struct exec_item e;
	struct csock *s;

	if (item == NULL)
		return false;
	memcpy(&e, item, sizeof(e));
	opts = take(all, bytes, at, (size_t)e.image.n_opts * sizeof(struct opt));
	if (opts == NULL)
		return false;
	s = image_open(&e.image, opts);
	if (s != NULL) {
		/* For children that are to be somebody else; vouchers are closed by exec. */
		if (s->flags & CSOCK_BOUND)
			vouch_bound(s);
		adopted[n_adopted] = s;
		f[n_adopted++] = e.file;
	}
	return true;
}

static void socks_open(const char *all, size_t bytes, unsigned n, struct exec_file *f)
{
	size_t at = sizeof(struct exec_head);

	for (unsigned i = 0; i < n && item_open(all, bytes, &at, f); i++)
		;
}

static int adopt(struct attach_msg *m, const char *all, size_t bytes, struct exec_file **out)
{
	const struct exec_head *h = (const struct exec_head *)all;
	int r;

	if (!head_sane(h))
		return -EPROTO;
	adopted = calloc(h->n, sizeof(adopted[0]));
	*out = calloc(h->n, sizeof(**out));
	if (adopted == NULL || *out == NULL)
		return -ENOMEM;
	r = client_adopt(h->path, h->name, m);
	if (r < 0)
		return r;
	socks_open(all, bytes, h->n, *out);
	return (int)n_adopted;
}

static void forget(void)
{
	free(adopted);
	adopted = NULL;
	n_adopted = 0;
}

static int read_and_adopt(struct attach_msg *m, struct exec_file **out)
{
	size_t bytes = 0;
	int memfd, r = -EPROTO;
	char *all;

	if (m->n_fds < 3 || m->head.type != ATTACH_WELCOME)
		return r;
	memfd = m->fd[--m->n_fds];
	all = read_all(memfd, &bytes);
	close(memfd);
	if (all != NULL)
		r = adopt(m, all, bytes, out);
	free(all);
	return r;
}

int exec_adopt(int letter, struct exec_file **out)
{
	struct attach_msg m;
	int r = attach_recv(letter, &m, MSG_DONTWAIT);

	*out = NULL;
	if (r < 0)
		return r;
	client_lock();
	r = client.running ? -EALREADY : read_and_adopt(&m, out);
	if (r < 0)
		forget();
	client_unlock();
	attach_close_fds(&m);
	if (r < 0) {
		free(*out);
		*out = NULL;
	}
	return r;
}

int exec_place(unsigned i, int fd)
{
	struct csock *s;
	int r;

	client_lock();
	s = i < n_adopted ? adopted[i] : NULL;
	r = s == NULL ? -EBADF : s->fd < 0 ? fd_open(s, NULL, fd, 0) : fd_dup(s->fd, fd);
	if (r >= 0 && s->fd < 0)
		s->fd = fd;
	client_unlock();
	return r < 0 ? r : 0;
}

void exec_placed(void)
{
	client_lock();
	for (unsigned i = 0; i < n_adopted; i++)
		if (adopted[i]->fd < 0)
			group_close(adopted[i]);
	forget();
	client_unlock();
}
