/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program that was executed reads the letter (exec.c, exec_letter.h), which is checked like
 * everything that crosses.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/exec_letter.h"

#define BYTES_MAX (256u << 20)

/* The letter as it is read: its vouchers one by one. */
struct vouchers {
	int letter;
	struct attach_msg m;
	unsigned at;
};

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

/* The next one, which is the caller's; -1. */
static int voucher_next(struct vouchers *v)
{
	if (v->at == v->m.n_fds) {
		attach_close_fds(&v->m);
		v->at = 0;
		if (attach_recv(v->letter, &v->m, MSG_DONTWAIT) < 0)
			v->m.n_fds = 0;
	}
	return v->at < v->m.n_fds ? fd_take(&v->m, v->at++) : -1;
}

/* For children that are to be somebody else; exec has closed those that there were. */
static void vouch_again(struct csock *s, int voucher)
{
	if (voucher >= 0)
		vouch_give(s, voucher);
	else if (s->flags & CSOCK_BOUND)
		vouch_bound(s);
}

/* One item, and its options; false: that were all. */
static bool item_open(const char *all, size_t bytes, size_t *at, struct exec_file *f,
		      struct vouchers *v)
{
	int voucher;
	const void *item = take(all, bytes, at, sizeof(struct exec_item)), *opts;
	struct exec_item e;
	struct csock *s;

	if (item == NULL)
		return false;
	memcpy(&e, item, sizeof(e));
	opts = take(all, bytes, at, (size_t)e.image.n_opts * sizeof(struct opt));
	if (opts == NULL)
		return false;
	voucher = e.voucher != 0 ? voucher_next(v) : -1;
	s = image_open(&e.image, opts);
	if (s == NULL) {
		vouch_drop(voucher);
		return true;
	}
	vouch_again(s, voucher);
	adopted[n_adopted] = s;
	f[n_adopted++] = e.file;
	return true;
}

static void socks_open(const char *all, size_t bytes, struct exec_file *f, struct vouchers *v)
{
	size_t at = sizeof(struct exec_head);
	unsigned n = ((const struct exec_head *)all)->n;

	for (unsigned i = 0; i < n && item_open(all, bytes, &at, f, v); i++)
		;
}

static int attach_as(const struct exec_head *h, struct attach_msg *m)
{
	struct lost_service lost = {.path = h->path,
				    .name = h->name,
				    .uid = h->uid,
				    .free_ports_from = h->free_ports_from,
				    .n_cores = h->n_cores,
				    .refused = (h->flags & EXEC_REFUSED) != 0,
				    .hdr = &h->hdr,
				    .arena_bytes = h->arena_bytes};

	if (h->flags & EXEC_ALONE)
		return client_adopt_lost(&lost);
	return m->head.type == ATTACH_WELCOME ? client_adopt(h->path, h->name, m) : -EPROTO;
}

static int adopt(struct attach_msg *m, const char *all, size_t bytes, int letter,
		 struct exec_file **out)
{
	const struct exec_head *h = (const struct exec_head *)all;
	struct vouchers v = {.letter = letter};
	int r;

	if (!head_sane(h))
		return -EPROTO;
	adopted = calloc(h->n, sizeof(adopted[0]));
	*out = calloc(h->n, sizeof(**out));
	if (adopted == NULL || *out == NULL)
		return -ENOMEM;
	r = attach_as(h, m);
	if (r < 0)
		return r;
	if (h->flags & EXEC_VOUCHER)
		vouch_attach_give(voucher_next(&v));
	socks_open(all, bytes, *out, &v);
	attach_close_fds(&v.m);
	return (int)n_adopted;
}

static void forget(void)
{
	free(adopted);
	adopted = NULL;
	n_adopted = 0;
}

static int read_and_adopt(struct attach_msg *m, int letter, struct exec_file **out)
{
	size_t bytes = 0;
	int memfd, r = -EPROTO;
	char *all;

	if (m->n_fds < 1)
		return r;
	memfd = m->fd[--m->n_fds];
	all = read_all(memfd, &bytes);
	close(memfd);
	if (all != NULL)
		r = adopt(m, all, bytes, letter, out);
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
	r = client.running ? -EALREADY : read_and_adopt(&m, letter, out);
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
