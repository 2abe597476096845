/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All sources of a group at once (RFC 3678 §4.1.3, §5.2.3, as Linux has it): IP_MSFILTER and
 * MCAST_MSFILTER, which become the command FILTER. For the next service, and for sockets on other
 * cores, what a filter comes to is remembered as the memberships that make it.
 */
#include "client/membership.h"

/* igmp_max_msf, mld_max_msf. */
#define LIST_MAX_V4 10
#define LIST_MAX_V6 64
_Static_assert(LIST_MAX_V6 <= CHAN_FILTER_MAX, "the command carries it");

struct filter {
	struct member of; /* the group and the interface */
	uint32_t mode;	  /* MCAST_INCLUDE, MCAST_EXCLUDE */
	uint32_t n;
	uint8_t list[CHAN_FILTER_MAX][16];
};

#define HEAD_IP	   offsetof(struct ip_msfilter, imsf_slist)
#define HEAD_GROUP offsetof(struct group_filter, gf_slist)

static bool by_ip(int level, int name)
{
	return level == IPPROTO_IP && name == IP_MSFILTER;
}

bool filter_is(const struct csock *s, int level, int name)
{
	bool by_group = (level == IPPROTO_IP || level == IPPROTO_IPV6) && name == MCAST_MSFILTER;

	return s->type == SOCK_DGRAM && (by_ip(level, name) || by_group);
}

static int count_check(int level, uint32_t n, size_t head, size_t each, socklen_t len)
{
	if (n > (level == IPPROTO_IP ? LIST_MAX_V4 : LIST_MAX_V6))
		return -ENOBUFS;
	return head + n * each > len ? -EINVAL : 0;
}

/* ---- what the program says ---- */

static int head_from_ip(struct filter *f, const void *value, socklen_t len)
{
	struct ip_msfilter r;

	if (len < HEAD_IP)
		return -EINVAL;
	memcpy(&r, value, HEAD_IP);
	member_mapped(f->of.group, &r.imsf_multiaddr);
	f->of.interface4 = r.imsf_interface.s_addr;
	f->mode = r.imsf_fmode;
	f->n = r.imsf_numsrc;
	return 0;
}

static int head_from_group(struct filter *f, int level, const void *value, socklen_t len)
{
	struct group_filter r;

	if (len < HEAD_GROUP)
		return -EINVAL;
	memcpy(&r, value, HEAD_GROUP);
	f->of.ifindex = r.gf_interface;
	f->mode = r.gf_fmode;
	f->n = r.gf_numsrc;
	if (r.gf_interface > UINT16_MAX)
		return -ENODEV;
	return member_address(level, &r.gf_group, f->of.group) ? 0 : -EADDRNOTAVAIL;
}

static int head_from(struct filter *f, int level, int name, const void *value, socklen_t len)
{
	memset(f, 0, offsetof(struct filter, list));
	return by_ip(level, name) ? head_from_ip(f, value, len)
				  : head_from_group(f, level, value, len);
}

static int list_from_ip(struct filter *f, const void *value, socklen_t len)
{
	int r = count_check(IPPROTO_IP, f->n, HEAD_IP, sizeof(struct in_addr), len);

	for (uint32_t i = 0; r == 0 && i < f->n; i++) {
		struct in_addr a;

		memcpy(&a, (const char *)value + HEAD_IP + i * sizeof(a), sizeof(a));
		member_mapped(f->list[i], &a);
	}
	return r;
}

static int list_from_group(struct filter *f, int level, const void *value, socklen_t len)
{
	int r = count_check(level, f->n, HEAD_GROUP, sizeof(struct sockaddr_storage), len);

	for (uint32_t i = 0; r == 0 && i < f->n; i++) {
		struct sockaddr_storage a;

		memcpy(&a, (const char *)value + HEAD_GROUP + i * sizeof(a), sizeof(a));
		if (!member_address(level, &a, f->list[i]))
			r = -EADDRNOTAVAIL;
	}
	return r;
}

/* ---- the command ---- */

static void command(struct chan_sqe *cmd, const struct filter *f, uint8_t what)
{
	*cmd = (struct chan_sqe){
		.op = CHAN_OP_FILTER, .flags = what, .port = (uint16_t)f->of.ifindex};
	memcpy(cmd->data, f->of.group, sizeof(f->of.group));
	memcpy(cmd->data + sizeof(f->of.group), &f->of.interface4, sizeof(f->of.interface4));
}

/* The list goes by the arena of the socket's core. */
static int set_one(struct csock *s, const struct filter *f)
{
	uint32_t bytes = f->n * (uint32_t)sizeof(f->list[0]);
	struct chan_sqe cmd;
	struct chan_cqe e;
	struct zs_buf b;
	struct buf_ref at;
	int r;

	command(&cmd, f, f->mode == MCAST_INCLUDE ? CHAN_FILTER_INCLUDE : CHAN_FILTER_EXCLUDE);
	if (bytes == 0)
		return cmd_call(csock_core(s), s, &cmd, &e);
	r = block_new(csock_core(s), bytes, &b);
	if (r == 0)
		r = buf_find(&b, &at);
	if (r < 0)
		return r;
	memcpy(b.data, f->list, bytes);
	cmd.off = at.off;
	cmd.len = bytes;
	r = cmd_call(csock_core(s), s, &cmd, &e);
	buf_put(&at);
	return r;
}

