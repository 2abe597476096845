/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to exec.c, which writes it, and exec_adopt.c, which reads it: what lies in the letter for
 * a program to come. Its messages:
 *
 *	WELCOME, with the descriptors of an application and one more, a memfd; or, if no service
 *	  has made one (EXEC_ALONE), FORK with the memfd alone
 *	FORK, with vouchers, as often as there are some: that for attaching first (EXEC_VOUCHER),
 *	  then those of the items that say so, in their order. The last ones may be missing
 *
 *	memfd: [ struct exec_head | struct exec_item, its options | ... ]
 */
#ifndef ZS_CLIENT_EXEC_LETTER_H
#define ZS_CLIENT_EXEC_LETTER_H

#include "client/exec.h"
#include "client/image.h"

#define EXEC_MAGIC 0x4558535bu

#define EXEC_ALONE   1u
#define EXEC_REFUSED 2u /* ALONE, for the service that there is has no place */
#define EXEC_VOUCHER 4u

struct exec_head {
	uint32_t magic;
	uint32_t image_bytes; /* another version has another size */
	uint32_t n;
	uint32_t flags;
	char path[112]; /* of the service, and its name (attach_name()) */
	char name[112];
	/* ALONE: the service that was, and the sizes of the tables, which the next one is told. */
	uint32_t uid, free_ports_from, n_cores, pad;
	uint64_t arena_bytes;
	struct chan_hdr hdr;
};

struct exec_item {
	struct exec_file file;
	struct sock_image image;
	uint32_t voucher; /* 1: one comes */
	uint32_t pad;
};

#endif
