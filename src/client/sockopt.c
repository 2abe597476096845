/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Options. Those about the program's side are kept here; all others are the service's. An option of
 * a descriptor goes to each of its sockets, and is remembered for those that join later.
 */
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define INFO_MAX 1024u /* of TCP_INFO, which comes through the scratch area */

_Static_assert(SOL_ZSTACK == CHAN_OPT_LEVEL && ZSO_SAME_NODE == CHAN_OPT_SAME_NODE, "one name");

/* ---- kept here ---- */

static int timeval_get(int64_t ns, void *value, socklen_t *len)
{
	struct timeval tv = {ns / 1000000000, ns % 1000000000 / 1000};

	if (*len < sizeof(tv))
		return -EINVAL;
	memcpy(value, &tv, sizeof(tv));
	*len = sizeof(tv);
	return 0;
}

static int timeval_set(int64_t *ns, const void *value, socklen_t len)
{
	struct timeval tv;

	if (len < sizeof(tv))
		return -EINVAL;
	memcpy(&tv, value, sizeof(tv));
	if (tv.tv_usec < 0 || tv.tv_usec >= 1000000)
		return -EDOM;
	if (tv.tv_sec < 0 || tv.tv_sec > INT32_MAX)
		*ns = tv.tv_sec < 0 ? 1 : 0; /* at once, as Linux; or never */
	else
		*ns = tv.tv_sec * 1000000000ll + tv.tv_usec * 1000;
	return 0;
}

static int linger_get(const struct csock *s, void *value, socklen_t *len)
{
	struct linger l = {.l_onoff = s->linger_s >= 0, .l_linger = s->linger_s};

	if (!l.l_onoff)
		l.l_linger = 0;
	*len = *len < sizeof(l) ? *len : sizeof(l);
	memcpy(value, &l, *len);
	return 0;
}

static int linger_set(struct csock *s, const void *value, socklen_t len)
{
	struct linger l;

	if (len < sizeof(l))
		return -EINVAL;
	memcpy(&l, value, sizeof(l));
	s->linger_s = l.l_onoff ? (l.l_linger >= 0 ? l.l_linger : 0) : -1;
	return 0;
}

static int int_put(int v, void *value, socklen_t *len)
{
	*len = *len < sizeof(v) ? *len : sizeof(v);
	memcpy(value, &v, *len);
	return 0;
}

/* SO_TIMESTAMP and its kin: one of them at a time. */
static bool is_stamp(const struct csock *s, int name)
{
	return s->type == SOCK_DGRAM && (name == SO_TIMESTAMP || name == SO_TIMESTAMPNS ||
					 name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW);
}

/* SOF_TIMESTAMPING_OPT_ID_TCP, which headers of Linux 6.1 have not. */
#define STAMPING_OPT_ID_TCP (1u << 16)

static bool is_stamping(const struct csock *s, int name)
{
	return s->type == SOCK_DGRAM &&
	       (name == SO_TIMESTAMPING_OLD || name == SO_TIMESTAMPING_NEW);
}

/* The flags, and the clock that there is none of. */
static int stamping_get(const struct csock *s, void *value, socklen_t *len)
{
	int v[2] = {(int)((s->stamps & STAMPS_FLAGS) >> STAMPS_FLAG_SHIFT), 0};

	*len = *len < sizeof(v) ? *len : sizeof(v);
	memcpy(value, v, *len);
	return 0;
}

static int stamping_set(struct csock *s, int name, uint32_t flags)
{
	uint32_t id = SOF_TIMESTAMPING_OPT_ID << STAMPS_FLAG_SHIFT, was = s->stamps;

	if ((flags & ~(STAMPS_FLAGS >> STAMPS_FLAG_SHIFT)) != 0 ||
	    ((flags & SOF_TIMESTAMPING_OPT_STATS) && !(flags & SOF_TIMESTAMPING_OPT_TSONLY)) ||
	    ((flags & STAMPING_OPT_ID_TCP) && !(flags & SOF_TIMESTAMPING_OPT_ID)))
		return -EINVAL;
	s->stamps = (was & STAMPS_OPTION) | flags << STAMPS_FLAG_SHIFT |
		    (name == SO_TIMESTAMPING_NEW && flags != 0 ? STAMPS_NEW : 0);
	if ((s->stamps & id) && !(was & id))
		errqueue_number(s);
	return 0;
}

