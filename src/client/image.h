/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A socket in writing, for a program that is to have it: what the service does not know of it, and
 * its names there. One image writes it, another reads it (exec.c), or one process for another
 * (pass.c); so it is checked when it is read.
 */
#ifndef ZS_CLIENT_IMAGE_H
#define ZS_CLIENT_IMAGE_H

#include "client/client_priv.h"

struct sock_image {
	int32_t domain;
	uint8_t type, state, shut;
	uint8_t first; /* core whose socket the descriptor names */
	uint32_t flags;
	int32_t err, linger_s;
	uint32_t rcvlowat, limit, backlog, bound_scope, peer_scope;
	uint32_t n_opts; /* struct opt, which follow */
	int64_t rcvtimeo_ns, sndtimeo_ns;
	uint8_t peer[16], local[16];
	uint16_t peer_port, local_port;
	uint32_t sid[EMBED_CORES_MAX]; /* of the reader, by core; 0 = none there */
	uint32_t stamps;
	uint64_t key; /* by which its holders know one another at the next service; 0 */
};
_Static_assert(sizeof(struct sock_image) == 176, "the same for all who read it");

/* Of a socket and its group: names are those that SHARE gave (child_sid). */
void image_write(struct sock_image *i, const struct csock *s);
/* For one who has it at no service, or not yet: no name, and no connection. */
void image_is_alone(struct sock_image *i);
/* The socket, without a descriptor; its group with it. opts: i->n_opts. NULL: that can't be one. */
struct csock *image_open(const struct sock_image *i, const struct opt *opts) must_check;

#endif
