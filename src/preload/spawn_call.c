/* SPDX-License-Identifier: BSD-3-Clause
 *
 * posix_spawn: the C library makes the child itself, in the parent's memory, and calls no hook in
 * it. So everything is prepared before, for whatever the file actions do with the numbers.
 */
#include <string.h>

#include "preload/handover.h"
#include "preload/preload.h"

struct spawn_call {
	pid_t *pid;
	const char *file;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attr;
	char *const *argv, *const *env;
	bool search; /* of PATH */
};

static int really(const struct spawn_call *c, char *const *env)
{
	return (c->search ? real.posix_spawnp : real.posix_spawn)(c->pid, c->file, c->actions,
								  c->attr, c->argv, env);
}

static int call(const struct spawn_call *c)
{
	struct handover h;
	char name[4200];
	int r;

	if (!started() || c->file == NULL)
		return really(c, c->env);
	snprintf(name, sizeof(name), "%s%s", c->search || strchr(c->file, '/') != NULL ? "" : "./",
		 c->file);
	handover_begin(&h, name, c->env, c->actions != NULL ? HANDOVER_DUPS : HANDOVER_SPAWN);
	r = really(c, h.env);
	handover_end(&h, r == 0);
	return r;
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	return call(&(struct spawn_call){pid, path, actions, attr, argv, env, false});
}

extern typeof(posix_spawn) hook_posix_spawn __attribute__((alias("posix_spawn")));

int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attr, char *const argv[], char *const env[])
{
	return call(&(struct spawn_call){pid, file, actions, attr, argv, env, true});
}

int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *actions, int fd, int to)
{
	handover_note_dup(fd);
	return real.posix_spawn_file_actions_adddup2(actions, fd, to);
}