/* 1: not ours. */
static int socket_get(struct csock *s, int name, void *value, socklen_t *len)
{
	switch (name) {
	case SO_ERROR:
		/* A program may ask without having waited for it. */
		if (s->err == 0)
			client_dry();
		return int_put(-csock_take_error(s), value, len);
	case SO_TYPE:
		return int_put(s->type, value, len);
	case SO_DOMAIN:
		return int_put(s->domain, value, len);
	case SO_PROTOCOL:
		return int_put(csock_records(s)		? 0
			       : s->type == SOCK_STREAM ? IPPROTO_TCP
							: IPPROTO_UDP,
			       value, len);
	case SO_ACCEPTCONN:
		return int_put(s->state == CSOCK_LISTEN, value, len);
	case SO_RCVLOWAT:
		return int_put((int)s->rcvlowat, value, len);
	case SO_SNDLOWAT:
		return int_put(1, value, len);
	case SO_OOBINLINE:
		return int_put((s->flags & CSOCK_OOBINLINE) != 0, value, len);
	case SO_ZEROCOPY:
		return int_put((s->flags & CSOCK_ZEROCOPY) != 0, value, len);
	case SO_RCVTIMEO:
		return timeval_get(s->rcvtimeo_ns, value, len);
	case SO_SNDTIMEO:
		return timeval_get(s->sndtimeo_ns, value, len);
	case SO_LINGER:
		return linger_get(s, value, len);
	}
	if (is_stamp(s, name))
		return int_put((s->stamps & STAMPS_OPTION) == (uint32_t)name, value, len);
	if (is_stamping(s, name))
		return stamping_get(s, value, len);
	return 1;
}

static void flag_set(struct csock *s, uint32_t flag, int on)
{
	s->flags = on ? s->flags | flag : s->flags & ~flag;
}

/* 1: not ours. v: the value as an int. */
static int socket_set(struct csock *s, int name, int v, const void *value, socklen_t len)
{
	switch (name) {
	case SO_ERROR:
	case SO_TYPE:
	case SO_DOMAIN:
	case SO_PROTOCOL:
	case SO_ACCEPTCONN:
	case SO_SNDLOWAT:
		return -ENOPROTOOPT;
	case SO_RCVLOWAT:
		s->rcvlowat = v > 0 ? (uint32_t)v : v < 0 ? INT32_MAX : 1;
		flag_set(s, CSOCK_LOWAT, s->rcvlowat != 1);
		return 0;
	case SO_OOBINLINE:
		flag_set(s, CSOCK_OOBINLINE, v);
		return 0;
	case SO_ZEROCOPY:
		if (v < 0 || v > 1)
			return -EINVAL;
		if (v == 1 && s->state != CSOCK_LISTEN && errqueue_make(s) != 0)
			return -ENOBUFS;
		flag_set(s, CSOCK_ZEROCOPY, v);
		return 0;
	case SO_RCVTIMEO:
		return timeval_set(&s->rcvtimeo_ns, value, len);
	case SO_SNDTIMEO:
		return timeval_set(&s->sndtimeo_ns, value, len);
	case SO_LINGER:
		return linger_set(s, value, len);
	}
	if (is_stamping(s, name)) {
		int r = stamping_set(s, name, (uint32_t)v);

		flag_set(s, CSOCK_STAMPS, s->stamps != 0);
		return r;
	}
	if (!is_stamp(s, name))
		return 1;
	s->stamps = (s->stamps & ~STAMPS_OPTION) | (v ? (uint32_t)name : 0);
	flag_set(s, CSOCK_STAMPS, s->stamps != 0);
	return 0;
}

/* What a datagram's control messages are to tell: which flag an option is; 0 none. */
static uint32_t cmsg_flag(const struct csock *s, int level, int name)
{
	if (level == IPPROTO_IP && s->domain == AF_INET) {
		switch (name) {
		case IP_PKTINFO:
			return CSOCK_PKTINFO;
		case IP_RECVTTL:
			return CSOCK_RECVTTL;
		case IP_RECVTOS:
			return CSOCK_RECVTOS;
		}
	}
	if (level == IPPROTO_IPV6 && s->domain == AF_INET6) {
		switch (name) {
		case IPV6_RECVPKTINFO:
			return CSOCK_PKTINFO;
		case IPV6_RECVHOPLIMIT:
			return CSOCK_RECVTTL;
		case IPV6_RECVTCLASS:
			return CSOCK_RECVTOS;
		}
	}
	return 0;
}

/* ---- asked of the service ---- */

void option_command(struct chan_sqe *cmd, const struct opt *o)
{
	*cmd = (struct chan_sqe){.op = CHAN_OP_SETOPT};
	if (membership_command(cmd, o))
		return;
	cmd->opt.level = o->level;
	cmd->opt.name = o->name;
	memcpy(cmd->opt.value, o->value, sizeof(cmd->opt.value));
	cmd->len = o->len;
}

