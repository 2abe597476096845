/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Private to src/sock: how a socket option is described. One table for each level.
 */
#ifndef ZS_SOCK_SOCK_OPT_H
#define ZS_SOCK_SOCK_OPT_H

#include "sock/sock_priv.h"

/* A value on its way. set: len bytes given in v. get: fill v, set len. */
struct opt_value {
	uint8_t v[CHAN_DATA_MAX];
	uint32_t len;
};

/* 0 or -errno. NULL in the table: that direction is refused with -ENOPROTOOPT. */
struct sock_option {
	int name;
	uint8_t kinds; /* OPT_TCP, OPT_UDP */
	int (*set)(struct sock *k, const struct opt_value *in);
	int (*get)(struct sock *k, struct opt_value *out);
};

enum { OPT_TCP = 1, OPT_UDP = 2, OPT_BOTH = 3 };

struct opt_level {
	const struct sock_option *option;
	uint32_t n;
};
extern const struct opt_level opt_socket, opt_tcp, opt_ip, opt_ip6;

/* Most options are an int; those of one byte at IPPROTO_IP are taken as such, too (Linux). -EINVAL.
 */
int opt_int(const struct opt_value *in, int *out) must_check;

static inline int opt_put_int(struct opt_value *out, int v)
{
	memcpy(out->v, &v, sizeof(v));
	out->len = sizeof(v);
	return 0;
}

/* A flag of the socket. */
int opt_set_flag(struct sock *k, const struct opt_value *in, uint16_t flag);
int opt_get_flag(const struct sock *k, struct opt_value *out, uint16_t flag);

/* The engine's options of a TCP socket, wherever they are kept now. -EINVAL: there are none. */
int opt_tcp_load(struct sock *k, struct tcp_opt *o) must_check;
int opt_tcp_store(struct sock *k, const struct tcp_opt *o) must_check;

/* sock_info.c: struct tcp_info of Linux into out, at most len bytes. Bytes written or -errno. */
int sock_tcp_info(struct sock *k, void *out, uint32_t len);
/* Linux's number of a TCP socket's state. */
uint8_t sock_tcp_state(const struct sock *k);

#endif
