/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the files of src/dev share: the port, its queues, and the row of the table it was made from.
 */
#ifndef ZS_DEV_DEV_PRIV_H
#define ZS_DEV_DEV_PRIV_H

#include <net/if.h>
#include <signal.h>

#include <rte_ethdev.h>

#include "dev/dev.h"

#define DEV_QUEUES_MAX 16
/* Ethernet and one VLAN tag. */
#define DEV_L2_MAX 18
/* A buffer of an af_xdp port's pool with all that is around it: AF_XDP wants a page at most. */
#define DEV_UMEM_CHUNK 4096
/* Room for data in a receive buffer, unless a port wants more. */
#define DEV_RX_ROOM 2048
/* The largest IP packet and its headers, in such buffers. */
#define DEV_CHAIN_SEGS	(65536 / DEV_RX_ROOM + 1)
#define DEV_CHAIN_BYTES (DEV_CHAIN_SEGS * DEV_RX_ROOM)
/* Buffers of a pool that a core keeps for itself. */
#define DEV_POOL_CACHE 256

/* What makes a PMD give back buffers that the far end has taken (dev_reclaim.c). */
enum dev_reclaim {
	DEV_RECLAIM_NONE,  /* copies, and frees within the burst */
	DEV_RECLAIM_EMPTY, /* any burst begins with cleaning: one of no packets */
	DEV_RECLAIM_PROBE, /* cleans when descriptors run out: a packet that can't fit */
	DEV_RECLAIM_CALL,  /* rte_eth_tx_done_cleanup() */
};

/* Which segments a port can't send from where they lie. */
enum dev_segs {
	DEV_SEGS_ANY,	 /* it copies, or hands on pointers in this process */
	DEV_SEGS_DIRECT, /* takes a buffer of its pool for what lies in it */
	DEV_SEGS_EAL,	 /* the far end sees EAL's memory and no other */
};

/* What a PMD does whatever it reports: read in its source, and tried. */
struct dev_row {
	const char *driver;
	enum dev_segs segs;
	enum dev_reclaim reclaim;
	bool multi_seg;
	bool offloads;	    /* its checksum, TSO, LRO are worth using */
	bool tx_prepare;    /* wants rte_eth_tx_prepare() before its offloads */
	bool none_is_good;  /* "no checksum in the packet" comes with the peer's word for it */
	bool try_intr;	    /* may have queue interrupts: ask */
	bool intr_is_fd;    /* its interrupt descriptor needs no arming */
	bool kernel_socket; /* reads a socket that can be polled */
	bool kernel_if;	    /* stands on an interface of the kernel's: iface=NAME */
	bool cuts_frames;   /* frames above its frame size arrive cut, without a flag */
	bool copies_input;  /* the kernel takes what it receives, too (dev_hide.c) */
	bool tso_by_peer;   /* sends TSO if its peer said so: known when it came (dev_tso()) */
	bool intr_thread;   /* DPDK's interrupt thread unmaps its rings (dev_guard.c) */
	uint16_t max_segs;
	uint16_t rx_desc, tx_desc;
	uint16_t tx_most; /* most packets that its transmit function is given at once; 0: any */
};

/* Who moves the frames. */
enum dev_io {
	DEV_IO_PMD,
	DEV_IO_TAP,    /* dev_tap.c */
	DEV_IO_PACKET, /* dev_packet.c */
};

/* Written by the core of the queue only. */
struct dev_queue {
	struct dev_counters count;
	struct rte_mbuf *marker; /* of the last burst, one reference held (dev_reclaim.c) */
	int wake_fd;		 /* what the caller waits on; -1: none */
	int real_fd;		 /* what is behind it */
	bool intr;		 /* wake_fd is a queue interrupt's */
	bool proxy;		 /* wake_fd is an epoll of ours around real_fd */
	bool warned_cut;
	struct dev_tap *tap;	   /* DEV_IO_TAP */
	struct dev_packet *packet; /* DEV_IO_PACKET */
	uint32_t lost;	/* DEV_IO_PACKET: frames larger than its slots, not kept, not yet counted */
	bool whole;	/* af_packet: what its ring cuts lies in its socket's queue (dev_whole.c) */
	bool busy;	/* in the PMD, where the port is guarded */
	uint32_t polls; /* guarded: until the next look at the peer */
	uint32_t credit;    /* af_packet: frames that surely fit its ring */
	uint32_t strangers; /* af_packet: cut frames since the queue's first matched none */
	uint32_t offer;	    /* most that is offered at once: little to a port that was full */
} __attribute__((aligned(64)));

