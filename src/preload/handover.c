/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See handover.h. A socket that goes along gets a placeholder of its own, at all its numbers: by
 * that file's inode the new image finds it, whatever a child does with the numbers in between. A
 * socket of both sides takes its twin along, whose inode stands in the note.
 *
 * A program that can't load the library gets ends of pairs in their place (relay.h).
 */
#include <stdlib.h>
#include <string.h>

#include "client/exec.h"
#include "preload/handover.h"
#include "preload/image.h"
#include "preload/preload.h"
#include "preload/relay.h"

void handover_note_dup(int fd)
{
	if (fd_kind(fd) != FD_KERNEL)
		number_at(fd)->copied = true;
}

static bool goes(int fd, bool with_dups)
{
	int flags;

	if (fd_kind(fd) != FD_SOCKET && fd_kind(fd) != FD_BOTH)
		return false;
	flags = real.fcntl(fd, F_GETFD);
	if (flags < 0)
		return false;
	return (flags & FD_CLOEXEC) == 0 || (with_dups && number_known(fd)->copied);
}

/* Of several numbers of a socket the first that goes. */
static bool is_first(int fd, bool with_dups)
{
	for (int n = number_next(fd); n != fd; n = number_next(n))
		if (n < fd && goes(n, with_dups))
			return false;
	return goes(fd, with_dups);
}

static void remember(struct handover *h, int fd)
{
	int *grown = realloc(h->fd, (h->n_fds + 1) * sizeof(*grown));

	if (grown == NULL)
		return; /* it keeps a placeholder of its own, then */
	h->fd = grown;
	h->fd[h->n_fds++] = fd;
}

static void place(struct handover *h, int file, int fd, bool with_dups)
{
	int n = fd;

	do {
		int flags = real.fcntl(n, F_GETFD);

		if (goes(n, with_dups) &&
		    real.dup3(file, n, flags & FD_CLOEXEC ? O_CLOEXEC : 0) >= 0)
			remember(h, n);
		n = number_next(n);
	} while (n != fd);
}

static bool describe(struct handover *h, int fd, bool with_dups, struct exec_file *f)
{
	int file = real.socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct stat st;

	if (file < 0)
		return false;
	if (fstat(file, &st) == 0) {
		*f = (struct exec_file){fd, st.st_dev, st.st_ino, {0}};
		place(h, file, fd, with_dups);
	}
	real.close(file);
	if (fd_kind(fd) == FD_BOTH && fstat(twin_of(fd), &st) == 0) {
		f->note[0] = st.st_ino;
		f->note[1] = number_blocks(fd);
		real.fcntl(twin_of(fd), F_SETFD, 0);
	}
	return true;
}

static unsigned count(bool with_dups)
{
	unsigned n = 0;

	for (int fd = fd_special(0); fd >= 0; fd = fd_special(fd + 1))
		n += is_first(fd, with_dups);
	return n;
}

static int prepare(struct handover *h, unsigned n, enum handover_how how)
{
	struct exec_file *f = calloc(n, sizeof(*f));
	bool with_dups = how == HANDOVER_DUPS;
	unsigned k = 0;
	int r;

	if (f == NULL)
		return -ENOMEM;
	number_lock();
	for (int fd = fd_special(0); fd >= 0 && k < n; fd = fd_special(fd + 1))
		if (is_first(fd, with_dups))
			k += describe(h, fd, with_dups, &f[k]);
	number_unlock();
	enter();
	r = k > 0 ? exec_prepare(f, k, how == HANDOVER_EXEC) : -ENOENT;
	leave(0);
	free(f);
	return r;
}

/* ---- programs without the library ---- */

static bool any_is_served(bool with_dups)
{
	for (int fd = fd_special(0); fd >= 0; fd = fd_special(fd + 1))
		if (is_first(fd, with_dups) && relay_serves(fd))
			return true;
	return false;
}

static void relay_all(struct handover *h, bool with_dups)
{
	number_lock();
	for (int fd = fd_special(0); fd >= 0; fd = fd_special(fd + 1)) {
		int end = is_first(fd, with_dups) ? relay_add(h->relay, fd) : -1;

		if (end < 0)
			continue;
		place(h, end, fd, with_dups);
		real.close(end);
	}
	number_unlock();
}

static void relay(struct handover *h, bool with_dups, const char *why)
{
	if (!any_is_served(with_dups))
		return;
	h->relay = relay_start();
	if (h->relay >= 0)
		relay_all(h, with_dups);
	else if (run_rules()->verbose)
		say("%s; its connections are lost: %s", why, strerror(-h->relay));
}

/* ---- all ---- */

void handover_begin(struct handover *h, const char *file, char *const *env, enum handover_how how)
{
	bool with_dups = how == HANDOVER_DUPS;
	unsigned n = started() ? count(with_dups) : 0;
	char why[256];
	int status;

	*h = (struct handover){.letter = -1, .relay = -1, .env = (char **)env};
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &h->cancel_state);
	status = n > 0 ? image_check(file, why, sizeof(why)) : 0;
	if (status == IMAGE_REFUSED || status == IMAGE_SUPERVISED)
		relay(h, with_dups, why);
	if (n == 0 || status != 0)
		return;
	h->letter = prepare(h, n, how);
	if (h->letter < 0)
		return;
	h->env = run_env_copy(env, h->letter, h->text, array_size(h->text));
	if (h->env == NULL)
		h->env = (char **)env;
}

static void forget(struct handover *h)
{
	if (h->letter >= 0)
		real.close(h->letter);
	if (h->text[0] != NULL)
		free(h->env);
	for (unsigned i = 0; i < array_size(h->text); i++)
		free(h->text[i]);
	free(h->fd);
}

/* The process's own placeholder again. */
static void restore(struct handover *h)
{
	for (unsigned i = 0; i < h->n_fds; i++) {
		int fd = h->fd[i];

		if (fd_kind(fd) != FD_SOCKET && fd_kind(fd) != FD_BOTH)
			continue;
		(void)!placeholder_at(fd);
		if (fd_kind(fd) == FD_BOTH)
			real.fcntl(twin_of(fd), F_SETFD, FD_CLOEXEC);
	}
}

void handover_end(struct handover *h, bool executed)
{
	number_lock();
	restore(h);
	number_unlock();
	if (h->relay >= 0 && executed)
		relay_begin(h->relay);
	else if (h->relay >= 0)
		relay_forget(h->relay);
	forget(h);
	pthread_setcancelstate(h->cancel_state, &h->cancel_state);
}
