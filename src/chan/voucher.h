/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Vouchers: what a program was allowed when it began, for a service that comes later.
 *
 * A server attaches and binds its port as root, becomes another user, and makes children. When the
 * service is replaced, the next one knows nothing of this, and sees a user who may not attach, or
 * not have the port. So root, and nobody else needs to, makes a descriptor that says what for; by
 * it the kernel vouches for the user who made it (SO_PEERCRED of a listening UNIX socket is
 * its maker's, and its name can't be changed). Whoever has it, by fork from its maker or given by
 * him, may do that one thing as its maker may: which is decided by the policy of then. A program
 * that is executed gets those of the sockets that it gets (client/exec.c).
 *
 * It is as good as the socket that it goes with: it is made, kept and closed with that.
 */
#ifndef ZS_CHAN_VOUCHER_H
#define ZS_CHAN_VOUCHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"

#define VOUCHER_MAX    64 /* bytes of a purpose, its end included */
#define VOUCHER_ATTACH "attach"

/* The purpose of one for a port. addr: IPv4 mapped; zero: any. */
void voucher_for_bind(char purpose[VOUCHER_MAX], const uint8_t addr[16], uint16_t port, bool udp);
/* A new one, close-on-exec, of the caller's effective user; or -errno. */
must_check int voucher_make(const char *purpose);
/* Who made it? 0; -EINVAL: it is none for this purpose. NULL: for any. */
must_check int voucher_read(int fd, const char *purpose, uint32_t *user);

#endif
