/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP options (RFC 9293 §3.1, §3.2; RFC 7323 §2.2, §3.2; RFC 2018 §2, §3).
 *
 * Two kinds of nonsense are told apart. A length that breaks the list (below 2, or past the end)
 * makes everything behind it meaningless: the parser stops with an error and the segment is
 * dropped, never the connection, because a reset would let anyone on the side kill it by one forged
 * segment (RFC 9293 MUST-7 asks to be prepared and only suggests the reset). A known option of a
 * wrong size leaves the list walkable: it is ignored like an unknown one (MUST-6), as if the peer
 * lacked it.
 *
 * Of an option that comes twice the last one counts. Each option is at least one byte long, so the
 * work is bounded by 40 steps.
 */
#include "wire/tcp.h"

#include <errno.h>
#include <string.h>

enum {
	OPT_EOL = 0,
	OPT_NOP = 1,
	OPT_MSS = 2,
	OPT_WSCALE = 3,
	OPT_SACK_OK = 4,
	OPT_SACK = 5,
	OPT_TS = 8,
};

enum {
	LEN_MSS = 4,
	LEN_WSCALE = 3,
	LEN_SACK_OK = 2,
	LEN_SACK_HDR = 2, /* and 8 a block */
	LEN_BLOCK = 8,
	LEN_TS = 10,
};

static uint16_t get16(const uint8_t *p)
{
	be16_t v;

	memcpy(&v, p, sizeof(v));
	return be16_host(v);
}

static uint32_t get32(const uint8_t *p)
{
	be32_t v;

	memcpy(&v, p, sizeof(v));
	return be32_host(v);
}

static void put16(uint8_t *p, uint16_t host)
{
	be16_t v = be16(host);

	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t host)
{
	be32_t v = be32(host);

	memcpy(p, &v, sizeof(v));
}

static void read_ts(const uint8_t *body, struct tcp_opts *out)
{
	out->have_ts = true;
	out->ts_val = get32(body);
	out->ts_ecr = get32(body + 4);
}

static void read_sack(const uint8_t *body, unsigned len, struct tcp_opts *out)
{
	unsigned n = len / LEN_BLOCK;

	if (n == 0 || n > TCP_SACK_MAX || len % LEN_BLOCK != 0)
		return;
	for (unsigned i = 0; i < n; i++) {
		out->sack[i].start = get32(body + i * LEN_BLOCK);
		out->sack[i].end = get32(body + i * LEN_BLOCK + 4);
	}
	out->n_sack = (uint8_t)n;
}

/* Options that count on a SYN only. An MSS of 0 says nothing: as if absent. */
static void read_syn_option(const uint8_t *opt, unsigned len, struct tcp_opts *out)
{
	switch (opt[0]) {
	case OPT_MSS:
		if (len == LEN_MSS && get16(opt + 2) != 0) {
			out->have_mss = true;
			out->mss = get16(opt + 2);
		}
		break;
	case OPT_WSCALE:
		if (len == LEN_WSCALE) {
			out->have_wscale = true;
			out->wscale = opt[2] < TCP_WSCALE_MAX ? opt[2] : TCP_WSCALE_MAX;
		}
		break;
	case OPT_SACK_OK:
		if (len == LEN_SACK_OK)
			out->sack_ok = true;
		break;
	}
}

/* One option, all len bytes of which are there. */
static void read_option(const uint8_t *opt, unsigned len, bool syn, struct tcp_opts *out)
{
	if (opt[0] == OPT_TS && len == LEN_TS)
		read_ts(opt + 2, out);
	else if (syn)
		read_syn_option(opt, len, out);
	else if (opt[0] == OPT_SACK)
		read_sack(opt + LEN_SACK_HDR, len - LEN_SACK_HDR, out);
}

static slow_path int parse_list(const uint8_t *opts, unsigned len, bool syn, struct tcp_opts *out)
{
	unsigned left, n;

	for (left = len; left > 0; opts += n, left -= n) {
		n = 1;
		if (opts[0] == OPT_EOL)
			return 0;
		if (opts[0] == OPT_NOP)
			continue;
		if (left < 2)
			return -EBADMSG;
		n = opts[1];
		if (n < 2 || n > left)
			return -EBADMSG;
		read_option(opts, n, syn, out);
	}
	return 0;
}

int tcp_opts_parse(const uint8_t *opts, unsigned len, bool syn, struct tcp_opts *out)
{
	static const uint8_t nop_nop_ts[4] = {OPT_NOP, OPT_NOP, OPT_TS, LEN_TS};

	*out = (struct tcp_opts){0};
	if (len == 0)
		return 0;
	/* RFC 7323 appendix A: what nearly every segment of an open connection looks like. */
	if (likely(len == 12 && memcmp(opts, nop_nop_ts, 4) == 0)) {
		read_ts(opts + 4, out);
		return 0;
	}
	return parse_list(opts, len, syn, out);
}

/* Timestamps take 10 bytes: the two that pad them carry SACK-permitted where it is wanted. */
static uint8_t *write_ts_sack_ok(uint8_t *p, const struct tcp_opts_out *o)
{
	if (!o->have_ts && !o->sack_ok)
		return p;
	p[0] = o->sack_ok ? OPT_SACK_OK : OPT_NOP;
	p[1] = o->sack_ok ? LEN_SACK_OK : OPT_NOP;
	if (!o->have_ts) {
		p[2] = OPT_NOP;
		p[3] = OPT_NOP;
		return p + 4;
	}
	p[2] = OPT_TS;
	p[3] = LEN_TS;
	put32(p + 4, o->ts_val);
	put32(p + 8, o->ts_ecr);
	return p + 12;
}

/* As many blocks as fit into room bytes. */
static uint8_t *write_sack(uint8_t *p, unsigned room, const struct tcp_opts_out *o)
{
	unsigned n = o->n_sack < TCP_SACK_MAX ? o->n_sack : TCP_SACK_MAX;

	if (room < 4 + LEN_BLOCK || n == 0)
		return p;
	if (n > (room - 4) / LEN_BLOCK)
		n = (room - 4) / LEN_BLOCK;
	p[0] = OPT_NOP;
	p[1] = OPT_NOP;
	p[2] = OPT_SACK;
	p[3] = (uint8_t)(LEN_SACK_HDR + n * LEN_BLOCK);
	p += 4;
	for (unsigned i = 0; i < n; i++, p += LEN_BLOCK) {
		put32(p, o->sack[i].start);
		put32(p + 4, o->sack[i].end);
	}
	return p;
}

unsigned tcp_opts_write(uint8_t *out, const struct tcp_opts_out *o)
{
	uint8_t *p = out;

	if (o->mss != 0) {
		p[0] = OPT_MSS;
		p[1] = LEN_MSS;
		put16(p + 2, o->mss);
		p += 4;
	}
	if (o->have_wscale) {
		p[0] = OPT_NOP;
		p[1] = OPT_WSCALE;
		p[2] = LEN_WSCALE;
		p[3] = o->wscale < TCP_WSCALE_MAX ? o->wscale : TCP_WSCALE_MAX;
		p += 4;
	}
	p = write_ts_sack_ok(p, o);
	p = write_sack(p, TCP_OPTS_MAX - (unsigned)(p - out), o);
	return (unsigned)(p - out);
}
