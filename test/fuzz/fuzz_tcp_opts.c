/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP options from any bytes: the first says whether the segment is a SYN, the rest are the
 * options. libFuzzer hands in a buffer of exact size, so the sanitizer sees a read past the end
 * (H02), and its timeout a loop (H01). Checked besides:
 *   - results keep the bounds that wire/tcp.h promises;
 *   - a NOP in front changes nothing: the aligned fast path agrees with the walk over the list;
 *   - what was parsed, written again and parsed again, is the same.
 */
#include <stdlib.h>
#include <string.h>

#include "wire/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool ok)
{
	if (!ok)
		abort();
}

static bool same(const struct tcp_opts *a, const struct tcp_opts *b)
{
	return a->have_mss == b->have_mss && a->have_wscale == b->have_wscale &&
	       a->have_ts == b->have_ts && a->sack_ok == b->sack_ok && a->mss == b->mss &&
	       a->wscale == b->wscale && a->ts_val == b->ts_val && a->ts_ecr == b->ts_ecr &&
	       a->n_sack == b->n_sack &&
	       memcmp(a->sack, b->sack, a->n_sack * sizeof(a->sack[0])) == 0;
}

static void check_bounds(const struct tcp_opts *o, bool syn)
{
	expect(o->wscale <= TCP_WSCALE_MAX && o->n_sack <= TCP_SACK_MAX);
	expect(o->have_mss == (o->mss != 0));
	expect(o->have_wscale || o->wscale == 0);
	expect(o->have_ts || (o->ts_val == 0 && o->ts_ecr == 0));
	expect(syn ? o->n_sack == 0 : !o->have_mss && !o->have_wscale && !o->sack_ok);
}

static void check_nop_in_front(const uint8_t *opts, unsigned len, bool syn, int rc,
			       const struct tcp_opts *want)
{
	uint8_t shifted[1 + TCP_OPTS_MAX] = {1};
	struct tcp_opts got;

	memcpy(shifted + 1, opts, len);
	expect(tcp_opts_parse(shifted, len + 1, syn, &got) == rc);
	expect(same(&got, want));
}

/* Whatever fits into 40 bytes in some order fits when it is written in ours. */
static void check_round_trip(const struct tcp_opts *want, bool syn)
{
	struct tcp_opts_out w = {.mss = want->mss,
				 .have_wscale = want->have_wscale,
				 .have_ts = want->have_ts,
				 .sack_ok = want->sack_ok,
				 .wscale = want->wscale,
				 .n_sack = want->n_sack,
				 .ts_val = want->ts_val,
				 .ts_ecr = want->ts_ecr};
	uint8_t *out = malloc(TCP_OPTS_MAX);
	struct tcp_opts got;
	unsigned len;

	expect(out != NULL);
	memcpy(w.sack, want->sack, sizeof(w.sack));
	len = tcp_opts_write(out, &w);
	expect(len <= TCP_OPTS_MAX && len % 4 == 0);
	expect(tcp_opts_parse(out, len, syn, &got) == 0);
	expect(same(&got, want));
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tcp_opts o;
	unsigned len;
	bool syn;
	int rc;

	if (size < 1 || size > 1 + TCP_OPTS_MAX)
		return 0;
	syn = data[0] & 1;
	len = (unsigned)size - 1;
	rc = tcp_opts_parse(data + 1, len, syn, &o);
	check_bounds(&o, syn);
	check_nop_in_front(data + 1, len, syn, rc, &o);
	check_round_trip(&o, syn);
	return 0;
}