/* Memberships add up; what leaves one names the group as what joined it did. Its first bytes are
 * the group's address: 4, or 16 (struct ip_mreqn, struct ipv6_mreq). */
static unsigned membership_bytes(int level, int name)
{
	if (level == IPPROTO_IP && (name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP))
		return 4;
	if (level == IPPROTO_IPV6 && (name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP))
		return 16;
	return 0;
}

static bool membership_ends(const struct chan_sqe *cmd)
{
	return cmd->opt.name ==
	       (cmd->opt.level == IPPROTO_IP ? IP_DROP_MEMBERSHIP : IPV6_DROP_MEMBERSHIP);
}

/* The place of what it replaces, or undoes. */
static unsigned option_find(const struct opts *k, const struct opt *o)
{
	unsigned group = membership_bytes(o->level, o->name), i;

	for (i = 0; k != NULL && i < k->n; i++) {
		const struct opt *a = &k->opt[i];

		if (a->level != o->level)
			continue;
		if (o->level == CHAN_OPT_LEVEL && o->name == CHAN_OPT_SOURCE) {
			if (a->name == o->name && memcmp(a->value, o->value, o->len) == 0)
				break;
			continue;
		}
		if (group == 0 ? a->name == o->name
			       : membership_bytes(a->level, a->name) != 0 &&
					 memcmp(a->value, o->value, group) == 0)
			break;
	}
	return i;
}

struct opts *csock_opts(struct csock *s, unsigned n)
{
	struct opts *k = realloc(s->opts, sizeof(*k) + n * sizeof(k->opt[0]));

	if (k == NULL)
		return NULL;
	if (s->opts == NULL)
		*k = (struct opts){.voucher = -1};
	s->opts = k;
	return k;
}

void csock_opts_free(struct csock *s)
{
	if (s->opts == NULL)
		return;
	vouch_drop(s->opts->voucher);
	free(s->opts);
	s->opts = NULL;
}

/* Only where sockets are made anew: on several cores, or at another service. Of a connection only
 * what was set before it was one, unless it can be a same-node stream: others are never made anew
 * but as sockets that were reset. */
static bool is_kept(const struct csock *s)
{
	return (client.transport.attached || s->group != NULL) &&
	       !(csock_connects(s) && s->state == CSOCK_CONNECTED && client.links == NULL);
}

void option_remember(struct csock *s, const struct opt *o)
{
	unsigned n = s->opts != NULL ? s->opts->n : 0, i = option_find(s->opts, o);
	struct opts *k = s->opts;

	if (!is_kept(s))
		return;
	if (i == n) {
		k = i < OPTS_MAX ? csock_opts(s, n + 1) : NULL;
		if (k == NULL)
			return;
		k->n = n + 1;
	}
	k->opt[i] = *o;
}

/* The others keep their order: a source is blocked after its group was joined. */
void option_forget(struct csock *s, const struct opt *o)
{
	unsigned n = s->opts != NULL ? s->opts->n : 0, i = option_find(s->opts, o);

	if (i == n || !is_kept(s))
		return;
	memmove(&s->opts->opt[i], &s->opts->opt[i + 1], (n - i - 1) * sizeof(*o));
	s->opts->n--;
}

void option_keep(struct csock *s, const struct chan_sqe *cmd)
{
	struct opt o = {.len = cmd->len, .level = cmd->opt.level, .name = cmd->opt.name};

	memcpy(o.value, cmd->opt.value, sizeof(cmd->opt.value));
	if (membership_bytes(o.level, o.name) == 0 || !membership_ends(cmd)) {
		option_remember(s, &o);
		return;
	}
	option_forget(s, &o);
	membership_left(s, &o);
}

int option_set_service(struct csock *s, int level, int name, const void *value, socklen_t len)
{
	struct chan_sqe cmd = {.op = CHAN_OP_SETOPT};
	struct chan_cqe e;
	int r;

	if (len > sizeof(cmd.opt.value))
		return -EINVAL;
	cmd.opt.level = (int16_t)level;
	cmd.opt.name = (int16_t)name;
	memcpy(cmd.opt.value, value, len);
	cmd.len = len;
	/* Of a stream that goes on without a service, the next is told. */
	r = csock_kept(s) && s->sid == 0 ? 0 : group_call(s, &cmd, &e);
	if (r < 0)
		return r;
	option_keep(s, &cmd);
	return 0;
}

/* The service is not told of each connection that was accepted. */
static void info_accepted(const struct csock *s, void *info, socklen_t len)
{
	size_t at = offsetof(struct tcp_info, tcpi_unacked);
	uint32_t waiting;

	if (s->state != CSOCK_LISTEN || len < at + sizeof(waiting))
		return;
	memcpy(&waiting, (char *)info + at, sizeof(waiting));
	waiting -= s->taken < waiting ? s->taken : waiting;
	memcpy((char *)info + at, &waiting, sizeof(waiting));
}