static void remember(struct csock *s, int level, const struct filter *f)
{
	struct opt o = member_any(level, &f->of);
	struct member m = f->of;

	option_forget(s, &o);
	membership_left(s, &o);
	if (f->mode == MCAST_EXCLUDE)
		option_remember(s, &o);
	m.what = f->mode == MCAST_EXCLUDE ? CHAN_SOURCE_BLOCK : CHAN_SOURCE_JOIN;
	for (uint32_t i = 0; i < f->n; i++) {
		memcpy(m.source, f->list[i], sizeof(m.source));
		member_remember(s, &m);
	}
}

int filter_set(struct csock *s, int level, int name, const void *value, socklen_t len)
{
	uint32_t serial = s->serial;
	struct filter f;
	int r = head_from(&f, level, name, value, len);

	if (r == 0)
		r = by_ip(level, name) ? list_from_ip(&f, value, len)
				       : list_from_group(&f, level, value, len);
	if (r == 0 && f.mode != MCAST_INCLUDE && f.mode != MCAST_EXCLUDE)
		r = -EINVAL;
	for (unsigned i = 0; r == 0 && i < csock_members(s); i++) {
		r = set_one(csock_member(s, i), &f);
		if (s->serial != serial)
			return -EBADF;
	}
	if (r == 0)
		remember(s, level, &f);
	return r;
}

/* ---- what the service says ---- */

static int ask(struct csock *s, struct filter *f)
{
	struct core *c = csock_core(s);
	struct chan_sqe cmd;
	struct chan_cqe e;
	int r = scratch_take(c);

	if (r < 0)
		return r;
	command(&cmd, f, CHAN_FILTER_READ);
	cmd.len = sizeof(f->list);
	r = cmd_call(c, s, &cmd, &e);
	if (r > CHAN_FILTER_MAX)
		r = -EPROTO;
	if (r >= 0) {
		memcpy(f->list, c->end.scratch, (size_t)r * sizeof(f->list[0]));
		f->mode = e.aux == CHAN_FILTER_EXCLUDE ? MCAST_EXCLUDE : MCAST_INCLUDE;
	}
	c->scratch_taken = false;
	return r;
}

/* As much of the list as the program has room for; how many there are. */
static void put_ip(const struct filter *f, uint32_t n, void *value, socklen_t *len)
{
	uint32_t some = n < f->n ? n : f->n;
	struct ip_msfilter r;

	memcpy(&r, value, HEAD_IP);
	r.imsf_fmode = f->mode;
	r.imsf_numsrc = n;
	memcpy(value, &r, HEAD_IP);
	for (uint32_t i = 0; i < some; i++)
		memcpy((char *)value + HEAD_IP + i * sizeof(struct in_addr), f->list[i] + 12,
		       sizeof(struct in_addr));
	*len = (socklen_t)(HEAD_IP + some * sizeof(struct in_addr));
}

static void put_group(const struct csock *s, const struct filter *f, uint32_t n, void *value,
		      socklen_t *len)
{
	uint32_t some = n < f->n ? n : f->n;
	struct group_filter r;

	memcpy(&r, value, HEAD_GROUP);
	r.gf_fmode = f->mode;
	r.gf_numsrc = n;
	memcpy(value, &r, HEAD_GROUP);
	for (uint32_t i = 0; i < some; i++) {
		struct sockaddr_storage a = {.ss_family = 0};
		socklen_t n_addr = sizeof(a);

		endpoint_to(f->list[i], 0, 0, s->domain, (struct sockaddr *)&a, &n_addr);
		memcpy((char *)value + HEAD_GROUP + i * sizeof(a), &a, sizeof(a));
	}
	*len = (socklen_t)(HEAD_GROUP + some * sizeof(struct sockaddr_storage));
}

int filter_get(struct csock *s, int level, int name, void *value, socklen_t *len)
{
	bool ip = by_ip(level, name);
	size_t each = ip ? sizeof(struct in_addr) : sizeof(struct sockaddr_storage);
	struct filter f;
	int r = head_from(&f, level, name, value, *len);

	if (r < 0)
		return r;
	/* What the program says that it has room for, as far as it has. */
	if (f.n > (*len - (ip ? HEAD_IP : HEAD_GROUP)) / each)
		f.n = (uint32_t)((*len - (ip ? HEAD_IP : HEAD_GROUP)) / each);
	r = ask(s, &f);
	if (r < 0)
		return r;
	if (ip)
		put_ip(&f, (uint32_t)r, value, len);
	else
		put_group(s, &f, (uint32_t)r, value, len);
	return 0;
}