/* One port: made and closed by the control thread, its queues used by one core each. */
struct dev {
	uint16_t port_id;
	uint16_t n_queues;
	uint16_t mtu;
	uint16_t tx_ring; /* af_packet: frames in its send ring */
	unsigned index;
	const struct dev_row *row;
	enum dev_segs segs;
	enum dev_reclaim reclaim;
	uintptr_t mem_base; /* DEV_SEGS_EAL: what it sends from */
	size_t mem_len;
	bool copy_attached; /* needs bus addresses, which attached memory lacks */
	struct dev_caps caps;
	struct eth_addr mac;
	char name[RTE_ETH_NAME_MAX_LEN];
	char ifname[IF_NAMESIZE]; /* kernel_if */
	unsigned ifindex;
	bool no_return;	   /* a peer that left stays away, and asking for it is bad */
	bool was_up, gone; /* what dev_check() found last */
	bool deleted;	   /* the interface, for good */
	uint64_t check_tsc;
	enum dev_io io;
	bool guarded, paused, guard_slow; /* dev_guard.c */
	int control, stand_in;
	char socket[109]; /* role and path, see dev_guard.c */
	struct dev_queue q[DEV_QUEUES_MAX];
};

/* dev_eal.c: DPDK's number of the port, or -ENODEV. */
int dev_port_id(unsigned index) must_check;

/* dev_spec.c */
struct dev_spec_env {
	bool huge;	   /* EAL's memory is hugepages */
	uint16_t n_queues; /* pairs that the port will be opened with */
	uint32_t mtu;	   /* that the port will be opened with; 0: the interface's */
};
/* Checks the user's SPEC and copies it to out with what it left open. -errno and a sentence. */
int dev_spec_complete(const char *text, const struct dev_spec_env *env, char *out, size_t out_len,
		      char *err, size_t err_len) must_check;

/* dev_open.c: the arguments of a port's SPEC. */
const char *dev_port_args(const struct rte_eth_dev_info *info);

/* dev_umem.c: does a port of this process take its receive pool for its UMEM? */
bool dev_umem_wanted(void);
/* A pool of buffers of one page each, one behind the other. NULL with rte_errno. */
struct rte_mempool *dev_umem_pool(unsigned id, uint32_t n);

/* Bytes that the receive pool's buffers must have room for on account of this SPEC; 0: any. */
uint32_t dev_spec_room(const char *text, uint32_t mtu);

/* Bytes of a block of af_packet's ring: a whole number of frames, and of pages. */
uint32_t dev_spec_block(uint32_t frame);

/* dev_table.c */
const struct dev_row *dev_row_find(const char *driver);
/* Fills caps, segs, reclaim of d from its row, what it reports and its arguments. */
void dev_row_apply(struct dev *d, const struct rte_eth_dev_info *info, const char *args);
/* Value of `key` in "iface=x,framesz=4096", copied to val; false when absent. */
bool dev_args_get(const char *args, const char *key, char *val, size_t val_len);
/* As a number, or `otherwise`. */
uint32_t dev_args_u32(const char *args, const char *key, uint32_t otherwise);

/* dev_link.c */
unsigned dev_if_mtu(const char *ifname);
int dev_if_mtu_set(const char *ifname, uint16_t mtu) must_check;

/* dev_eal.c: what all ports of this process want of a receive buffer. */
uint32_t dev_rx_room(void);

/* dev_whole.c: keeps whole what is too large for af_packet's ring. */
void dev_whole_open(struct dev *d);
/* The whole frame of a cut one, or NULL. Borrows cut. */
struct rte_mbuf *dev_whole_take(struct dev *d, struct dev_queue *q, struct rte_mbuf *cut);
/* A chain of n bytes, not yet written, and where they lie; NULL: no buffers, or n is more than
 * DEV_CHAIN_BYTES. What fills the half of a buffer of `large` or more lies in one of those; NULL: in
 * none. */
struct iovec;
struct rte_mbuf *dev_chain_alloc(struct rte_mempool *pool, struct rte_mempool *large, uint32_t n,
				 struct iovec *iov, unsigned *n_iov) must_check;

/* dev_csum.c: where the headers of a frame lie. l4_len ends where IP says, not where padding does.
 */
struct dev_layout {
	uint16_t l2, l3;
	uint32_t l4_len;
	uint8_t proto;
	bool v6;
};
/* Reads the headers, in the first segment. False: not such a frame, or IP says that it is longer.
 */
bool dev_layout_read(const struct rte_mbuf *m, struct dev_layout *l);
/* Completes the checksum in software: returns its field, or NULL when it isn't in the first
 * segment; *was gets what stood there. */
uint8_t *dev_csum_software(struct rte_mbuf *m, const struct dev_layout *l, uint16_t *was);
/* Marks the packet for the port's checksum and, with PKT_F_TSO, segmentation. */
void dev_csum_port(struct rte_mbuf *m, const struct pkt *p, const struct dev_layout *l);

/* dev_wake.c: finds the wake source of each queue of a started port. */
void dev_wake_find(struct dev *d);
void dev_wake_close(struct dev *d);
/* Around calls that make a tap port's queues: keeps its PMD from having itself told of each frame
 * by a real-time signal, which would interrupt the system calls of the whole program. */
void dev_signals_hold(struct sigaction was[NSIG]);
void dev_signals_release(const struct sigaction was[NSIG]);

/* dev_guard.c */
void dev_guard_open(struct dev *d, const char *args);
/* Makes the PMD stop and close the port. */
void dev_guard_close(struct dev *d);
/* The part of dev_check() for a guarded port. */
void dev_guard_check(struct dev *d);
/* Before DPDK ends: its interrupt thread does nothing any more. */
void dev_intr_thread_park(void);
uint16_t dev_guard_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);
uint16_t dev_guard_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);

