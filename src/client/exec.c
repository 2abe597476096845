/* SPDX-License-Identifier: BSD-3-Clause
 *
 * exec() in a program that is attached to a service (docs/design/011, 5): the program to come is a
 * child as fork makes one (fork.c), but nothing of the client's tables goes along. So what it needs
 * is in the mail when it starts: one descriptor survives, a UNIX socket, in which lies WELCOME with
 * the child's descriptors and one more, of a memfd that says which sockets there are
 * (exec_letter.h). exec_adopt.c reads it.
 *
 * Without a service, or if it refuses, the program to come is what a child of fork is then, an
 * orphan (orphan.c): it gets the memfd alone, and goes its own way to the next service.
 *
 * What the program was allowed as root (vouch.c) goes along with what it was allowed for: whoever
 * is given a listening socket may keep it for ever, under the kernel as well, and its application
 * is this one's user's already. What is closed by exec takes its voucher along.
 *
 * A child of fork that has done nothing with its sockets yet puts its own WELCOME there: it is the
 * same process.
 *
 * If exec fails, closing that socket undoes everything: with the letter in it goes the child's
 * connection, the service knows that there is no child, and its sockets have one holder again.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/exec_letter.h"

#define VOUCHERS_MAX 256 /* ports below 1024 are not so many */

struct letter {
	int memfd;
	struct exec_head head;
	int voucher[VOUCHERS_MAX];
	unsigned n_vouchers;
};

static bool write_all(int fd, const void *what, size_t n)
{
	return write(fd, what, n) == (ssize_t)n;
}

static bool voucher_add(struct letter *l, int fd)
{
	if (fd < 0 || l->n_vouchers == VOUCHERS_MAX)
		return false;
	l->voucher[l->n_vouchers++] = fd;
	return true;
}

/* 0, or -errno. */
static int letter_begin(struct letter *l, uint32_t flags)
{
	const struct rejoin *j = &client.transport.rejoin;

	*l = (struct letter){.head = {.magic = EXEC_MAGIC,
				      .image_bytes = sizeof(struct exec_item),
				      .flags = flags,
				      .uid = j->uid,
				      .free_ports_from = client.transport.service.free_ports_from}};
	memcpy(l->head.path, j->path, sizeof(j->path));
	memcpy(l->head.name, j->name, sizeof(j->name));
	if (voucher_add(l, vouch_attach()))
		l->head.flags |= EXEC_VOUCHER;
	l->memfd = memfd_create("zstack-exec", MFD_CLOEXEC);
	if (l->memfd < 0)
		return -errno;
	/* Written last. */
	return lseek(l->memfd, sizeof(l->head), SEEK_SET) < 0 ? -errno : 0;
}

static int letter_head(const struct letter *l)
{
	return pwrite(l->memfd, &l->head, sizeof(l->head), 0) == sizeof(l->head) ? 0 : -ENOSPC;
}

static void letter_end(const struct letter *l)
{
	if (l->memfd >= 0)
		close(l->memfd);
}

static bool write_item(struct letter *l, struct exec_item *item, const struct csock *s)
{
	item->voucher = voucher_add(l, vouch_of(s));
	l->head.n++;
	return write_all(l->memfd, item, sizeof(*item)) &&
	       (s->opts == NULL ||
		write_all(l->memfd, s->opts->opt, s->opts->n * sizeof(s->opts->opt[0])));
}

static bool write_one(struct letter *l, const struct exec_file *f, const struct csock *s)
{
	struct exec_item item = {.file = *f};

	image_write(&item.image, s);
	return write_item(l, &item, s);
}

static int vouchers_send(int to, const struct letter *l)
{
	struct attach_head more;
	int r = 0;

	for (unsigned i = 0; i < l->n_vouchers && r == 0; i += ATTACH_FDS_MAX) {
		unsigned n = l->n_vouchers - i;

		r = attach_send(to, ATTACH_FORK, &more, sizeof(more), l->voucher + i,
				n < ATTACH_FDS_MAX ? n : ATTACH_FDS_MAX);
	}
	return r;
}

/* m: WELCOME, or FORK; with fewer descriptors than there may be. The descriptor that the letter can
 * be read from, which stays open across exec. */
