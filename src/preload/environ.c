/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The environment: what it said when the program started, and what it is to say to a program that
 * gets sockets from this one, whatever the program has made of it.
 */
#include <stdlib.h>
#include <string.h>

#include "preload/handover.h"
#include "preload/preload.h"
#include "preload/run.h"

enum { PRELOAD, SOCKET, CONFIG, RUN, TOOL, ADDRS, EXEC, KNOWN };
_Static_assert(KNOWN == HANDOVER_TEXTS, "a place for each");
static const char *const names[KNOWN] = {"LD_PRELOAD", RUN_ENV_SOCKET, RUN_ENV_CONFIG, RUN_ENV,
					 RUN_ENV_TOOL, RUN_ENV_ADDRS,  HANDOVER_ENV};
static char *value[KNOWN];

/* The value in "NAME=VALUE" if it is that name, else NULL. */
static const char *value_of(const char *entry, const char *name)
{
	size_t n = strlen(name);

	return strncmp(entry, name, n) == 0 && entry[n] == '=' ? entry + n + 1 : NULL;
}

static int known(const char *entry)
{
	for (int i = 0; i < KNOWN; i++)
		if (value_of(entry, names[i]) != NULL)
			return i;
	return -1;
}

/* The C library's own constructor, which sets environ, runs behind those of the library; but it
 * gives this to all. A letter is for one reader: whom this program starts does not see it. */
__attribute__((constructor(102))) static void environ_read(int argc, char **argv, char **env)
{
	char **to = env;

	(void)argc;
	(void)argv;
	for (char **e = env; *e != NULL; e++) {
		int i = known(*e);

		if (i >= 0 && value[i] == NULL)
			value[i] = strdup(value_of(*e, names[i]));
		if (i != EXEC)
			*to++ = *e;
	}
	*to = NULL;
}

const char *run_env(const char *name)
{
	for (int i = 0; i < KNOWN; i++)
		if (strcmp(names[i], name) == 0)
			return value[i];
	return NULL;
}

/* "LD_PRELOAD=…" for the program to come: its own, and this library's before it. NULL: no memory.
 */
static char *preload_text(const char *theirs)
{
	char *text;

	if (theirs != NULL && strstr(theirs, RUN_LIBRARY) != NULL)
		return asprintf(&text, "LD_PRELOAD=%s", theirs) < 0 ? NULL : text;
	if (asprintf(&text, "LD_PRELOAD=%s%s%s", value[PRELOAD] != NULL ? value[PRELOAD] : "",
		     theirs != NULL ? ":" : "", theirs != NULL ? theirs : "") < 0)
		return NULL;
	return text;
}

static char *text_of(int i, const char *theirs, int letter)
{
	char *text;
	int r;

	if (i == PRELOAD)
		return preload_text(theirs);
	if (i == EXEC)
		r = asprintf(&text, HANDOVER_ENV "=%d", letter);
	else
		r = asprintf(&text, "%s=%s", names[i], theirs != NULL ? theirs : value[i]);
	return r < 0 ? NULL : text;
}

char **run_env_copy(char *const *env, int letter, char **text, unsigned n)
{
	const char *theirs[KNOWN] = {NULL};
	unsigned entries = 0, to = 0;
	char **copy;

	ASSERT(n >= KNOWN);
	while (env != NULL && env[entries] != NULL)
		entries++;
	copy = calloc(entries + KNOWN + 1, sizeof(*copy));
	if (copy == NULL)
		return NULL;
	for (unsigned e = 0; e < entries; e++) {
		int i = known(env[e]);

		if (i < 0)
			copy[to++] = env[e];
		else if (theirs[i] == NULL)
			theirs[i] = value_of(env[e], names[i]);
	}
	for (int i = 0; i < KNOWN; i++) {
		text[i] = NULL;
		if (i != EXEC && theirs[i] == NULL && value[i] == NULL)
			continue;
		text[i] = text_of(i, theirs[i], letter);
		if (text[i] != NULL)
			copy[to++] = text[i];
	}
	return copy;
}
