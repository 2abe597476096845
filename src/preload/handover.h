/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets for a program that is about to be executed (docs/design/011, 5; client/exec.h): what exec
 * does not close is ours to hand over. handover.c gives it, adopt.c takes it.
 */
#ifndef ZS_PRELOAD_HANDOVER_H
#define ZS_PRELOAD_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#pragma GCC visibility push(hidden)

#define HANDOVER_TEXTS 7

struct handover {
	int letter;		    /* -1: there is nothing to hand over */
	char **env;		    /* of the program to come; what was given if there is nothing */
	char *text[HANDOVER_TEXTS]; /* variables made for it */
	int relay; /* -1: what serves a program that can't load the library; relay.h */
	int cancel_state;
	int *fd; /* numbers with a placeholder of their own */
	unsigned n_fds;
};

enum handover_how {
	HANDOVER_EXEC,	/* this process becomes it */
	HANDOVER_SPAWN, /* a child does */
	HANDOVER_DUPS,	/* a child does, and copies numbers before */
};

/* file: of the program, as image_check() has it. HANDOVER_DUPS: numbers that a child may copy
 * before it executes the program (spawn_note_dup()) are to be there, too. Never fails: what can't
 * be handed over is closed. The thread is not cancelled until handover_end(). */
void handover_begin(struct handover *h, const char *file, char *const *env, enum handover_how how);
/* The program was not executed, or it was, by a child. */
void handover_end(struct handover *h, bool executed);
/* This number was named as one to be copied in a child to come. */
void handover_note_dup(int fd);

/* ---- environ.c ---- */

/* What `zstack run` said, as it was when the program started: by constructors, which have no
 * getenv() yet, and when the program has cleaned its environment. NULL. */
const char *run_env(const char *name);
#define HANDOVER_ENV "ZSTACK_EXEC" /* the letter's number */
/* A copy of env with what the library needs in a program to come. text: what is made for it, in at
 * most n places. NULL: no memory. */
char **run_env_copy(char *const *env, int letter, char **text, unsigned n);

#pragma GCC visibility pop

#endif
