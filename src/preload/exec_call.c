/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The exec family. What is not close-on-exec goes along (handover.c); a call that fails leaves all
 * as it was.
 */
#include <alloca.h>
#include <string.h>

#include "preload/handover.h"
#include "preload/preload.h"

struct exec_call {
	const char *file;
	char *const *argv;
	char *const *env;
	bool search; /* of PATH */
	bool at;     /* file is relative to dir */
	int dir, flags;
};

static int really(const struct exec_call *c, char *const *env)
{
	if (c->at)
		return real.execveat(c->dir, c->file, c->argv, env, c->flags);
	return c->search ? real.execvpe(c->file, c->argv, env) : real.execve(c->file, c->argv, env);
}

/* As image_check() is to find it: with a slash, unless it is searched for. */
static const char *image_name(const struct exec_call *c, char *buf, size_t len)
{
	if (!c->at && (c->search || strchr(c->file, '/') != NULL))
		return c->file;
	if (!c->at || c->dir == AT_FDCWD)
		snprintf(buf, len, "./%s", c->file);
	else if (c->file[0] == '/')
		return c->file;
	else
		snprintf(buf, len, "/proc/self/fd/%d%s%s", c->dir, c->file[0] != '\0' ? "/" : "",
			 c->file);
	return buf;
}

static int call(const struct exec_call *c)
{
	struct handover h;
	char name[4200];
	int r, err;

	if (!started() || c->file == NULL)
		return really(c, c->env);
	handover_begin(&h, image_name(c, name, sizeof(name)), c->env, HANDOVER_EXEC);
	r = really(c, h.env);
	err = errno;
	handover_end(&h, false);
	errno = err;
	return r;
}

int execve(const char *path, char *const argv[], char *const env[])
{
	return call(&(struct exec_call){path, argv, env, .search = false});
}

int execv(const char *path, char *const argv[])
{
	return call(&(struct exec_call){path, argv, environ, .search = false});
}

int execvp(const char *file, char *const argv[])
{
	return call(&(struct exec_call){file, argv, environ, .search = true});
}

int execvpe(const char *file, char *const argv[], char *const env[])
{
	return call(&(struct exec_call){file, argv, env, .search = true});
}

int execveat(int dir, const char *path, char *const argv[], char *const env[], int flags)
{
	return call(&(struct exec_call){path, argv, env, .at = true, .dir = dir, .flags = flags});
}

int fexecve(int fd, char *const argv[], char *const env[])
{
	if (fd < 0)
		return (int)result(-EINVAL);
	return execveat(fd, "", argv, env, AT_EMPTY_PATH);
}

/* ---- arguments one by one ---- */

static size_t count(const char *first, va_list ap)
{
	size_t n = 0;

	for (const char *a = first; a != NULL; a = va_arg(ap, const char *))
		n++;
	return n;
}

/* The NULL behind them as well. */
static void collect(char **argv, const char *first, va_list *ap)
{
	const char *a = first;

	for (; a != NULL; a = va_arg(*ap, const char *))
		*argv++ = (char *)a;
	*argv = NULL;
}

int execl(const char *path, const char *arg, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count(arg, ap);
	va_end(ap);
	char **argv = alloca((n + 1) * sizeof(*argv));

	va_start(ap, arg);
	collect(argv, arg, &ap);
	va_end(ap);
	return execve(path, argv, environ);
}

int execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count(arg, ap);
	va_end(ap);
	char **argv = alloca((n + 1) * sizeof(*argv));

	va_start(ap, arg);
	collect(argv, arg, &ap);
	va_end(ap);
	return execvp(file, argv);
}

int execle(const char *path, const char *arg, ...)
{
	char *const *env;
	va_list ap;
	size_t n;

	va_start(ap, arg);
	n = count(arg, ap);
	va_end(ap);
	char **argv = alloca((n + 1) * sizeof(*argv));

	va_start(ap, arg);
	collect(argv, arg, &ap);
	env = va_arg(ap, char *const *);
	va_end(ap);
	return execve(path, argv, env);
}
