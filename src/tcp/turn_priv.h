/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What output.c (the transaction) and turn.c (what one connection sends) share.
 */
#ifndef ZS_TCP_TURN_PRIV_H
#define ZS_TCP_TURN_PRIV_H

#include "tcp/tcp_priv.h"

enum tx_kind { TX_REPLY, TX_NEW, TX_AGAIN, TX_LAST_AGAIN, TX_BARE, TX_PROBE };

/* tcp_tx.kind: what it is, whether its ACK tells of a D-SACK, and the window field. */
#define KIND_DSACK 0x100u
#define KIND_OF(k) ((enum tx_kind)((k)&0xff))

/* A connection's turn. */
struct turn {
	struct tcp *t;
	struct tcp_conn *c;
	struct tcp_tx *tx;
	unsigned n, max;
	uint64_t nxt;	    /* first byte not offered yet */
	uint64_t again;	    /* lost data below is offered */
	uint64_t in_flight; /* with what was offered */
	uint32_t new_recs;  /* records that tcp_output_done will add */
	uint16_t wnd;
	uint64_t wnd_edge;
	bool acked;		  /* an offered segment carries the acknowledgement */
	bool stuck;		  /* no buffer or no memory: later */
	struct tcp_opts_out opts; /* with SACK blocks, when there are any */
	bool dsack;
	unsigned n_hdr; /* header buffers that are at hand */
	struct rte_mbuf *hdr[PKT_BURST];
};

/* Offers what the connection has to send now, at most max segments. True: it has more. */
bool tcp_turn_take(struct turn *u);
/* The same for one segment that is all there is to send. Needs t, c, tx. False: nothing was done.
 */
bool tcp_turn_fast(struct turn *u);

#endif
