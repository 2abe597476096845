/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports: the only room that calls rte_ethdev. It owns the table of what each kind of port can send
 * and how its buffers come back (DESIGN §3.8), and does in software what a port lacks.
 */
#ifndef ZS_DEV_DEV_H
#define ZS_DEV_DEV_H

#include <stdio.h>

#include "pkt/pkt.h"

struct dev; /* one port with all its queues */

/* What the port can do, after start. A row of the table in dev_table.c, narrowed by what it
 * reports. */
struct dev_caps {
	const char *driver; /* "net_af_packet" … */
	bool multi_seg;	    /* sends chains */
	bool indirect;	    /* sends slices (indirect mbufs) */
	bool external;	    /* sends attached memory that EAL does not know; any port sends that
			     * of dev_mem_alloc() */
	bool tx_l4_csum, tx_ip_csum, tso, rx_l4_csum, rx_ip_csum, rss, lro;
	bool rx_intr;	    /* queue interrupts that work (asked, not believed) */
	bool kernel_socket; /* wake source: the PMD's own socket */
	bool tx_done_cleanup;
	bool lazy_free;	   /* cleans sent buffers only when descriptors run out */
	uint16_t max_segs; /* per packet, 1 = none */
	uint32_t tso_max_bytes;
	bool shares_memory;	  /* the peer can write all of EAL's memory: trust it */
	uint32_t max_frame_bytes; /* received frames of this size and above are cut by the PMD */
	uint16_t max_queues;
	uint16_t mtu_max;
};

/* EAL: called once per process before anything else. What a SPEC leaves open gets good values
 * (dev_spec.c); what it gets wrong is said in one line before DPDK starts. DPDK itself says errors
 * only; the environment variable ZS_DPDK_LOG gives another level ("info", "pmd.net.memif:debug").
 */
struct dev_eal_cfg {
	const char *prefix;	  /* for messages and runtime files; NULL = automatic, in-memory */
	const char *const *vdevs; /* NULL-terminated --vdev SPECs */
	const char *const *pci;	  /* NULL-terminated PCI addresses */
	const char *cores;	  /* CPU list "0,2-3"; NULL = where we run */
	uint32_t mem_mb;	  /* 0 = as needed, by the next two */
	bool no_huge;		  /* do not even try hugepages */
	uint32_t n_mbufs; /* all pools together, for mem_mb = 0; 0 = of one core's defaults */
	size_t mem_bytes; /* to be asked of dev_mem_alloc(), for mem_mb = 0 */
	uint32_t n_rx;	  /* of those, the receive buffers, which jumbo frames make larger */
	uint32_t
		n_shared; /* receive buffers whose data the caller keeps, in huge pages if it can */
	size_t shared_bytes; /* what it keeps there beside */
	uint16_t n_queues;   /* pairs that each vdev will be opened with; 0 = 1 */
	bool telemetry;	     /* DPDK's: see dev_telemetry_register() */
	uint16_t mtu;	     /* that the ports will be opened with; 0 = theirs */
};
/* Tries hugepages (when root and none are free, by raising the kernel's limit for surplus pages,
 * which go when the process goes, however it ends) and falls back to ordinary memory, in one
 * process start. 0 or -errno with a sentence in err. The calling thread is as after
 * dev_thread_init(). */
int dev_eal_init(const struct dev_eal_cfg *cfg, char *err, size_t err_len) must_check;
void dev_eal_fini(void);
/* All memory of huge pages that n_shared announced is mapped: the kernel's limit is as it was. Until
 * then others that raise it wait, some seconds at most. */
void dev_huge_settle(void);
/* Bytes of huge pages (of 2 MB) that are kept ready for use and nobody took. */
size_t dev_huge_free(void);

/* A command in DPDK's telemetry, "/zstack/...": fill adds pairs to dict by dev_telemetry_add(), in
 * a thread of DPDK's, one call at a time. cmd stays the caller's. 0 or -errno. */
typedef int (*dev_telemetry_fill)(void *arg, const char *params, void *dict);
int dev_telemetry_register(const char *cmd, const char *help, dev_telemetry_fill fill,
			   void *arg) must_check;
void dev_telemetry_add(void *dict, const char *name, uint64_t value);
/* Waits for a call that runs; there is none afterwards. */
void dev_telemetry_stop(void);

/* From the lowest to the highest byte of EAL's memory: every buffer of every pool lies in it. */
struct dev_span {
	const void *base;
	uint64_t bytes;
};
struct dev_span dev_mem_span(void);