/* dev_tap.c. Makes the device that the SPEC of a tap port names, and adds its name if it has none.
 * A descriptor that keeps it until DPDK's driver has it, or -1: not for us. */
int dev_tap_make(char *spec, size_t len);
/* Of a port whose wake sources are known. 0 or -errno. */
int dev_tap_open(struct dev *d, const struct dev_cfg *cfg) must_check;
void dev_tap_close(struct dev *d);
uint16_t dev_tap_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);
uint16_t dev_tap_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);
/* One queue of a tap device, for who has its descriptor: buffers of that pool for what it gives, and
 * of `large` for what is large, if that isn't NULL. */
struct dev_tap *dev_tap_create(struct rte_mempool *pool, struct rte_mempool *large) must_check;
void dev_tap_destroy(struct dev_tap *t);
/* 1: *m is the next packet. 0: there is none. -ENOBUFS, other -errno. */
int dev_tap_read(struct dev_tap *t, int fd, struct rte_mbuf **m) must_check;
struct virtio_net_hdr;
/* Borrows m. 0 or -errno. */
int dev_tap_write(int fd, struct virtio_net_hdr *h, const struct rte_mbuf *m) must_check;

/* dev_vnet.c: the header of a packet to the kernel, and from it. */
/* What it says of the checksum of a packet of len bytes, as DPDK's flag. */
uint64_t dev_vnet_verdict(const struct virtio_net_hdr *h, uint32_t len);
/* What the port was asked to do with the packet, in the kernel's words. */
struct virtio_net_hdr dev_vnet_header(const struct rte_mbuf *m);
/* DPDK leaves the length out of a TSO packet's pseudo-header, the kernel wants it in. Returns the
 * field, to be put back as it was when the packet isn't sent, or NULL. */
uint8_t *dev_vnet_length_in(struct rte_mbuf *m, const struct virtio_net_hdr *h, uint16_t *was);

/* dev_packet.c. Of an af_packet port whose wake sources are known: moves its frames from here on
 * where it can, else leaves them to the PMD. -errno: the port can't be used. */
int dev_packet_open(struct dev *d, const char *args, const struct dev_cfg *cfg) must_check;
void dev_packet_close(struct dev *d);
/* Frames that its rings had no room for, so far. For any thread. */
uint64_t dev_packet_missed(struct dev *d);
uint16_t dev_packet_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);
uint16_t dev_packet_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n);

/* dev_udp_cut.c: a packet of many UDP datagrams of one size (the last may be shorter) behind one
 * header, being cut. */
struct dev_udp_cut {
	struct rte_mbuf *m; /* owned; NULL: none */
	struct dev_layout l;
	uint32_t at, left;    /* payload not yet taken: where it begins, its bytes */
	uint16_t size, taken; /* of a datagram's payload; how many were taken */
};
/* Takes m. False: it is no such packet, or the datagrams don't fit the pool's buffers; freed. */
bool dev_udp_cut_begin(struct dev_udp_cut *c, struct rte_mbuf *m, uint16_t size,
		       struct rte_mempool *pool) must_check;
/* The next datagram of a packet that is being cut: 1, or -ENOBUFS. */
int dev_udp_cut_next(struct dev_udp_cut *c, struct rte_mempool *pool,
		     struct rte_mbuf **out) must_check;

/* dev_hide.c: keeps the kernel from taking what arrives at the port's interface, until the
 * descriptor is closed. -ENOENT: it doesn't; other -errno. */
int dev_hide_open(const struct dev *d);

static inline uint16_t dev_pmd_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	if (d->io == DEV_IO_PACKET)
		return dev_packet_rx(d, queue, m, n);
	if (d->io == DEV_IO_TAP)
		return dev_tap_rx(d, queue, m, n);
	if (unlikely(d->guarded))
		return dev_guard_rx(d, queue, m, n);
	return rte_eth_rx_burst(d->port_id, queue, m, n);
}

static inline uint16_t dev_pmd_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	if (d->io == DEV_IO_PACKET)
		return dev_packet_tx(d, queue, m, n);
	if (d->io == DEV_IO_TAP)
		return dev_tap_tx(d, queue, m, n);
	if (unlikely(d->guarded))
		return dev_guard_tx(d, queue, m, n);
	return rte_eth_tx_burst(d->port_id, queue, m, n);
}

/* dev_reclaim.c */
/* dev_check(), at most once a second. */
void dev_watch(struct dev *d);
/* Remembers the last packet that a port which cleans lazily took: m is still in its ring. */
static inline void dev_reclaim_mark(struct dev_queue *q, struct rte_mbuf *m)
{
	struct rte_mbuf *old = q->marker;

	rte_mbuf_refcnt_update(m, 1);
	q->marker = m;
	if (old != NULL)
		rte_pktmbuf_free_seg(old);
}
void dev_reclaim_close(struct dev *d);

#endif
