/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See link.h.
 */
#include <errno.h>

#include "chan/link.h"

#define AT(field, where) _Static_assert(offsetof(struct link_entry, field) == (where), #field)

AT(seq, 0);
AT(to, 4);
AT(gen, 8);
AT(token, 12);
AT(len, 16);
AT(region, 20);
AT(off, 24);
AT(flags, 28);
_Static_assert((LINK_RETURNS & (LINK_RETURNS - 1)) == 0 && (LINK_SLOTS & (LINK_SLOTS - 1)) == 0,
	       "positions wrap at 2^32");

void link_format(struct link_shm *sh)
{
	sh->version = LINK_VERSION;
	sh->magic = LINK_MAGIC;
}

int link_attach(struct link_end *e, struct link_shm *sh, unsigned side)
{
	if (sh->magic != LINK_MAGIC || sh->version != LINK_VERSION || side > 1)
		return -EPROTO;
	*e = (struct link_end){.mine = &sh->side[side],
			       .other = &sh->side[1 - side],
			       .secret = sh->secret,
			       .secret2 = sh->secret2};
	return 0;
}
