/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Which network namespace is this? A number that differs between all of a running kernel.
 */
#ifndef ZS_CHAN_NETNS_H
#define ZS_CHAN_NETNS_H

#include <stdint.h>

/* Of the calling thread. 0: not known (before Linux 5.14, or no descriptor can be had). */
uint64_t netns_id(void);

#endif
