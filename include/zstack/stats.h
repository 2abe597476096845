/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Seeing what the stack does: counters, and tables as text.
 */
#ifndef ZSTACK_STATS_H
#define ZSTACK_STATS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Since zs_start(). Later versions append fields. */
struct zs_stats {
	/* Bytes of payload copied, by who had to. A program that uses only <zstack/zc.h> has 0 in
	 * the first. */
	uint64_t api_copied_bytes;	/* zs_read(), zs_write() and the like; zero-copy calls
					 * across cores, and of less than 512 bytes from a program
					 * of this node to the wire */
	uint64_t pressure_copied_bytes; /* received payload compacted because buffers ran short */
	uint64_t device_copied_bytes;	/* for a port that can't send the memory as it is, and small
					 * payload of copying calls put beside its headers */
	uint64_t rx_bytes, tx_bytes;	/* payload handed to, and taken from, the program */
	uint64_t accepts, connects;	/* connections handed out; opened actively */
	uint64_t commands, events;	/* that crossed the channel */
	uint64_t sleeps;		/* times a call slept */
	uint64_t lent_buffers;		/* received buffers the program holds now */
	uint64_t bad_events;		/* of the stack that made no sense: always 0 */
	uint64_t empty_dropped;	      /* datagrams of no bytes that came while 256 others waited */
	uint64_t domain_copied_bytes; /* received where this program may not look: by a service with
				       * several trust domains, or on a port with memory of its own
				       */
	uint64_t links;		      /* to programs on this node, now; to itself: two */
	uint64_t link_bad;	      /* that ended because the other program broke the rules */
	uint64_t neighbour_dropped;   /* datagrams of a program whose link had just ended */
};

/* Fills the first size bytes of *stats: pass sizeof(*stats). What the program's side can't know it
 * asks the stack for. 0, -ENXIO, -EINVAL (size 0). */
int zs_stats(struct zs_stats *stats, size_t size);

/* The value of one counter of the stack, summed over cores, by the name it has in the dump of
 * ZS_DUMP_COUNTERS. 0, -ENOENT, -ENXIO. */
int zs_counter(const char *name, uint64_t *value);

enum zs_dump_what {
	ZS_DUMP_SOCKETS,  /* a line for each, with states and queues */
	ZS_DUMP_COUNTERS, /* lines "NAME VALUE"; dropped packets by reason among them */
	ZS_DUMP_NEIGH,	  /* ARP and ND */
	ZS_DUMP_ROUTES,
	ZS_DUMP_PORTS,
};

/* Writes one of the tables, for each core. The text is for people; only the form of the counters is
 * fixed. 0, -EINVAL, -ENXIO, -EIO (out does not take it). */
int zs_dump(enum zs_dump_what what, FILE *out);

#ifdef __cplusplus
}
#endif

#endif
