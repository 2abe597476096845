/* SPDX-License-Identifier: BSD-3-Clause
 *
 * setsockopt and getsockopt: the commands, and the level SOL_SOCKET. Names and values are Linux's.
 * What is not in a table is -ENOPROTOOPT. The client keeps some itself (chan.h).
 *
 * Not done: SO_BINDTODEVICE, SO_ATTACH_FILTER, SO_PEEK_OFF and their like.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "sock/sock_opt.h"
#include "sock/sock_udp.h"

#include <linux/tcp.h>

int opt_int(const struct opt_value *in, int *out)
{
	if (in->len >= sizeof(*out))
		memcpy(out, in->v, sizeof(*out));
	else if (in->len >= 1)
		*out = in->v[0];
	else
		return -EINVAL;
	return 0;
}

int opt_set_flag(struct sock *k, const struct opt_value *in, uint16_t flag)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	k->flags = v != 0 ? k->flags | flag : k->flags & (uint16_t)~flag;
	return 0;
}

int opt_get_flag(const struct sock *k, struct opt_value *out, uint16_t flag)
{
	return opt_put_int(out, (k->flags & flag) != 0);
}

#define FLAG_OPTION(name, flag)                                                                    \
	static int set_##name(struct sock *k, const struct opt_value *in)                          \
	{                                                                                          \
		return opt_set_flag(k, in, flag);                                                  \
	}                                                                                          \
	static int get_##name(struct sock *k, struct opt_value *out)                               \
	{                                                                                          \
		return opt_get_flag(k, out, flag);                                                 \
	}

FLAG_OPTION(reuseaddr, SOCKF_REUSEADDR)
FLAG_OPTION(reuseport, SOCKF_REUSEPORT)
FLAG_OPTION(broadcast, SOCKF_BROADCAST)
FLAG_OPTION(dontroute, SOCKF_DONTROUTE)

static int get_type(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->kind == SOCK_UDP ? SOCK_DGRAM : SOCK_STREAM);
}

static int get_domain(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->domain);
}

static int get_protocol(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->kind == SOCK_UDP ? IPPROTO_UDP : IPPROTO_TCP);
}

static int get_acceptconn(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, k->kind == SOCK_LISTEN);
}

static int set_keepalive(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err != 0 || k->kind == SOCK_UDP)
		return err;
	err = opt_tcp_load(k, &o);
	if (err != 0)
		return err;
	o.keepalive = v != 0;
	return opt_tcp_store(k, &o);
}

static int get_keepalive(struct sock *k, struct opt_value *out)
{
	struct tcp_opt o = {0};

	if (k->kind != SOCK_UDP) {
		int err = opt_tcp_load(k, &o);

		if (err != 0)
			return err;
	}
	return opt_put_int(out, o.keepalive);
}

static int set_oobinline(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int err = opt_set_flag(k, in, SOCKF_OOBINLINE);

	if (err == 0)
		err = opt_tcp_load(k, &o);
	if (err != 0)
		return err;
	o.oob_inline = (k->flags & SOCKF_OOBINLINE) != 0;
	return opt_tcp_store(k, &o);
}

static int get_oobinline(struct sock *k, struct opt_value *out)
{
	return opt_get_flag(k, out, SOCKF_OOBINLINE);
}

static int set_linger(struct sock *k, const struct opt_value *in)
{
	struct linger l;

	if (in->len < sizeof(l))
		return -EINVAL;
	memcpy(&l, in->v, sizeof(l));
	k->flags = l.l_onoff ? k->flags | SOCKF_LINGER : k->flags & (uint16_t)~SOCKF_LINGER;
	k->linger_s = (uint16_t)(l.l_linger < 0 ? 0 : l.l_linger > 65535 ? 65535 : l.l_linger);
	return 0;
}

static int get_linger(struct sock *k, struct opt_value *out)
{
	struct linger l = {.l_onoff = (k->flags & SOCKF_LINGER) != 0, .l_linger = k->linger_s};

	memcpy(out->v, &l, sizeof(l));
	out->len = sizeof(l);
	return 0;
}

static uint32_t buf_size(int v)
{
	return v < 4096 ? 4096 : v > (int)SOCK_BUF_MAX ? SOCK_BUF_MAX : (uint32_t)v;
}

static int set_rcvbuf(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (k->kind == SOCK_UDP) {
		k->udp->rcvbuf = buf_size(v);
		return 0;
	}
	err = opt_tcp_load(k, &o);
	if (err != 0)
		return err;
	o.rcvbuf = buf_size(v);
	return opt_tcp_store(k, &o);
}

/* What a connection begins with, unless it is told otherwise. */
static uint32_t first_rcvbuf(void)
{
	struct tcp_cfg c;

	tcp_cfg_defaults(&c);
	return c.rcvbuf_bytes;
}

static int get_rcvbuf(struct sock *k, struct opt_value *out)
{
	struct tcp_info_full i;
	struct tcp_opt o;
	int err;

	if (k->kind == SOCK_UDP)
		return opt_put_int(out, (int)k->udp->rcvbuf);
	if (k->kind == SOCK_CONN || k->kind == SOCK_CONNECTING) {
		tcp_conn_info(k->app->s->cfg.tcp, k->conn, &i);
		return opt_put_int(out, (int)i.rcvbuf);
	}
	err = opt_tcp_load(k, &o);
	if (err == 0 && o.rcvbuf == 0)
		o.rcvbuf = first_rcvbuf();
	return err != 0 ? err : opt_put_int(out, (int)o.rcvbuf);
}