/* Whichever thread runs a stack calls init first and fini last. DPDK keeps a cache of each pool's
 * buffers for threads that it knows; a thread that it does not know goes to the pool's shared ring
 * for each buffer, which costs about twice as much (bench/dev_burst). 0 or -errno. */
int dev_thread_init(void);
void dev_thread_fini(void);

/* Zeroed memory of EAL's, page-aligned: what every port can send from without a copy, also those
 * without caps.external (virtio_user, zero-copy memif, NICs), out of what dev_eal_init() was asked
 * for (mem_bytes). For the payload arenas of applications. NULL: none left. */
void *dev_mem_alloc(size_t len);
void dev_mem_free(void *p);

struct dev_cfg {
	uint16_t n_queues;		     /* pairs; refused when the port has fewer */
	uint16_t rx_desc, tx_desc;	     /* 0 = the default of the row */
	uint16_t mtu;			     /* 0 = the port's */
	struct rte_mempool *const *rx_pools; /* one per queue */
	struct rte_mempool *const
		*large_pools; /* the same, each NULL where there is none; or NULL */
	bool promiscuous;
};

/* Ports of this process, in the order of vdevs then pci. */
unsigned dev_count(void);
/* Before it is opened: can the port receive into any memory? Else its buffers must be EAL's. */
bool dev_receives_anywhere(unsigned index);
/* Does a port of this SPEC receive packets of up to 64 KB? Then a large pool is of use. */
bool dev_receives_large(const char *spec);
int dev_open(unsigned index, const struct dev_cfg *cfg, struct dev **out, char *err,
	     size_t err_len) must_check;
void dev_close(struct dev *d);
const char *dev_name(const struct dev *d);
const struct dev_caps *dev_caps(const struct dev *d);
struct eth_addr dev_mac(const struct dev *d);
uint16_t dev_mtu(const struct dev *d);
/* The kernel's, of the interface that the port stands on (af_packet, af_xdp, tap); 0: none. */
unsigned dev_ifindex(const struct dev *d);
/* Does the port take TSO packets now? vhost's answer depends on its peer, so it is asked for each
 * connection; caps.tso is the last answer. */
bool dev_tso(struct dev *d);
bool dev_link_up(struct dev *d);
/* One line: "port 0 net_af_packet0: 1 queue, mtu 1500; in software: checksum; wakes by socket". */
void dev_describe(const struct dev *d, FILE *out);
/* The port is there and its link is up? Notices a port that vanished (interface deleted, peer gone)
 * or came back: counts it and says so in one line. A few microseconds; about once a second is
 * enough. */
bool dev_check(struct dev *d);
/* Did dev_check() find that the interface was deleted? It will not come back. */
bool dev_deleted(const struct dev *d);

/* Suitable pools for a core: rx, hdr, ref. The names get `id`. Memory a PMD can use without a copy
 * where it has a choice (af_xdp, memif zero-copy). Sizes of 0 are the defaults. A core's pools are
 * cheap for the thread of that core alone; others may free to them. */
#define DEV_POOL_RX 8192
/* Of those, what the four rings of an af_xdp queue hold beside: its UMEM is the pool. */
#define DEV_POOL_XDP 8192
#define DEV_POOL_TX  4096
#define DEV_POOL_REF 32768 /* small: a send that waits for its acknowledgement holds one or two */
/* Of ports that receive up to 64 KB at once: buffers of so much room, of which a packet takes a few.
 * In those of 2 KB it is 32 pieces, and each is lent, told of and given back. */
#define DEV_POOL_LARGE 512
#define DEV_LARGE_ROOM 16384
/* Memory of the caller's that buffers' data shall lie in, so that other processes can be shown it
 * and nothing else. */
struct dev_mem {
	void *base;
	size_t bytes;
};
/* mem: for the data of received packets, dev_pool_bytes() long; NULL: EAL's memory. */
int dev_pools_create(unsigned id, uint32_t n_rx, uint32_t n_tx, uint16_t rx_room,
		     const struct dev_mem *mem, struct pkt_pools *out, char *err,
		     size_t err_len) must_check;
void dev_pools_destroy(struct pkt_pools *p);
/* Bytes that the data of n received buffers take; rx_room as above. */
size_t dev_pool_bytes(uint32_t n, uint16_t rx_room);
/* One pool of buffers like those of received packets, with their data in mem. NULL: no memory. */
struct rte_mempool *dev_pool_create(const char *kind, unsigned id, uint32_t n, uint16_t rx_room,
				    const struct dev_mem *mem) must_check;
