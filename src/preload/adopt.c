/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program starts and has sockets of the one that executed it (handover.c): a letter says which.
 * Each is known by its placeholder's inode, and found among the numbers that are open.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "client/exec.h"
#include "preload/handover.h"
#include "preload/preload.h"

#define WITHOUT_PROC 1024 /* numbers that are looked at when there is no /proc */

struct adoption {
	struct exec_file *f;
	int *twin; /* of each, its number, -1 */
	int n;
};

static int which(const struct adoption *a, const struct stat *st)
{
	for (int i = 0; i < a->n; i++)
		if (a->f[i].ino == st->st_ino && a->f[i].dev == st->st_dev)
			return i;
	return -1;
}

static int which_twin(const struct adoption *a, const struct stat *st)
{
	for (int i = 0; i < a->n; i++)
		if (a->f[i].note[0] == st->st_ino && a->f[i].dev == st->st_dev)
			return i;
	return -1;
}

/* The first number of a socket gets it, the others are joined to that. */
static void place(struct exec_file *f, int i, int fd)
{
	if (number_room(fd) < 0 || exec_place((unsigned)i, fd) < 0)
		return;
	number_fresh(fd);
	if (f->fd >= 0)
		number_join(f->fd, fd);
	else
		f->fd = fd;
	fd_set_kind(fd, FD_SOCKET);
	stdio_take(fd);
}

static void look_at(struct adoption *a, int fd)
{
	struct stat st;
	int i;

	if (fstat(fd, &st) != 0 || !S_ISSOCK(st.st_mode))
		return;
	i = which(a, &st);
	if (i >= 0) {
		place(&a->f[i], i, fd);
		return;
	}
	i = which_twin(a, &st);
	if (i >= 0)
		a->twin[i] = fd;
}

struct dir_entry {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* By hand: nothing of the C library's is set up yet that a constructor might need. */
static bool look_in_proc(struct adoption *a)
{
	_Alignas(struct dir_entry) char buf[4096];
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n;

	if (dir < 0)
		return false;
	while ((n = real.syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			const struct dir_entry *e = (const struct dir_entry *)(buf + at);

			if (e->name[0] != '.' && atoi(e->name) != dir)
				look_at(a, atoi(e->name));
			at += e->len;
		}
	}
	real.close(dir);
	return true;
}

static void place_all(struct adoption *a)
{
	for (int i = 0; i < a->n; i++)
		a->f[i].fd = a->twin[i] = -1;
	if (!look_in_proc(a))
		for (int fd = 0; fd < WITHOUT_PROC; fd++)
			look_at(a, fd);
	exec_placed();
	for (int i = 0; i < a->n; i++) {
		if (a->f[i].fd >= 0)
			number_twin(a->f[i].fd, a->twin[i], a->f[i].note[1] != 0);
		else if (a->twin[i] >= 0)
			real.close(a->twin[i]);
	}
}

static void adopt(int letter)
{
	struct adoption a = {.n = 0};

	fd_host();
	a.n = exec_adopt(letter, &a.f);
	if (a.n < 0) {
		say("the sockets of the program before are lost: %s", strerror(-a.n));
		return;
	}
	a.twin = calloc((size_t)a.n + 1, sizeof(*a.twin));
	if (a.twin != NULL)
		place_all(&a);
	free(a.twin);
	free(a.f);
	start_adopted();
}

__attribute__((constructor(104))) static void adopt_init(void)
{
	const char *letter = run_env(HANDOVER_ENV);
	int fd = letter != NULL ? atoi(letter) : -1;

	if (fd < 0)
		return;
	adopt(fd);
	real.close(fd);
}
