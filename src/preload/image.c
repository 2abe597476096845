/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See image.h. An ELF file is asked for three things: is it of this machine's kind, which dynamic
 * linker does it name, and did Go make it? What the file says is bounded before it is used.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "preload/image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPT_DEPTH 5	       /* the kernel's own limit */
#define HEAD_BYTES   256       /* what the kernel looks at */
#define TABLE_MAX    (1 << 20) /* bytes of a table of an ELF file that are read at most */

struct image {
	char *why;
	size_t len;
	int depth;
};

static int look(struct image *im, const char *path);

__attribute__((format(printf, 3, 4))) static int no(struct image *im, int status, const char *fmt,
						    ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(im->why, im->len, fmt, ap);
	va_end(ap);
	return status;
}

/* ---- ELF ---- */

/* bytes at `at`, NUL behind them; NULL: they are not all there, or too many. */
static void *piece(int fd, uint64_t at, uint64_t bytes)
{
	char *p = bytes > TABLE_MAX || at > INT64_MAX ? NULL : malloc(bytes + 1);

	if (p == NULL)
		return NULL;
	if (pread(fd, p, bytes, (off_t)at) != (ssize_t)bytes) {
		free(p);
		return NULL;
	}
	p[bytes] = '\0';
	return p;
}

static const char *last_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* Of one file, as far as it is asked for. */
struct elf {
	ElfW(Ehdr) h;
	char *interp; /* of malloc; NULL: none */
	bool go;
};

/* The note that Go's linker leaves: namesz, descsz, type, "Go\0\0". */
static bool note_of_go(int fd, const ElfW(Phdr) * p)
{
	uint32_t *n = p->p_filesz >= 16 ? piece(fd, p->p_offset, 16) : NULL;
	bool go = n != NULL && n[0] == 4 && memcmp(n + 3, "Go\0", 4) == 0;

	free(n);
	return go;
}

static bool segments(int fd, struct elf *e)
{
	ElfW(Phdr) *p = piece(fd, e->h.e_phoff, (uint64_t)e->h.e_phnum * sizeof(*p));

	if (p == NULL)
		return false;
	for (unsigned i = 0; i < e->h.e_phnum; i++) {
		if (p[i].p_type == PT_INTERP && e->interp == NULL)
			e->interp = piece(fd, p[i].p_offset, p[i].p_filesz);
		else if (p[i].p_type == PT_NOTE)
			e->go |= note_of_go(fd, &p[i]);
	}
	free(p);
	return true;
}

/* Programs of Go whose note was left out still have a section with the versions of their parts. */
static void sections(int fd, struct elf *e)
{
	ElfW(Shdr) *s = piece(fd, e->h.e_shoff, (uint64_t)e->h.e_shnum * sizeof(*s));
	char *names = NULL;

	if (s != NULL && e->h.e_shentsize == sizeof(*s) && e->h.e_shstrndx < e->h.e_shnum)
		names = piece(fd, s[e->h.e_shstrndx].sh_offset, s[e->h.e_shstrndx].sh_size);
	for (unsigned i = 0; names != NULL && i < e->h.e_shnum; i++) {
		if (s[i].sh_name >= s[e->h.e_shstrndx].sh_size)
			continue;
		if (strcmp(names + s[i].sh_name, ".go.buildinfo") == 0 ||
		    strcmp(names + s[i].sh_name, ".note.go.buildid") == 0)
			e->go = true;
	}
	free(names);
	free(s);
}

static bool elf_read(int fd, struct elf *e)
{
	*e = (struct elf){0};
	if (pread(fd, &e->h, sizeof(e->h), 0) != sizeof(e->h) ||
	    memcmp(e->h.e_ident, ELFMAG, SELFMAG) != 0)
		return false;
	return true;
}

/* This program: its kind and its dynamic linker are those that the library is made for. */
static bool elf_self(struct elf *e)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && elf_read(fd, e) && segments(fd, e) && e->interp != NULL;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool same_kind(const ElfW(Ehdr) * a, const ElfW(Ehdr) * b)
{
	return a->e_ident[EI_CLASS] == b->e_ident[EI_CLASS] &&
	       a->e_ident[EI_DATA] == b->e_ident[EI_DATA] && a->e_machine == b->e_machine &&
	       a->e_phentsize == b->e_phentsize;
}

