/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options of the level IPPROTO_TCP. The engine keeps them all in one struct tcp_opt: a socket holds
 * it until there is a connection, then the connection does; a listener's is what its connections
 * start with.
 *
 * Not done: TCP_DEFER_ACCEPT and TCP_SYNCNT (the engine has one number for all: -ENOPROTOOPT),
 * TCP_FASTOPEN, TCP_MD5SIG, TCP_REPAIR, TCP_ULP, TCP_NOTSENT_LOWAT.
 */
#include "sock/sock_opt.h"
#include "tcp/cc.h"

#include <linux/tcp.h>

int opt_tcp_load(struct sock *k, struct tcp_opt *o)
{
	if (k->opt != NULL)
		*o = *k->opt;
	else if (k->kind == SOCK_CONN)
		tcp_opt_get(k->conn, o);
	else
		return -EINVAL;
	return 0;
}

int opt_tcp_store(struct sock *k, const struct tcp_opt *o)
{
	struct tcp *t = k->app->s->cfg.tcp;
	int err = 0;

	if (k->kind == SOCK_CONN || k->kind == SOCK_CONNECTING)
		err = tcp_opt_set(t, k->conn, o);
	else if (k->kind == SOCK_LISTEN)
		tcp_listen_opt(k->listener, o);
	if (err == 0 && k->opt != NULL)
		*k->opt = *o;
	return err;
}

/* What an int option does with struct tcp_opt: where its field lies, how large it is, what it may
 * be. */
struct field {
	int name;
	uint16_t off;
	uint8_t size;
	int min, max;
};

#define FIELD(name, f, min, max)                                                                   \
	{                                                                                          \
		name, offsetof(struct tcp_opt, f), sizeof(((struct tcp_opt *)0)->f), min, max      \
	}

static const struct field fields[] = {
	FIELD(TCP_NODELAY, nodelay, INT32_MIN, INT32_MAX),
	FIELD(TCP_CORK, cork, INT32_MIN, INT32_MAX),
	FIELD(TCP_QUICKACK, quickack, INT32_MIN, INT32_MAX),
	FIELD(TCP_MAXSEG, mss_max, 88, 32767),
	FIELD(TCP_KEEPIDLE, keepidle_s, 1, 32767),
	FIELD(TCP_KEEPINTVL, keepintvl_s, 1, 32767),
	FIELD(TCP_KEEPCNT, keepcnt, 1, 127),
	FIELD(TCP_USER_TIMEOUT, user_timeout_ms, 0, INT32_MAX),
	FIELD(TCP_LINGER2, linger2_s, 0, 65535),
};

static int field_set(struct sock *k, const struct opt_value *in, int name)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err == 0)
		err = opt_tcp_load(k, &o);
	for (uint32_t i = 0; err == 0 && i < array_size(fields); i++) {
		const struct field *f = &fields[i];
		char *at = (char *)&o + f->off;

		if (f->name != name)
			continue;
		if (v < f->min || v > f->max)
			return -EINVAL;
		if (f->size == 1)
			*(bool *)at = v != 0;
		else if (f->size == 2)
			*(uint16_t *)at = (uint16_t)v;
		else
			*(uint32_t *)at = (uint32_t)v;
		return opt_tcp_store(k, &o);
	}
	return err != 0 ? err : -ENOPROTOOPT;
}

static int field_get(struct sock *k, struct opt_value *out, int name)
{
	struct tcp_opt o;
	int err = opt_tcp_load(k, &o);

	for (uint32_t i = 0; err == 0 && i < array_size(fields); i++) {
		const struct field *f = &fields[i];
		const char *at = (const char *)&o + f->off;

		if (f->name != name)
			continue;
		if (f->size == 1)
			return opt_put_int(out, *(const bool *)at);
		if (f->size == 2)
			return opt_put_int(out, *(const uint16_t *)at);
		return opt_put_int(out, (int)*(const uint32_t *)at);
	}
	return err != 0 ? err : -ENOPROTOOPT;
}

