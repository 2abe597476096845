/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the congestion control algorithms share: the table of them, the initial window (RFC 6928),
 * slow start (RFC 5681 §3.1 with RFC 3465's byte counting), reduction and its undoing.
 */
#include "tcp/cc.h"

#include <string.h>

static const struct tcp_cc_ops *const algorithms[] = {&tcp_cc_cubic, &tcp_cc_newreno};

const struct tcp_cc_ops *tcp_cc_at(unsigned i)
{
	return i < array_size(algorithms) ? algorithms[i] : NULL;
}

const struct tcp_cc_ops *tcp_cc_find(const char *name)
{
	for (unsigned i = 0; i < array_size(algorithms); i++)
		if (!strcmp(algorithms[i]->name, name))
			return algorithms[i];
	/* Linux's name for the same algorithm. */
	return strcmp(name, "reno") ? NULL : &tcp_cc_newreno;
}

uint64_t tcp_cc_initial_window(uint32_t mss)
{
	uint64_t limit = 2ull * mss > 14600 ? 2ull * mss : 14600;

	return 10ull * mss < limit ? 10ull * mss : limit;
}

void tcp_cc_init(struct tcp_cc *cc, const struct tcp_cc_ops *ops, uint32_t mss)
{
	ASSERT(mss > 0);
	*cc = (struct tcp_cc){
		.ops = ops,
		.mss = mss,
		.cwnd_bytes = tcp_cc_initial_window(mss),
		.ssthresh_bytes = TCP_CC_SSTHRESH_INIT,
	};
	ops->init(cc);
}

void tcp_cc_switch(struct tcp_cc *cc, const struct tcp_cc_ops *ops)
{
	cc->ops = ops;
	memset(&cc->state, 0, sizeof(cc->state));
	ops->init(cc);
}

void tcp_cc_set_mss(struct tcp_cc *cc, uint32_t mss, bool before_data)
{
	ASSERT(mss > 0);
	cc->mss = mss;
	if (before_data)
		cc->cwnd_bytes = tcp_cc_initial_window(mss);
	else if (cc->cwnd_bytes < mss)
		cc->cwnd_bytes = mss;
}

/* RFC 3465 §2.2: cwnd grows by what is acknowledged, at most L segments an ACK.
 *
 * DEVIATION(RFC 3465 §2.2): L is 8 and not 2, as RFC 9406 §4.3 says for senders that do not pace:
 * receivers that merge segments acknowledge far more than two with one ACK.
 * RFC 3465 §2.3: L is 1 in the slow start after a time-out. */
uint64_t tcp_cc_slow_start_grow(struct tcp_cc *cc, uint64_t acked_bytes, uint32_t divisor)
{
	uint64_t limit = (cc->phase == TCP_CC_LOSS ? 1ull : 8ull) * cc->mss;
	uint64_t room = cc->ssthresh_bytes - cc->cwnd_bytes;
	uint64_t grow = (acked_bytes < limit ? acked_bytes : limit) / divisor;

	if (grow < room) {
		cc->cwnd_bytes += grow;
		if (cc->cwnd_bytes > TCP_CC_CWND_MAX)
			cc->cwnd_bytes = TCP_CC_CWND_MAX;
		return 0;
	}
	cc->cwnd_bytes += room;
	return grow - room;
}

void tcp_cc_reduce(struct tcp_cc *cc, uint64_t ssthresh_bytes, enum tcp_cc_phase phase)
{
	/* A time-out within recovery is one episode with it: undo goes back to before both. */
	if (cc->phase == TCP_CC_OPEN) {
		cc->prior_cwnd_bytes = cc->cwnd_bytes;
		cc->prior_ssthresh_bytes = cc->ssthresh_bytes;
	}
	cc->phase = phase;
	cc->ssthresh_bytes = ssthresh_bytes < 2ull * cc->mss ? 2ull * cc->mss : ssthresh_bytes;
	if (phase == TCP_CC_LOSS)
		cc->cwnd_bytes = cc->mss;
	else if (cc->cwnd_bytes > cc->ssthresh_bytes)
		cc->cwnd_bytes = cc->ssthresh_bytes;
}

bool tcp_cc_undo(struct tcp_cc *cc)
{
	if (!cc->prior_cwnd_bytes)
		return false;
	if (cc->cwnd_bytes < cc->prior_cwnd_bytes)
		cc->cwnd_bytes = cc->prior_cwnd_bytes;
	cc->ssthresh_bytes = cc->prior_ssthresh_bytes;
	cc->prior_cwnd_bytes = 0;
	cc->phase = TCP_CC_OPEN;
	return true;
}

void tcp_cc_restart_window(struct tcp_cc *cc, uint32_t idle_us, uint32_t rto_us)
{
	uint64_t rw = tcp_cc_initial_window(cc->mss);

	if (idle_us > rto_us && cc->cwnd_bytes > rw)
		cc->cwnd_bytes = rw;
}
