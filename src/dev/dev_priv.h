/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of src/dev share: the port, its queues, and the row of the table it was made from.
 */
#ifndef ZS_DEV_DEV_PRIV_H
#define ZS_DEV_DEV_PRIV_H

#include <rte_ethdev.h>

#include "dev/dev.h"

#define DEV_QUEUES_MAX 16

/* What a PMD does whatever it reports: read in its source, and tried. */
struct dev_row {
	const char *driver;
	bool multi_seg, indirect, external;
	bool offloads;	    /* its checksum and TSO are worth using */
	bool try_intr;	    /* may have queue interrupts: ask */
	bool kernel_socket; /* reads a socket that can be polled */
	bool cuts_frames;   /* frames above its frame size arrive cut, without a flag */
	bool lazy_free;
	uint16_t max_segs;
	uint16_t rx_desc, tx_desc;
};

/* Written by the core of the queue only. */
struct dev_queue {
	struct dev_counters count;
	int wake_fd; /* -1: none */
	bool intr;   /* wake_fd is a queue interrupt's */
	bool warned_cut;
	uint32_t credit; /* af_packet: frames that surely fit its ring */
} __attribute__((aligned(64)));

/* One port: made and closed by the control thread, its queues used by one core each. */
struct dev {
	uint16_t port_id;
	uint16_t n_queues;
	uint16_t mtu;
	uint16_t tx_ring; /* af_packet: frames in its send ring */
	unsigned index;
	bool walk_segs; /* some kinds of segment must be linearized */
	struct dev_caps caps;
	char name[RTE_ETH_NAME_MAX_LEN];
	struct dev_queue q[DEV_QUEUES_MAX];
};

/* dev_eal.c: DPDK's number of the port, or -ENODEV. */
int dev_port_id(unsigned index) must_check;

/* dev_table.c */
const struct dev_row *dev_row_find(const char *driver);
void dev_row_caps(const struct dev_row *row, const struct rte_eth_dev_info *info, const char *args,
		  struct dev_caps *caps);
/* Value of `key` in "iface=x,framesz=4096", copied to val; false when absent. */
bool dev_args_get(const char *args, const char *key, char *val, size_t val_len);
/* As a number, or `otherwise`. */
uint32_t dev_args_u32(const char *args, const char *key, uint32_t otherwise);

/* dev_wake.c: finds the wake source of each queue of a started port. */
void dev_wake_find(struct dev *d, const struct dev_row *row, const char *args);
void dev_wake_close(struct dev *d);

#endif