static int info_get(struct csock *s, void *value, socklen_t *len)
{
	struct chan_sqe cmd = {.op = CHAN_OP_GETOPT, .len = *len < INFO_MAX ? *len : INFO_MAX};
	struct core *c = csock_core(s);
	struct chan_cqe e;
	int r = scratch_take(c);

	if (r < 0)
		return r;
	cmd.opt.level = IPPROTO_TCP;
	cmd.opt.name = TCP_INFO;
	r = cmd_call(c, s, &cmd, &e);
	if (r > (int)cmd.len)
		r = -EPROTO;
	if (r >= 0) {
		memcpy(value, csock_core(s)->end.scratch, (size_t)r);
		*len = (socklen_t)r;
		info_accepted(s, value, *len);
	}
	c->scratch_taken = false;
	return r < 0 ? r : 0;
}

static int service_get(struct csock *s, int level, int name, void *value, socklen_t *len)
{
	struct chan_sqe cmd = {.op = CHAN_OP_GETOPT, .len = CHAN_DATA_MAX};
	struct chan_cqe e;
	int r;

	if (level == IPPROTO_TCP && name == TCP_INFO)
		return csock_connects(s) ? info_get(s, value, len) : -ENOPROTOOPT;
	cmd.opt.level = (int16_t)level;
	cmd.opt.name = (int16_t)name;
	r = cmd_call(csock_core(s), s, &cmd, &e);
	if (r < 0)
		return r;
	if (r > CHAN_DATA_MAX)
		return -EPROTO;
	*len = *len < (socklen_t)r ? *len : (socklen_t)r;
	memcpy(value, e.data, *len);
	return 0;
}

/* ---- the calls ---- */

static bool representable(int level, int name)
{
	return level == (int16_t)level && name == (int16_t)name;
}

static bool is_recverr(int level, int name)
{
	return (level == IPPROTO_IP && name == IP_RECVERR) ||
	       (level == IPPROTO_IPV6 && name == IPV6_RECVERR);
}

static int option_set(struct csock *s, int level, int name, const void *value, socklen_t len)
{
	uint32_t flag = cmsg_flag(s, level, name);
	int v = 0, r = 1;

	memcpy(&v, value, len < sizeof(v) ? len : sizeof(v));
	if (level == SOL_SOCKET) {
		/* POSIX and Linux: an int at least, also where nothing is looked at. */
		if (len < sizeof(int))
			return -EINVAL;
		r = socket_set(s, name, v, value, len);
	}
	if (flag != 0) {
		flag_set(s, flag, v);
		r = 0;
	}
	r = r == 1 ? cork_set(s, level, name, v, len) : r;
	r = r == 1 ? membership_set(s, level, name, value, len) : r;
	if (r == 1 && unlikely(filter_is(s, level, name)))
		r = filter_set(s, level, name, value, len);
	r = r == 1 ? option_set_service(s, level, name, value, len) : r;
	if (unlikely(r == 0 && is_recverr(level, name)) && s->type == SOCK_DGRAM)
		errqueue_recverr(s, v != 0);
	return r;
}

int zs_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct csock *s;
	int r = 0;

	if (value == NULL && len > 0)
		return -EFAULT;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && !representable(level, name))
		r = -ENOPROTOOPT;
	else if (s != NULL)
		r = option_set(s, level, name, value, len);
	client_unlock();
	return r;
}

static int option_get(struct csock *s, int level, int name, void *value, socklen_t *len)
{
	uint32_t flag = cmsg_flag(s, level, name);
	int r = 1, v = cork_get(s, level, name);

	if (level == SOL_SOCKET)
		r = socket_get(s, name, value, len);
	if (flag != 0)
		r = int_put((s->flags & flag) != 0, value, len);
	if (v >= 0)
		r = int_put(v, value, len);
	if (r == 1 && unlikely(filter_is(s, level, name)))
		r = filter_get(s, level, name, value, len);
	return r == 1 ? service_get(s, level, name, value, len) : r;
}

int zs_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct csock *s;
	int r = 0;

	if (value == NULL || len == NULL)
		return -EFAULT;
	client_lock();
	s = fd_csock(fd, &r);
	if (s != NULL && (!representable(level, name) || *len > INT32_MAX))
		r = *len > INT32_MAX ? -EINVAL : -ENOPROTOOPT;
	else if (s != NULL)
		r = option_get(s, level, name, value, len);
	client_unlock();
	return r;
}
