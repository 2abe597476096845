/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Also in the tool. Can a library be loaded before the C library into a program, and do the
 * program's calls on sockets go by the C library? What can't be served is recognised before it is
 * started: it would use the kernel, and nobody would know.
 */
#ifndef ZS_PRELOAD_IMAGE_H
#define ZS_PRELOAD_IMAGE_H

#include <stddef.h>

#define IMAGE_REFUSED	126 /* as of env(1) and the shell: found, but can't be run (so) */
#define IMAGE_NOT_FOUND 127
#define IMAGE_SUPERVISED 1 /* no library can be loaded, but it can be served without (tools/supervise.h) */

/* Looks at what execvp(program) would start, and at the interpreters of scripts. 0: can be served,
 * or can't be told (no permission to read it, no ELF file and no script: execvp knows what to do);
 * else an exit status, with a sentence in why that begins with the file's name. */
int image_check(const char *program, char *why, size_t len);

#endif
