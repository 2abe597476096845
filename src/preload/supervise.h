/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the library does for `zstack supervise` (tools/supervise.h), an ordinary program under it
 * that has to know, of sockets of another program, whose they would be. The two functions are
 * found by name with dlsym(): the tool is not linked with the library.
 */
#ifndef ZS_PRELOAD_SUPERVISE_H
#define ZS_PRELOAD_SUPERVISE_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#define SUPERVISE_WHOSE "zstack_supervise_whose"
#define SUPERVISE_TAKE	"zstack_supervise_take"

struct supervise_ask {
	int fd;		  /* the kernel's socket, as the caller has it */
	int number;	  /* as the program has it, for verbose */
	pid_t pid;	  /* the program's, for verbose */
	const char *verb; /* "bind", "listen", "connect" */
	const struct sockaddr *addr;
	socklen_t len;
	bool connect;
};

/* Bits of the answer. */
#define SUPERVISE_OURS	 1
#define SUPERVISE_KERNEL 2 /* with OURS: both */
#define SUPERVISE_SHARED 4 /* the kernel has the stack's addresses, too */

/* The rules are asked, the answer is counted and, if that is wanted, said. Bits; -errno that the
 * program is to get. */
typedef int (*supervise_whose_fn)(const struct supervise_ask *a);
/* A socket that the caller has just made with socket() is Z-Stack's alone from here on, whatever it
 * is bound or connected to. 0, -errno. */
typedef int (*supervise_take_fn)(int fd);

#endif
