/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack's addresses (address.c).
 */
#ifndef ZS_PRELOAD_ADDRESS_H
#define ZS_PRELOAD_ADDRESS_H

#include "base/assert.h"
#include "chan/chan.h"

#define ADDRESSES_MAX 64 /* of a stack */

#pragma GCC visibility push(hidden)

/* How many, or -errno; CHAN_ROUTE_*: default routes there are, or may be. Not older than a second,
 * if there is a service. Attaches to it. */
int stack_addresses(struct chan_addr a[ADDRESSES_MAX], unsigned *routes) must_check;
/* As they are now. */
int stack_addresses_now(struct chan_addr a[ADDRESSES_MAX]) must_check;

#pragma GCC visibility pop

#endif
