/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a TCP socket tells of itself: struct tcp_info, laid out and counted as Linux does
 * (<linux/tcp.h>), so that programs made for it read it.
 */
#include "sock/sock_opt.h"

#include <linux/tcp.h>

/* Linux's numbers (its header for programs has no names for them). */
uint8_t sock_tcp_state(const struct sock *k)
{
	static const uint8_t linux_state[] = {
		[TCP_CLOSED] = 7,     [TCP_LISTEN] = 10,     [TCP_SYN_SENT] = 2,
		[TCP_SYN_RCVD] = 3,   [TCP_ESTABLISHED] = 1, [TCP_FIN_WAIT_1] = 4,
		[TCP_FIN_WAIT_2] = 5, [TCP_CLOSE_WAIT] = 8,  [TCP_CLOSING] = 11,
		[TCP_LAST_ACK] = 9,   [TCP_TIME_WAIT] = 6,
	};

	if (k->kind == SOCK_LISTEN)
		return linux_state[TCP_LISTEN];
	if (k->kind == SOCK_CONN || k->kind == SOCK_CONNECTING)
		return linux_state[tcp_conn_state(k->conn)];
	return linux_state[TCP_CLOSED];
}

static uint32_t segments(uint64_t bytes, uint32_t mss)
{
	uint64_t n = mss != 0 ? bytes / mss : 0;

	return n < INT32_MAX ? (uint32_t)n : INT32_MAX;
}

static uint32_t ms(uint64_t ns)
{
	uint64_t n = ns / 1000000;

	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

static void fill_state(struct tcp_info *o, const struct tcp_info_full *i)
{
	o->tcpi_ca_state = i->ca_state;
	o->tcpi_retransmits = i->retransmits;
	o->tcpi_probes = i->probes;
	o->tcpi_backoff = i->backoff;
	o->tcpi_options = (uint8_t)((i->tstamps ? TCPI_OPT_TIMESTAMPS : 0) |
				    (i->sack ? TCPI_OPT_SACK : 0) | (i->ecn ? TCPI_OPT_ECN : 0) |
				    (i->snd_wscale || i->rcv_wscale ? TCPI_OPT_WSCALE : 0));
	o->tcpi_snd_wscale = i->snd_wscale & 15;
	o->tcpi_rcv_wscale = i->rcv_wscale & 15;
	o->tcpi_unacked = i->unacked;
	o->tcpi_sacked = i->sacked;
	o->tcpi_lost = i->lost;
	o->tcpi_retrans = i->retrans;
	o->tcpi_total_retrans = i->total_retrans;
	o->tcpi_reordering = i->reordering;
	o->tcpi_dsack_dups = i->dsack_dups;
}

static void fill_path(struct tcp_info *o, const struct tcp_info_full *i)
{
	o->tcpi_rto = i->rto_us;
	o->tcpi_ato = i->ato_us;
	o->tcpi_snd_mss = i->snd_mss;
	o->tcpi_rcv_mss = i->rcv_mss;
	o->tcpi_advmss = i->advmss;
	o->tcpi_pmtu = i->pmtu;
	o->tcpi_rtt = i->srtt_us;
	o->tcpi_rttvar = i->rttvar_us;
	o->tcpi_min_rtt = i->min_rtt_us;
	o->tcpi_rcv_space = i->rcv_space;
	o->tcpi_rcv_ssthresh = i->rcv_wnd;
	o->tcpi_snd_wnd = i->snd_wnd;
	/* Linux counts the congestion window in segments, and "none yet" as 2^31 - 1. */
	o->tcpi_snd_cwnd = segments(i->cwnd_bytes, i->snd_mss);
	o->tcpi_snd_ssthresh = i->ssthresh_bytes >= INT32_MAX
				       ? INT32_MAX
				       : segments(i->ssthresh_bytes, i->snd_mss);
}

static void fill_counts(struct tcp_info *o, const struct tcp_info_full *i)
{
	o->tcpi_bytes_acked = i->bytes_acked;
	o->tcpi_bytes_received = i->bytes_received;
	o->tcpi_bytes_sent = i->bytes_sent;
	o->tcpi_bytes_retrans = i->bytes_retrans;
	o->tcpi_segs_in = (uint32_t)i->segs_in;
	o->tcpi_segs_out = (uint32_t)i->segs_out;
	o->tcpi_data_segs_in = (uint32_t)i->data_segs_in;
	o->tcpi_data_segs_out = (uint32_t)i->data_segs_out;
	o->tcpi_notsent_bytes = (uint32_t)i->notsent_bytes;
	o->tcpi_last_data_sent = ms(i->last_data_sent_ns);
	o->tcpi_last_data_recv = ms(i->last_data_recv_ns);
	o->tcpi_last_ack_recv = ms(i->last_ack_recv_ns);
}

int sock_tcp_info(struct sock *k, void *out, uint32_t len)
{
	struct tcp_info o = {.tcpi_state = sock_tcp_state(k)};
	struct tcp_info_full i;

	/* As Linux: how many wait to be accepted, and how many may. */
	if (k->kind == SOCK_LISTEN) {
		o.tcpi_unacked = tcp_sock_waiting(k);
		o.tcpi_sacked = k->backlog;
	}
	if (k->kind == SOCK_CONN || k->kind == SOCK_CONNECTING) {
		tcp_conn_info(k->app->s->cfg.tcp, k->conn, &i);
		fill_state(&o, &i);
		fill_path(&o, &i);
		fill_counts(&o, &i);
	}
	if (len > sizeof(o))
		len = sizeof(o);
	memcpy(out, &o, len);
	return (int)len;
}