void dev_pool_destroy(struct rte_mempool *pool);

/* ---- one queue, called by its core only ---- */

/* Receives at most n frames. Frames that the PMD cut (H19, FACTS) are dropped and counted here,
 * with one warning; checksum flags are translated to PKT_F_CSUM_OK. Sets m and flags of each pkt.
 */
unsigned dev_rx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      struct drop_counters *drops);
/* How many packets the queue will take now, at most n. */
unsigned dev_tx_room(struct dev *d, uint16_t queue, unsigned n);
/* Sends frames in order; p[i].flags say L4_CSUM, TSO. Completes in software what the port lacks
 * (checksum, linearizing: counted in *copied), but not segmentation: a TSO packet for a port
 * without caps.tso is dropped (IP_TOO_BIG). With L4_CSUM the field holds the sum of the
 * pseudo-header. Returns how many were taken (their mbufs are gone); the rest stays the caller's,
 * unchanged. Packets that can never be sent are taken and counted as drops. */
unsigned dev_tx_burst(struct dev *d, uint16_t queue, struct pkt *p, unsigned n,
		      const struct pkt_pools *pools, struct drop_counters *drops, uint64_t *copied);
/* Takes back what the port has finished sending: needed where it cleans lazily (caps.lazy_free),
 * for completions and when pools run low. Each PMD has its own way (dev_reclaim.c): buffers that
 * the far end has taken are home after this call. True: some are still out, to be called again
 * before long, which bounds a sleep (1 ms). Cheap where there is nothing to do. Calls dev_check()
 * once a second. */
bool dev_tx_reclaim(struct dev *d, uint16_t queue);

/* ---- sleeping (DESIGN §3.12) ---- */
enum dev_wake { DEV_WAKE_INTR, DEV_WAKE_SOCKET, DEV_WAKE_TIMER };
enum dev_wake dev_wake_kind(const struct dev *d, uint16_t queue);
/* Descriptor that becomes readable on arrival, or -1 (timer). Level-triggered; owned by dev, the
 * same while the port is open. */
int dev_wake_fd(struct dev *d, uint16_t queue);
/* Arms before sleeping; after waking disarms. Between arming and sleeping the caller polls once
 * more. */
void dev_wake_arm(struct dev *d, uint16_t queue);
void dev_wake_disarm(struct dev *d, uint16_t queue);

/* ---- an interface of the kernel's beside a port (dev_kernel.c) ---- */

/* What the kernel would have if it had the port: an interface (tap) of the port's MAC and MTU,
 * which exists as long as this process has it open. A queue is its core's, as a port's. */
struct dev_kernel;
struct dev_kernel_cfg {
	const char *name; /* of the interface */
	struct eth_addr mac;
	uint16_t mtu;
	uint16_t n_queues;
	struct rte_mempool *const *pools; /* one per queue, for what the kernel sends */
};
/* Makes the interface, down. Where the port is a copy of what an interface of the kernel's
 * receives, that interface is kept from taking it itself. -errno with a sentence in err. */
int dev_kernel_open(const struct dev *port, const struct dev_kernel_cfg *cfg,
		    struct dev_kernel **out, char *err, size_t err_len) must_check;
void dev_kernel_close(struct dev_kernel *k);
const char *dev_kernel_name(const struct dev_kernel *k);
unsigned dev_kernel_index(const struct dev_kernel *k);
/* Level-triggered. */
int dev_kernel_fd(const struct dev_kernel *k, uint16_t queue);
/* Frames that the kernel sends, checksums complete: at most n. Sets m and flags. */
unsigned dev_kernel_rx(struct dev_kernel *k, uint16_t queue, struct pkt *p, unsigned n);
/* A frame for the kernel; flags say CSUM_OK as the port did, or L4_CSUM: it has none. Takes p->m.
 * False: it did not want it (down, or no memory). */
bool dev_kernel_tx(struct dev_kernel *k, uint16_t queue, struct pkt *p);

struct dev_counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, rx_missed, rx_errors, tx_errors,
		rx_truncated, tx_linearized, tx_linearized_bytes, tx_sw_csum, rx_nombuf, vanished;
};
void dev_counters(struct dev *d, struct dev_counters *out);

#endif