static int set_sndbuf(struct sock *k, const struct opt_value *in)
{
	struct tcp_opt o;
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (k->kind != SOCK_UDP) {
		err = opt_tcp_load(k, &o);
		if (err != 0)
			return err;
		o.sndbuf = buf_size(v);
		err = opt_tcp_store(k, &o);
		if (err != 0)
			return err;
	}
	k->limit = buf_size(v);
	sock_news(k, NEWS_LIMIT);
	return 0;
}

static int get_sndbuf(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, (int)k->limit);
}

static int set_priority(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err == 0)
		k->priority = (uint32_t)v;
	return err;
}

static int get_priority(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, (int)k->priority);
}

static int set_mark(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err == 0)
		k->mark = (uint32_t)v;
	return err;
}

static int get_mark(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, (int)k->mark);
}

static const struct sock_option socket_options[] = {
	{SO_REUSEADDR, OPT_BOTH, set_reuseaddr, get_reuseaddr},
	{SO_REUSEPORT, OPT_BOTH, set_reuseport, get_reuseport},
	{SO_BROADCAST, OPT_BOTH, set_broadcast, get_broadcast},
	{SO_DONTROUTE, OPT_BOTH, set_dontroute, get_dontroute},
	{SO_TYPE, OPT_BOTH, NULL, get_type},
	{SO_DOMAIN, OPT_BOTH, NULL, get_domain},
	{SO_PROTOCOL, OPT_BOTH, NULL, get_protocol},
	{SO_ACCEPTCONN, OPT_BOTH, NULL, get_acceptconn},
	{SO_KEEPALIVE, OPT_BOTH, set_keepalive, get_keepalive},
	{SO_OOBINLINE, OPT_TCP, set_oobinline, get_oobinline},
	{SO_LINGER, OPT_BOTH, set_linger, get_linger},
	{SO_RCVBUF, OPT_BOTH, set_rcvbuf, get_rcvbuf},
	{SO_SNDBUF, OPT_BOTH, set_sndbuf, get_sndbuf},
	{SO_PRIORITY, OPT_BOTH, set_priority, get_priority},
	{SO_MARK, OPT_BOTH, set_mark, get_mark},
};

/* ---- SOL_ZSTACK ---- */

/* Too late when a link was offered: either end may be on it. */
static int set_same_node(struct sock *k, const struct opt_value *in)
{
	int v, err = opt_int(in, &v);

	if (err != 0)
		return err;
	if (v == 0 && k->records)
		return -EOPNOTSUPP;
	if (v == 0 && sock_link_offered(k))
		return -EISCONN;
	if (v != 0)
		k->flags &= (uint16_t)~SOCKF_NO_LINK;
	else
		k->flags |= SOCKF_NO_LINK;
	if (v != 0 && k->share == NULL) {
		sock_link_look(k);
		sock_news(k, 0);
	}
	return 0;
}

static int get_same_node(struct sock *k, struct opt_value *out)
{
	return opt_put_int(out, (k->flags & SOCKF_NO_LINK) == 0);
}

static const struct sock_option zstack_options[] = {
	{CHAN_OPT_SAME_NODE, OPT_BOTH, set_same_node, get_same_node},
};

static const struct opt_level opt_zstack = {zstack_options, array_size(zstack_options)};

const struct opt_level opt_socket = {socket_options, array_size(socket_options)};

static const struct opt_level *level_of(int level)
{
	switch (level) {
	case SOL_SOCKET:
		return &opt_socket;
	case IPPROTO_TCP:
		return &opt_tcp;
	case IPPROTO_IP:
		return &opt_ip;
	case IPPROTO_IPV6:
		return &opt_ip6;
	case CHAN_OPT_LEVEL:
		return &opt_zstack;
	}
	return NULL;
}

static const struct sock_option *find(const struct sock *k, int level, int name)
{
	const struct opt_level *l = level_of(level);
	uint8_t kind = k->kind == SOCK_UDP ? OPT_UDP : OPT_TCP;

	for (uint32_t i = 0; l != NULL && i < l->n; i++) {
		if (l->option[i].name == name && (l->option[i].kinds & kind))
			return &l->option[i];
	}
	return NULL;
}

static int setopt(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	const struct sock_option *o = find(c->k, q->opt.level, q->opt.name);
	struct opt_value in = {.len = q->len};

	if (o == NULL || o->set == NULL)
		return -ENOPROTOOPT;
	if (q->len > sizeof(q->opt.value))
		return -EINVAL;
	memcpy(in.v, q->opt.value, q->len);
	return o->set(c->k, &in);
}

int cmd_setopt(struct sock_cmd *c)
{
	int err = setopt(c);

	return c->q->flags & CHAN_OPT_QUIET ? SOCK_LATER : err;
}

/* Too long for an event: it goes to the scratch area. */
static int get_tcp_info(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;

	if (c->k->kind == SOCK_UDP)
		return -ENOPROTOOPT;
	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	return sock_tcp_info(c->k, (char *)c->app->end.scratch + q->off, q->len);
}

int cmd_getopt(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	const struct sock_option *o;
	struct opt_value out = {.len = 0};
	int err;

	if (q->opt.level == IPPROTO_TCP && q->opt.name == TCP_INFO)
		return get_tcp_info(c);
	o = find(c->k, q->opt.level, q->opt.name);
	if (o == NULL || o->get == NULL)
		return -ENOPROTOOPT;
	err = o->get(c->k, &out);
	if (err != 0)
		return err;
	memcpy(c->out.data, out.v, out.len);
	return (int)out.len;
}