#define FIELD_OPTION(name)                                                                         \
	static int set_##name(struct sock *k, const struct opt_value *in)                          \
	{                                                                                          \
		return field_set(k, in, name);                                                     \
	}                                                                                          \
	static int get_##name(struct sock *k, struct opt_value *out)                               \
	{                                                                                          \
		return field_get(k, out, name);                                                    \
	}

FIELD_OPTION(TCP_NODELAY)
FIELD_OPTION(TCP_QUICKACK)
FIELD_OPTION(TCP_MAXSEG)
FIELD_OPTION(TCP_KEEPIDLE)
FIELD_OPTION(TCP_KEEPINTVL)
FIELD_OPTION(TCP_KEEPCNT)
FIELD_OPTION(TCP_USER_TIMEOUT)
FIELD_OPTION(TCP_LINGER2)

static int get_TCP_CORK(struct sock *k, struct opt_value *out)
{
	return field_get(k, out, TCP_CORK);
}

/* Whatever waits for more goes when the cork is taken out, also what MSG_MORE held back (Linux). */
static int set_TCP_CORK(struct sock *k, const struct opt_value *in)
{
	int v = 0, err = opt_int(in, &v);

	if (err == 0)
		err = field_set(k, in, TCP_CORK);
	if (err == 0 && v == 0 && k->kind == SOCK_CONN)
		tcp_send_uncork(k->app->s->cfg.tcp, k->conn);
	return err;
}

static int set_congestion(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	uint32_t n = in->len < sizeof(o.cc) ? in->len : (uint32_t)sizeof(o.cc) - 1;
	int err = opt_tcp_load(k, &o);

	if (in->len == 0)
		return -EINVAL;
	if (err != 0)
		return err;
	memset(o.cc, 0, sizeof(o.cc));
	memcpy(o.cc, in->v, n);
	if (!tcp_cc_find(o.cc))
		return -ENOENT;
	return opt_tcp_store(k, &o);
}

static int get_congestion(struct sock *k, struct opt_value *out)
{
	struct tcp_opt o;
	int err = opt_tcp_load(k, &o);

	if (err != 0)
		return err;
	memcpy(out->v, o.cc, sizeof(o.cc));
	out->len = sizeof(o.cc);
	return 0;
}

/* The segment size in use, once there is a connection (Linux). */
static int get_maxseg(struct sock *k, struct opt_value *out)
{
	struct tcp_info_full i;

	if (k->kind != SOCK_CONN)
		return get_TCP_MAXSEG(k, out);
	tcp_conn_info(k->app->s->cfg.tcp, k->conn, &i);
	return opt_put_int(out, (int)i.snd_mss);
}

static const struct sock_option tcp_options[] = {
	{TCP_NODELAY, OPT_TCP, set_TCP_NODELAY, get_TCP_NODELAY},
	{TCP_CORK, OPT_TCP, set_TCP_CORK, get_TCP_CORK},
	{TCP_QUICKACK, OPT_TCP, set_TCP_QUICKACK, get_TCP_QUICKACK},
	{TCP_MAXSEG, OPT_TCP, set_TCP_MAXSEG, get_maxseg},
	{TCP_KEEPIDLE, OPT_TCP, set_TCP_KEEPIDLE, get_TCP_KEEPIDLE},
	{TCP_KEEPINTVL, OPT_TCP, set_TCP_KEEPINTVL, get_TCP_KEEPINTVL},
	{TCP_KEEPCNT, OPT_TCP, set_TCP_KEEPCNT, get_TCP_KEEPCNT},
	{TCP_USER_TIMEOUT, OPT_TCP, set_TCP_USER_TIMEOUT, get_TCP_USER_TIMEOUT},
	{TCP_LINGER2, OPT_TCP, set_TCP_LINGER2, get_TCP_LINGER2},
	{TCP_CONGESTION, OPT_TCP, set_congestion, get_congestion},
};

const struct opt_level opt_tcp = {tcp_options, array_size(tcp_options)};
