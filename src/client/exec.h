/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Sockets across exec(2), for a host of libzstack that knows which file each of them is in the
 * kernel's table (host.h, src/preload). The old image prepares, the new one adopts. See exec.c.
 */
#ifndef ZS_CLIENT_EXEC_H
#define ZS_CLIENT_EXEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

/* A socket and what stands for it: a file, by which the new image finds it at whatever numbers. */
struct exec_file {
	int fd;
	uint64_t dev, ino;
	uint64_t note[2]; /* the host's, handed through */
};

/* f: the sockets that are to be there, each once. A descriptor for the new image, which exec does
 * not close; closing it undoes everything. becomes: this process is the one that executes it.
 * -ENOTCONN: there is no service; -ENOENT: none of them can go along. Only what connects right now
 * never can. */
int exec_prepare(const struct exec_file *f, unsigned n, bool becomes) must_check;

/* In the new image, before zs_start(): attaches. How many sockets there are; they are in *out, to
 * be freed, without numbers. */
int exec_adopt(int letter, struct exec_file **out) must_check;
/* The i-th of them has this number, perhaps among others. */
int exec_place(unsigned i, int fd) must_check;
/* That were all: those without a number are closed. */
void exec_placed(void);

#endif