/* The dynamic linker started as a program (ld.so PROGRAM) names no other. */
static bool is_linker(const char *path, const char *linker)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat(linker, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static int judge(struct image *im, const char *path, const struct elf *e, const struct elf *self)
{
	if (e->go)
		return no(im, IMAGE_SUPERVISED,
			  "%s: is a Go program: it makes its system calls itself, so that a "
			  "library does not see them",
			  path);
	if (e->interp == NULL && is_linker(path, self->interp))
		return 0;
	if (e->interp == NULL)
		return no(im, IMAGE_SUPERVISED,
			  "%s: is linked statically: nothing loads a library into it", path);
	if (strcmp(last_of(e->interp), last_of(self->interp)) != 0)
		return no(im, IMAGE_SUPERVISED,
			  "%s: is made for another C library: its dynamic linker is %.100s, that "
			  "of libzstack-preload %.100s",
			  path, e->interp, self->interp);
	return 0;
}

static int elf_look(struct image *im, const char *path, int fd)
{
	struct elf e, self;
	int status = 0;

	if (!elf_self(&self))
		return no(im, IMAGE_REFUSED, "%s: /proc is needed to look at it", path);
	if (!elf_read(fd, &e) || (e.h.e_type != ET_EXEC && e.h.e_type != ET_DYN)) {
		status = no(im, IMAGE_REFUSED, "%s: is no ELF program", path);
	} else if (!same_kind(&e.h, &self.h)) {
		status = no(im, IMAGE_REFUSED,
			    "%s: is for another kind of machine (ELF class %d, machine %d), for "
			    "which there is no libzstack-preload",
			    path, e.h.e_ident[EI_CLASS], e.h.e_machine);
	} else if (!segments(fd, &e)) {
		status = no(im, IMAGE_REFUSED, "%s: is a damaged ELF file", path);
	} else {
		sections(fd, &e);
		status = judge(im, path, &e, &self);
	}
	free(e.interp);
	free(self.interp);
	return status;
}

/* ---- scripts ---- */

/* Tries the folders of PATH as execvp does. 0 with the file's name in out, or the status. */
static int find(struct image *im, const char *name, char out[PATH_MAX])
{
	const char *p = getenv("PATH"), *end;
	int status = IMAGE_NOT_FOUND;
	struct stat st;

	if (strchr(name, '/') != NULL)
		return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX ? 0 : IMAGE_NOT_FOUND;
	for (p = p != NULL ? p : "/bin:/usr/bin"; *name != '\0'; p = end + 1) {
		end = strchrnul(p, ':');
		snprintf(out, PATH_MAX, "%.*s%s%s", (int)(end - p), p, end != p ? "/" : "", name);
		if (stat(out, &st) == 0 && S_ISREG(st.st_mode)) {
			if (faccessat(AT_FDCWD, out, X_OK, AT_EACCESS) == 0)
				return 0;
			status = IMAGE_REFUSED;
		}
		if (*end == '\0')
			break;
	}
	return no(im, status, "%.200s: %s", name,
		  status == IMAGE_REFUSED ? "may not be executed" : "not found");
}

/* #!/usr/bin/env [-S] [NAME=VALUE] PROGRAM: the first word that is neither. */
static int env_look(struct image *im, char *words)
{
	char *rest = NULL, path[PATH_MAX];
	int status = 0;

	for (char *w = strtok_r(words, " \t", &rest); w != NULL; w = strtok_r(NULL, " \t", &rest)) {
		if (*w == '-' || strchr(w, '=') != NULL)
			continue;
		status = find(im, w, path);
		return status != 0 ? status : look(im, path);
	}
	return 0;
}

static int script_look(struct image *im, const char *path, char *head)
{
	char *interp = head + 2 + strspn(head + 2, " \t"), *args;
	int status;

	interp[strcspn(interp, "\n")] = '\0';
	args = interp + strcspn(interp, " \t");
	if (*args != '\0')
		*args++ = '\0';
	if (*interp == '\0')
		return 0; /* execvp gives it to the shell */
	if (++im->depth > SCRIPT_DEPTH)
		return no(im, IMAGE_REFUSED, "%s: its interpreter is a script, and so on", path);
	status = look(im, interp);
	if (status == 0 && strcmp(last_of(interp), "env") == 0)
		status = env_look(im, args);
	return status;
}

/* ---- files ---- */

/* The dynamic linker obeys LD_PRELOAD only if the program gains nothing by being started. */
static const char *privileges(const char *path, const struct stat *st)
{
	struct statvfs fs;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	    (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0))
		return NULL;
	if ((st->st_mode & S_ISUID) != 0 && st->st_uid != geteuid())
		return "set-user-ID";
	if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st->st_gid != getegid())
		return "set-group-ID";
	if (geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
		return "a file with capabilities";
	return NULL;
}

static int look_inside(struct image *im, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), status = 0;
	char head[HEAD_BYTES + 1];
	ssize_t n;

	if (fd < 0)
		return 0; /* to be executed, not to be read: can't be told */
	n = pread(fd, head, HEAD_BYTES, 0);
	head[n > 0 ? n : 0] = '\0';
	if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		status = elf_look(im, path, fd);
	else if (n > 2 && memcmp(head, "#!", 2) == 0)
		status = script_look(im, path, head);
	close(fd);
	return status;
}

static int look(struct image *im, const char *path)
{
	const char *gains;
	struct stat st;

	if (stat(path, &st) < 0)
		return no(im, errno == ENOENT ? IMAGE_NOT_FOUND : IMAGE_REFUSED, "%.200s: %s", path,
			  errno == ENOENT ? "not found" : strerror(errno));
	if (!S_ISREG(st.st_mode))
		return no(im, IMAGE_REFUSED, "%.200s: is no file", path);
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
		return no(im, IMAGE_REFUSED, "%.200s: may not be executed", path);
	gains = privileges(path, &st);
	if (gains != NULL)
		return no(im, IMAGE_REFUSED,
			  "%.200s: is %s: into a program that gains rights the dynamic linker "
			  "loads nothing; start it as the user whose rights it gains",
			  path, gains);
	return look_inside(im, path);
}

int image_check(const char *program, char *why, size_t len)
{
	struct image im = {why, len, 0};
	char path[PATH_MAX];
	int status = find(&im, program, path);

	return status != 0 ? status : look(&im, path);
}
