/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack's addresses, for the environment of a program: what the library goes by in one that is
 * started while there is no service (preload/run.h). What can't be had is left out, and no fault.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "chan/attach.h"
#include "zstack.h"

#define ANSWER_S   2
#define ANSWER_MAX (256u << 10)

/* The whole answer, of malloc, with a zero at its end; NULL. */
static char *answer(int fd)
{
	struct attach_piece p;
	char *all = calloc(1, 1), *more;
	size_t len = 0;
	ssize_t n;

	while (all != NULL && (n = attach_recv_piece(fd, &p)) != 0) {
		more = n > 0 && len + (size_t)n < ANSWER_MAX ? realloc(all, len + (size_t)n + 1)
							     : NULL;
		if (more == NULL) {
			free(all);
			return NULL;
		}
		all = more;
		memcpy(all + len, p.bytes, (size_t)n);
		len += (size_t)n;
		all[len] = '\0';
	}
	return all;
}

/* Adds the address of one line of the answer to a list with blanks. */
static void add(char **list, const char *line, size_t len)
{
	json_t *o = json_loadb(line, len, 0, NULL);
	const char *addr = json_string_value(json_object_get(o, "addr"));
	char *longer;

	if (addr != NULL && asprintf(&longer, "%s%s%s", *list != NULL ? *list : "",
				     *list != NULL ? " " : "", addr) >= 0) {
		free(*list);
		*list = longer;
	}
	json_decref(o);
}

char *known_addresses(int fd)
{
	static const char ask[] = "{\"do\":\"addrs\"}";
	struct timeval patience = {.tv_sec = ANSWER_S};
	struct attach_piece p;
	char *text = NULL, *list = NULL, *end;

	memcpy(p.bytes, ask, sizeof(ask) - 1);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (attach_send(fd, ATTACH_ADMIN, &p, sizeof(p.head) + sizeof(ask) - 1, NULL, 0) == 0)
		text = answer(fd);
	for (char *at = text; at != NULL && (end = strchr(at, '\n')) != NULL; at = end + 1)
		add(&list, at, (size_t)(end - at));
	free(text);
	return list;
}
