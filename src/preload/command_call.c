/* SPDX-License-Identifier: BSD-3-Clause
 *
 * system() and popen(), by posix_spawn() as the hooks know it (spawn_call.c): the C library's own
 * would start the shell past the hooks, and it would have none of our sockets. As POSIX.1-2024
 * says, and the C library does: the shell is sh -c -- COMMAND.
 *
 * A stream of popen()'s may be closed by fclose() as well, which waits, too, as glibc's does.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "preload/preload.h"

#define SHELL "/bin/sh"

static int shell(pid_t *pid, const char *command, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr)
{
	char *const argv[] = {"sh", "-c", "--", (char *)command, NULL};

	return hook_posix_spawn(pid, SHELL, actions, attr, argv, environ);
}

/* ---- system ---- */

/* SIGINT and SIGQUIT are ignored as long as any thread is in system(). */
static struct {
	pthread_mutex_t lock;
	unsigned n; /* threads */
	struct sigaction intr, quit;
} ignoring = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What ends one call. */
struct waiting {
	sigset_t mask; /* of the thread, before */
	pid_t pid;
};

static void signals_ignore(struct waiting *w)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t child;

	pthread_mutex_lock(&ignoring.lock);
	if (ignoring.n++ == 0) {
		hook_sigaction(SIGINT, &ignore, &ignoring.intr);
		hook_sigaction(SIGQUIT, &ignore, &ignoring.quit);
	}
	pthread_mutex_unlock(&ignoring.lock);
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	pthread_sigmask(SIG_BLOCK, &child, &w->mask);
}

static void signals_restore(const struct waiting *w)
{
	pthread_mutex_lock(&ignoring.lock);
	if (--ignoring.n == 0) {
		hook_sigaction(SIGINT, &ignoring.intr, NULL);
		hook_sigaction(SIGQUIT, &ignoring.quit, NULL);
	}
	pthread_mutex_unlock(&ignoring.lock);
	pthread_sigmask(SIG_SETMASK, &w->mask, NULL);
}

/* The child has the signals as they were before system(). */
static int spawn(struct waiting *w, const char *command)
{
	sigset_t reset;
	posix_spawnattr_t attr;
	int r = posix_spawnattr_init(&attr);

	if (r != 0)
		return r;
	sigemptyset(&reset);
	if (ignoring.intr.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGINT);
	if (ignoring.quit.sa_handler != SIG_IGN)
		sigaddset(&reset, SIGQUIT);
	posix_spawnattr_setsigmask(&attr, &w->mask);
	posix_spawnattr_setsigdefault(&attr, &reset);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = shell(&w->pid, command, NULL, &attr);
	posix_spawnattr_destroy(&attr);
	return r;
}

/* The thread was cancelled: nothing of the call is left behind. */
static void cancelled(void *arg)
{
	struct waiting *w = arg;

	kill(w->pid, SIGKILL);
	while (real.syscall(SYS_wait4, w->pid, NULL, 0, NULL) < 0 && errno == EINTR)
		;
	signals_restore(w);
}

static int wait_for(struct waiting *w)
{
	int status = -1;

	pthread_cleanup_push(cancelled, w);
	while (waitpid(w->pid, &status, 0) < 0) {
		if (errno != EINTR) {
			status = -1;
			break;
		}
	}
	pthread_cleanup_pop(0);
	return status;
}

int system(const char *command)
{
	struct waiting w;
	int status, err;

	if (command == NULL)
		return system("exit 0") == 0;
	signals_ignore(&w);
	err = spawn(&w, command);
	/* A shell that can't be started is one that says _exit(127). */
	status = err != 0 ? W_EXITCODE(127, 0) : wait_for(&w);
	if (err == 0)
		err = errno;
	signals_restore(&w);
	if (status == -1 || W_EXITCODE(127, 0) == status)
		errno = err;
	return status;
}

/* ---- popen ---- */

struct command {
	struct command *next;
	FILE *stream;
	pid_t pid;
};

/* Held while a command is started: what other threads open is closed in it, or not there yet. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct command *_Atomic commands;

/* Each change of the list is one store: it is whole whenever another thread forks. */
static void child_of_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	ignoring.lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}

__attribute__((constructor)) static void fork_watch(void)
{
	pthread_atfork(NULL, NULL, child_of_fork);
}

struct mode {
	bool reads, writes, cloexec;
};

static bool mode_read(const char *text, struct mode *m)
{
	*m = (struct mode){false, false, false};
	for (; *text != '\0'; text++) {
		if (*text == 'r')
			m->reads = true;
		else if (*text == 'w')
			m->writes = true;
		else if (*text == 'e')
			m->cloexec = true;
		else
			return false;
	}
	return m->reads != m->writes;
}

/* In the child the pipe is its standard output or input, and it has no other stream of popen()'s.
 */
static int start(struct command *c, const char *text, int end, int at)
{
	posix_spawn_file_actions_t actions;
	int r = posix_spawn_file_actions_init(&actions);

	if (r != 0)
		return r;
	r = real.posix_spawn_file_actions_adddup2(&actions, end, at);
	for (struct command *o = commands; o != NULL && r == 0; o = o->next)
		if (fileno(o->stream) != at)
			r = posix_spawn_file_actions_addclose(&actions, fileno(o->stream));
	if (r == 0)
		r = shell(&c->pid, text, &actions, NULL);
	posix_spawn_file_actions_destroy(&actions);
	return r;
}

static int start_alone(struct command *c, const char *text, const struct mode *m, int end)
{
	int r;

	pthread_mutex_lock(&lock);
	r = start(c, text, end, m->reads ? STDOUT_FILENO : STDIN_FILENO);
	if (r == 0) {
		if (!m->cloexec)
			real.fcntl(fileno(c->stream), F_SETFD, 0);
		c->next = commands;
		commands = c;
	}
	pthread_mutex_unlock(&lock);
	return r;
}

FILE *popen(const char *text, const char *mode)
{
	struct command *c;
	struct mode m;
	int pair[2], err;

	if (!mode_read(mode, &m)) {
		errno = EINVAL;
		return NULL;
	}
	c = malloc(sizeof(*c));
	if (c == NULL || pipe2(pair, O_CLOEXEC) < 0) {
		free(c);
		return NULL;
	}
	c->stream = real.fdopen(pair[m.writes], m.reads ? "r" : "w");
	err = c->stream == NULL ? errno : start_alone(c, text, &m, pair[m.reads]);
	real.close(pair[m.reads]);
	if (err == 0)
		return c->stream;
	if (c->stream != NULL)
		real.fclose(c->stream);
	else
		real.close(pair[m.writes]);
	free(c);
	errno = err;
	return NULL;
}

/* Taken off the list; NULL: it is none of them. */
static struct command *find(FILE *stream)
{
	struct command *c, *before = NULL;

	if (likely(commands == NULL))
		return NULL;
	pthread_mutex_lock(&lock);
	for (c = commands; c != NULL && c->stream != stream; c = c->next)
		before = c;
	if (c != NULL && before != NULL)
		before->next = c->next;
	else if (c != NULL)
		commands = c->next;
	pthread_mutex_unlock(&lock);
	return c;
}

static int finish(struct command *c)
{
	int status = -1;

	real.fclose(c->stream);
	while (real.syscall(SYS_wait4, c->pid, &status, 0, NULL) < 0) {
		if (errno != EINTR) {
			status = -1;
			break;
		}
	}
	free(c);
	return status;
}

int fclose(FILE *stream)
{
	struct command *c = find(stream);

	return c != NULL ? finish(c) : real.fclose(stream);
}

int pclose(FILE *stream)
{
	return fclose(stream);
}