static int mail(const struct letter *l, struct attach_msg *m, size_t len)
{
	int fd[ATTACH_FDS_MAX], pair[2], r;

	if (m->n_fds >= ATTACH_FDS_MAX)
		return -EPROTO;
	/* Nobody reads it now: what does not fit is left out. */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
		return -errno;
	(void)!fcntl(pair[0], F_SETFL, O_NONBLOCK);
	memcpy(fd, m->fd, m->n_fds * sizeof(fd[0]));
	fd[m->n_fds] = l->memfd;
	r = attach_send(pair[0], m->head.type, m->bytes, len, fd, m->n_fds + 1);
	if (r == 0)
		(void)!vouchers_send(pair[0], l);
	close(pair[0]);
	if (r == 0)
		return pair[1];
	close(pair[1]);
	return r;
}

static int letter_send(const struct letter *l, struct attach_msg *m)
{
	size_t len = m->head.type == ATTACH_WELCOME ? sizeof(m->welcome) : sizeof(m->head);
	int r = letter_head(l);

	if (r == 0)
		r = l->head.n > 0 ? mail(l, m, len) : -ENOENT;
	return r;
}

/* ---- no service makes an application for it ---- */

/* As it is to be found by whoever has it, at the next service or this one. */
static void share_later(struct csock *s)
{
	for (unsigned i = 0; i < csock_members(s); i++) {
		if (!client.lost)
			fork_offer(csock_member(s, i));
		if (client.lost || service_is_deaf())
			orphan_share(csock_member(s, i));
	}
}

static int write_alone(struct letter *l, const struct exec_file *f)
{
	struct exec_item item = {.file = *f};
	int err;
	struct csock *s = fd_csock(f->fd, &err);
	uint32_t serial = s != NULL ? s->serial : 0;

	if (s != NULL)
		share_later(s);
	if (s == NULL || s->serial != serial)
		return 0;
	image_write(&item.image, s);
	image_is_alone(&item.image);
	return write_item(l, &item, s) ? 0 : -ENOSPC;
}

static int prepare_alone(const struct exec_file *f, unsigned n)
{
	struct attach_msg m = {.head.type = ATTACH_FORK};
	struct letter l;
	int r = letter_begin(&l, EXEC_ALONE | (client.lost ? 0 : EXEC_REFUSED));

	l.head.n_cores = client.n_cores;
	l.head.hdr = client.core[0].end.hdr;
	l.head.arena_bytes = client.transport.service.arena[0].bytes;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = write_alone(&l, &f[i]);
	if (r == 0)
		r = letter_send(&l, &m);
	letter_end(&l);
	return r;
}

/* ---- a service does ---- */

/* 0 also if it can't go along. Each call to the service lets others close descriptors. */
static int write_sock(struct letter *l, const struct exec_file *f, uint32_t app)
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
	return write_one(l, f, s) ? 0 : -ENOSPC;
}

static int prepare(const struct exec_file *f, unsigned n)
{
	struct attach_msg m;
	struct letter l;
	int r = attach_fork(&client.transport.service, &m);

	if (r < 0)
		return prepare_alone(f, n);
	r = letter_begin(&l, 0);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = write_sock(&l, &f[i], m.welcome.app);
	if (r == 0) {
		fork_fence();
		r = letter_send(&l, &m);
	}
	attach_close_fds(&m);
	letter_end(&l);
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
static int write_all_socks(struct letter *l, const struct exec_file *f, unsigned n)
{
	static const struct exec_file nowhere = {.fd = -1};
	struct csock *s;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		const struct exec_file *file;

		s = fd_csock(fd, &err);
		if (s == NULL || s->fd != fd || (s->child_sid == 0 && s->state != CSOCK_BROKEN))
			continue;
		file = file_of(f, n, s);
		if (!write_one(l, file != NULL ? file : &nowhere, s))
			return -ENOSPC;
	}
	return 0;
}

static int prepare_unborn(const struct exec_file *f, unsigned n)
{
	struct attach_msg m = *child_welcome();
	struct letter l;
	int r = letter_begin(&l, 0);

	if (r == 0)
		r = write_all_socks(&l, f, n);
	if (r == 0)
		r = letter_send(&l, &m);
	letter_end(&l);
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
	else if (client.running && client.transport.attached)
		r = client.lost ? prepare_alone(f, n) : prepare(f, n);
	client_unlock();
	return r;
}
