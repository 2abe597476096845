/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Text dumps: sockets in the manner of `ss`, and counters as lines "name value". A dump is made of
 * whole lines; what does not fit goes on at the cursor in the next command, and a command looks at
 * a bounded number of places (sock_look.c), so that it never holds the loop up.
 */
#include <stdarg.h>
#include <stdio.h>

#include "sock/sock_priv.h"

#define LINE_MAX_BYTES 512
#define STEPS_MAX      4 /* of the walk over the sockets, in one command */

/* Where lines go. */
struct text {
	char *out;
	uint32_t used, len;
};

static bool text_room(const struct text *t)
{
	return t->len - t->used >= LINE_MAX_BYTES;
}

__attribute__((format(printf, 2, 3))) static void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->out + t->used, LINE_MAX_BYTES, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used += (uint32_t)(n < LINE_MAX_BYTES ? n : LINE_MAX_BYTES - 1);
}

/* ---- sockets ---- */

/* 10.0.0.1:80, [2001:db8::1]:80, *:80 */
static void end_text(const struct ip_addr *a, uint16_t port, char *out, size_t len)
{
	char t[ADDR_TEXT_MAX];

	if (ip_addr_is_any(a))
		snprintf(out, len, "*:%u", port);
	else if (ip_addr_is_v4(a))
		snprintf(out, len, "%s:%u", ip_addr_text(a, t), port);
	else
		snprintf(out, len, "[%s]:%u", ip_addr_text(a, t), port);
}

static void line(struct text *t, const char *proto, const char *state, uint64_t rq, uint64_t sq,
		 const struct tcp_key *key)
{
	char l[ADDR_TEXT_MAX + 8], r[ADDR_TEXT_MAX + 8];

	end_text(&key->laddr, key->lport, l, sizeof(l));
	end_text(&key->raddr, key->rport, r, sizeof(r));
	text_add(t, "%-3s %-12s %6llu %6llu %-28s %-28s", proto, state, (unsigned long long)rq,
		 (unsigned long long)sq, l, key->rport != 0 ? r : "*");
}

static void tcp_words(struct text *t, const struct tcp_info_full *i)
{
	text_add(t, " %s rto:%.3f rtt:%.3f/%.3f mss:%u cwnd:%u", i->cc, i->rto_us / 1e3,
		 i->srtt_us / 1e3, i->rttvar_us / 1e3, i->snd_mss, i->cwnd_bytes);
	text_add(t, " wnd:%u/%u acked:%llu received:%llu", i->snd_wnd, i->rcv_wnd,
		 (unsigned long long)i->bytes_acked, (unsigned long long)i->bytes_received);
	if (i->total_retrans != 0 || i->lost != 0)
		text_add(t, " retrans:%u/%u lost:%u", i->retrans, i->total_retrans, i->lost);
	if (i->notsent_bytes != 0)
		text_add(t, " notsent:%llu", (unsigned long long)i->notsent_bytes);
}

static void sock_line(void *arg, const struct sock_info *i)
{
	struct text *t = arg;

	line(t, i->udp ? "udp" : "tcp", i->state, i->recv_queue, i->send_queue, &i->key);
	if (i->has_tcp)
		tcp_words(t, &i->tcp);
	text_add(t, "\n");
}

static uint32_t dump_socks(const struct sock_app *asks, uint32_t cursor, struct text *t)
{
	if (cursor == 0)
		text_add(t, "%-3s %-12s %6s %6s %-28s %-28s\n", "", "State", "Recv-Q", "Send-Q",
			 "Local", "Peer");
	for (unsigned i = 0; i < STEPS_MAX; i++) {
		socks_each(asks->s, asks->alone ? asks : NULL, &cursor,
			   (t->len - t->used) / LINE_MAX_BYTES, sock_line, t);
		if (cursor == 0 || !text_room(t))
			break;
	}
	return cursor;
}

/* ---- counters ---- */

/* Behind our own counters come those of the stack, in later calls. */
#define CURSOR_STACK (1u << 20)

static uint32_t dump_counters(struct socks *s, uint32_t cursor, struct text *t)
{
	struct sock_counter c;

	for (; text_room(t); cursor++) {
		if (!socks_counter(s, cursor, &c))
			return s->cfg.dump != NULL ? CURSOR_STACK : 0;
		if (c.text == NULL)
			text_add(t, "%s %llu\n", c.name, (unsigned long long)c.value);
		else if (c.value == 0)
			text_add(t, "drop_%s 0\n", c.name);
		else
			text_add(t, "drop_%s %llu # %s\n", c.name, (unsigned long long)c.value,
				 c.text);
	}
	return cursor;
}

static int dump_other(struct sock_cmd *c, uint32_t *cursor, struct text *t)
{
	const struct socks_cfg *cfg = &c->s->cfg;
	uint32_t base = c->q->arg[0] == CHAN_DUMP_COUNTERS ? CURSOR_STACK : 0;
	int n;

	if (cfg->dump == NULL)
		return -EINVAL;
	*cursor -= base;
	n = cfg->dump(cfg->stack, c->q->arg[0], cursor, t->out, t->len);
	if (*cursor != 0)
		*cursor += base;
	if (n > 0)
		t->used = (uint32_t)n;
	return n < 0 ? n : 0;
}

int cmd_dump(struct sock_cmd *c)
{
	const struct chan_sqe *q = c->q;
	uint32_t cursor = (uint32_t)q->arg[1];
	struct text t = {.len = q->len};
	int err = 0;

	if (q->off > CHAN_SCRATCH_BYTES || q->len > CHAN_SCRATCH_BYTES - q->off) {
		c->s->n.bad_commands++;
		return -EFAULT;
	}
	if (q->len < LINE_MAX_BYTES)
		return -ENOSPC;
	t.out = (char *)c->app->end.scratch + q->off;
	if (q->arg[0] == CHAN_DUMP_SOCKETS)
		cursor = dump_socks(c->app, cursor, &t);
	else if (q->arg[0] == CHAN_DUMP_COUNTERS && cursor < CURSOR_STACK)
		cursor = dump_counters(c->s, cursor, &t);
	else
		err = dump_other(c, &cursor, &t);
	if (err != 0)
		return err;
	c->out.aux = cursor;
	return (int)t.used;
}
