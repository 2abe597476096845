/* SPDX-License-Identifier: BSD-3-Clause
 *
 * af_packet with the kernel's offloads. DPDK's driver has a packet socket for each queue, whose
 * rings carry plain frames only: the kernel cuts and sums what we send before anybody has asked for
 * it, and what a peer left to its port's segmentation comes cut off at the size of a slot. With
 * PACKET_VNET_HDR (packet(7)) up to 64 KB come and go as one, without a checksum where none is
 * needed. A socket that has rings can't be told so any more.
 *
 * So we make sockets of our own, and put each in the place of the driver's: under its number
 * (dup3), and nothing at all where its rings were mapped. Then the driver's socket is gone, and all
 * that the driver does with a descriptor (link, statistics, closing) it does with ours. Who wants
 * the driver's own way of sending says so: qdisc_bypass in the SPEC, which means nothing here.
 *
 *	receive   a ring of slots, as the driver's: no call of the system where there is nothing.
 *	          What is larger than a slot lies whole in the socket's queue (PACKET_COPY_THRESH),
 *	          and its slot says so (TP_STATUS_COPY): one read, into a chain of buffers
 *	send      sendmmsg() from where the segments lie, a message for each packet. The kernel cuts
 *	          and sums what the interface can't, as it does for its own TCP. It goes by the
 *	          interface's queueing discipline: what is sent around that is dropped when it
 *	          would have to be cut
 *
 * Several queues share what arrives by the hash of the flow (PACKET_FANOUT_HASH), as with the
 * driver, but IPv4 fragments are not put together by the kernel: ip_reasm.c does it.
 *
 * Not done: a ring for sending. The kernel would refer to its pages, and copy them when the frame
 * reaches a socket of this machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dev/dev_priv.h"

/* Bytes of large frames that wait to be fetched, and of packets that wait in the interface's
 * queue, as the kernel counts them. */
#define QUEUE_BYTES (8 << 20)
#define SEND_BYTES  (1 << 20)
/* A burst ends with this much: a few large packets fill the caches. */
#define BURST_BYTES (256u << 10)
/* Segments of the packets of one call. */
#define PIECES 512
/* Linux 5.10; a name that older headers lack. */
#ifndef PACKET_FANOUT_FLAG_IGNORE_OUTGOING
#define PACKET_FANOUT_FLAG_IGNORE_OUTGOING 0x4000
#endif
#define GSO_UDP_L4 5 /* VIRTIO_NET_HDR_GSO_UDP_L4, Linux 6.2 */

/* One queue's; its core's. */
struct dev_packet {
	int fd; /* until it has the driver's number; then -1 */
	struct rte_mempool *pool, *large;
	uint8_t *ring;
	size_t ring_bytes;
	uint32_t slot_bytes, n_slots;
	uint32_t next;		/* slot that is filled, or will be, next */
	struct dev_udp_cut cut; /* what is being handed out in pieces */
	uint64_t missed;	/* frames that the ring had no room for; whoever asks adds */
};

/* ---- opening ---- */

static int ring_make(struct dev_packet *p, const char *args)
{
	uint32_t frame = dev_args_u32(args, "framesz", 2048), block = dev_spec_block(frame);
	uint32_t n = dev_args_u32(args, "framecnt", 512) + block / frame - 1;
	struct tpacket_req req = {.tp_block_size = block, .tp_frame_size = frame};
	void *at;

	req.tp_block_nr = n / (block / frame);
	req.tp_frame_nr = req.tp_block_nr * (block / frame);
	if (setsockopt(p->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)) < 0)
		return -errno;
	p->ring_bytes = (size_t)block * req.tp_block_nr;
	at = mmap(NULL, p->ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	p->ring = at;
	p->slot_bytes = frame;
	p->n_slots = req.tp_frame_nr;
	return 0;
}

static void buffer_set(int fd, int force, int option, int bytes)
{
	if (setsockopt(fd, SOL_SOCKET, force, &bytes, sizeof(bytes)) < 0)
		(void)!setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof(bytes));
}

static int option_set(int fd, int option, int value)
{
	return setsockopt(fd, SOL_PACKET, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int socket_make(struct dev_packet *p, unsigned ifindex, const char *args)
{
	struct sockaddr_ll sll = {.sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_ALL),
				  .sll_ifindex = (int)ifindex};
	int rc;

	p->fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0)
		return -errno;
	buffer_set(p->fd, SO_RCVBUFFORCE, SO_RCVBUF, QUEUE_BYTES);
	buffer_set(p->fd, SO_SNDBUFFORCE, SO_SNDBUF, SEND_BYTES);
	/* What leaves the interface is none of ours. Linux 4.20; before, it is received and passed
	 * over. */
	(void)!option_set(p->fd, PACKET_IGNORE_OUTGOING, 1);
	rc = option_set(p->fd, PACKET_VNET_HDR, 1);
	if (rc == 0)
		rc = option_set(p->fd, PACKET_VERSION, TPACKET_V2);
	if (rc == 0)
		rc = option_set(p->fd, PACKET_COPY_THRESH, 1);
	if (rc == 0)
		rc = ring_make(p, args);
	if (rc == 0 && bind(p->fd, (struct sockaddr *)&sll, sizeof(sll)) < 0)
		rc = -errno;
	return rc;
}

/* The first makes the group, and says what it is called. */
static int group_join(int fd, int *group)
{
	int first = (PACKET_FANOUT_HASH | PACKET_FANOUT_FLAG_ROLLOVER |
		     PACKET_FANOUT_FLAG_IGNORE_OUTGOING | PACKET_FANOUT_FLAG_UNIQUEID)
		    << 16;
	socklen_t len = sizeof(*group);
	int rc = option_set(fd, PACKET_FANOUT, *group != 0 ? *group : first);

	if (rc == 0 && *group == 0 && getsockopt(fd, SOL_PACKET, PACKET_FANOUT, group, &len) < 0)
		rc = -errno;
	return rc;
}

static struct dev_packet *queue_create(const struct dev_cfg *cfg, unsigned queue)
{
	struct dev_packet *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->fd = -1;
	p->pool = cfg->rx_pools[queue];
	p->large = cfg->large_pools != NULL ? cfg->large_pools[queue] : NULL;
	return p;
}

static int queues_make(struct dev *d, const char *args, const struct dev_cfg *cfg)
{
	int group = 0, rc = 0;

	for (unsigned i = 0; i < d->n_queues && rc == 0; i++) {
		struct dev_packet *p = d->q[i].packet = queue_create(cfg, i);

		if (p == NULL)
			return -ENOMEM;
		rc = socket_make(p, d->ifindex, args);
		if (rc == 0 && d->n_queues > 1)
			rc = group_join(p->fd, &group);
	}
	return rc;
}

/* Puts nothing in the place of a socket's rings, which are what keeps it when its descriptor is
 * gone. The driver unmaps that in the end. Where it can't be done the socket stays, and costs. */
static void rings_forget(ino_t socket)
{
	FILE *f = fopen("/proc/self/maps", "re");
	unsigned long from, to, inode;
	char line[256];

	while (f != NULL && fgets(line, sizeof(line), f) != NULL)
		if (strstr(line, "socket:[") != NULL &&
		    sscanf(line, "%lx-%lx %*s %*s %*s %lu", &from, &to, &inode) == 3 &&
		    inode == socket) {
			(void)!mmap((void *)from, to - from, PROT_NONE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
			break;
		}
	if (f != NULL)
		fclose(f);
}

/* The socket takes the number of the driver's. */
static int replace(struct dev_queue *q)
{
	struct stat st;

	if (fstat(q->real_fd, &st) < 0 || dup3(q->packet->fd, q->real_fd, O_CLOEXEC) < 0)
		return -errno;
	close(q->packet->fd);
	q->packet->fd = -1;
	rings_forget(st.st_ino);
	return 0;
}

int dev_packet_open(struct dev *d, const char *args, const struct dev_cfg *cfg)
{
	char word[8];
	int rc;

	if (!d->row->cuts_frames || d->q[0].real_fd < 0 ||
	    dev_args_get(args, "qdisc_bypass", word, sizeof(word)))
		return 0;
	if (queues_make(d, args, cfg) < 0) {
		dev_packet_close(d);
		return 0;
	}
	for (unsigned i = 0; i < d->n_queues; i++) {
		rc = replace(&d->q[i]);
		if (rc < 0)
			return rc;
	}
	d->io = DEV_IO_PACKET;
	d->tx_ring = 0;
	d->caps.max_frame_bytes = UINT32_MAX;
	d->caps.tx_l4_csum = d->caps.rx_l4_csum = d->caps.tso = d->caps.lro = true;
	d->caps.tso_max_bytes = UINT16_MAX;
	return 0;
}

void dev_packet_close(struct dev *d)
{
	for (unsigned i = 0; i < d->n_queues; i++) {
		struct dev_packet *p = d->q[i].packet;

		d->q[i].packet = NULL;
		if (p == NULL)
			continue;
		if (p->ring != NULL)
			munmap(p->ring, p->ring_bytes);
		if (p->fd >= 0)
			close(p->fd);
		pkt_free(p->cut.m);
		free(p);
	}
}

/* The kernel forgets what it has told; so would the driver, which may ask too. */
uint64_t dev_packet_missed(struct dev *d)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < d->n_queues && d->io == DEV_IO_PACKET; i++) {
		struct tpacket_stats st = {0};
		socklen_t len = sizeof(st);

		if (getsockopt(d->q[i].real_fd, SOL_PACKET, PACKET_STATISTICS, &st, &len) < 0)
			st.tp_drops = 0;
		all += st.tp_drops;
		all += __atomic_fetch_add(&d->q[i].packet->missed, st.tp_drops, __ATOMIC_RELAXED);
	}
	return all;
}

/* ---- receive ---- */

static struct tpacket2_hdr *slot(const struct dev_packet *p)
{
	return (struct tpacket2_hdr *)(p->ring + (size_t)p->next * p->slot_bytes);
}

/* The slot is the kernel's again. */
static void slot_give(struct dev_packet *p, struct tpacket2_hdr *h)
{
	__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	p->next = p->next + 1 < p->n_slots ? p->next + 1 : 0;
	rte_prefetch0(slot(p));
	rte_prefetch0((const uint8_t *)slot(p) + RTE_CACHE_LINE_SIZE);
}

/* A frame that lies in its slot, behind its header. 1 or -ENOBUFS. */
static inline int small_take(const struct dev_packet *p, const struct tpacket2_hdr *h,
			     struct rte_mbuf **m, struct virtio_net_hdr *v)
{
	const uint8_t *f = (const uint8_t *)h + h->tp_mac;

	*m = rte_pktmbuf_alloc(p->pool);
	if (unlikely(*m == NULL))
		return -ENOBUFS;
	memcpy(v, f - sizeof(*v), sizeof(*v));
	memcpy(rte_pktmbuf_mtod(*m, void *), f, h->tp_snaplen);
	(*m)->data_len = (uint16_t)h->tp_snaplen;
	(*m)->pkt_len = h->tp_snaplen;
	(*m)->ol_flags |= dev_vnet_verdict(v, h->tp_snaplen);
	return 1;
}

/* A frame that lies in the socket's queue. 1, -ENOBUFS, 0: it isn't there, or larger than any IP
 * packet; then it is none any more. */
static int large_take(const struct dev_packet *p, int fd, const struct tpacket2_hdr *h,
		      struct rte_mbuf **m, struct virtio_net_hdr *v)
{
	struct iovec iov[1 + DEV_CHAIN_SEGS];
	unsigned n = 0;
	ssize_t got;

	iov[0] = (struct iovec){v, sizeof(*v)};
	*m = NULL;
	if (h->tp_len <= DEV_CHAIN_BYTES) {
		*m = dev_chain_alloc(p->pool, p->large, h->tp_len, iov + 1, &n);
		if (*m == NULL)
			return -ENOBUFS;
	}
	do /* That the interface went down is told once, before the frames that came till then. */
		got = readv(fd, iov, 1 + (int)n);
	while (got < 0 && errno == ENETDOWN);
	if (*m != NULL && got == (ssize_t)(sizeof(*v) + h->tp_len)) {
		(*m)->ol_flags |= dev_vnet_verdict(v, h->tp_len);
		return 1;
	}
	pkt_free(*m);
	return 0;
}

/* The kernel took the VLAN tag out of the frame. */
static cold_path void tag_put(struct rte_mbuf *m, const struct tpacket2_hdr *h)
{
	const be16_t tag[2] = {
		be16(h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->tp_vlan_tpid : ETH_P_8021Q),
		be16(h->tp_vlan_tci)};
	uint8_t *f = pkt_push(m, sizeof(tag));

	memmove(f, f + sizeof(tag), 2 * RTE_ETHER_ADDR_LEN);
	memcpy(f + 2 * RTE_ETHER_ADDR_LEN, tag, sizeof(tag));
}

/* The frame of a slot that is filled: 1, -ENOBUFS, 0: the kernel had no room for it. */
static inline int frame_take(const struct dev_packet *p, int fd, const struct tpacket2_hdr *h,
			     struct rte_mbuf **m, struct virtio_net_hdr *v)
{
	int rc = 0;

	if (likely(h->tp_snaplen == h->tp_len))
		rc = small_take(p, h, m, v);
	else if (h->tp_status & TP_STATUS_COPY)
		rc = large_take(p, fd, h, m, v);
	if (unlikely(h->tp_status & TP_STATUS_VLAN_VALID) && rc == 1)
		tag_put(*m, h);
	return rc;
}

/* 1, 0: nothing is there, -ENOBUFS. */
static int next(struct dev_queue *q, struct rte_mbuf **m)
{
	struct dev_packet *p = q->packet;
	struct virtio_net_hdr v;

	for (;;) {
		struct tpacket2_hdr *h = slot(p);
		int rc;

		if (unlikely(p->cut.m != NULL))
			return dev_udp_cut_next(&p->cut, p->pool, m);
		if (!(__atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
			return 0;
		rc = frame_take(p, q->real_fd, h, m, &v);
		if (unlikely(rc == -ENOBUFS))
			return rc;
		slot_give(p, h);
		if (unlikely(rc == 0))
			q->lost++;
		else if (likely((v.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) != GSO_UDP_L4))
			return 1;
		else if (!dev_udp_cut_begin(&p->cut, *m, v.gso_size, p->pool))
			q->count.rx_errors++;
	}
}

uint16_t dev_packet_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	struct dev_queue *q = &d->q[queue];
	uint32_t bytes = 0;
	uint16_t got = 0;

	while (got < n && bytes < BURST_BYTES) {
		int rc = next(q, &m[got]);

		q->count.rx_nombuf += rc == -ENOBUFS;
		if (rc <= 0)
			break;
		m[got]->port = d->port_id;
		bytes += m[got++]->pkt_len;
	}
	return got;
}

/* ---- send ---- */

/* The packets of one call. Not cleared: filled up to n. */
struct batch {
	unsigned n;
	struct virtio_net_hdr hdr[PKT_BURST];
	uint8_t *field[PKT_BURST]; /* see dev_vnet_length_in() */
	uint16_t was[PKT_BURST];
	struct mmsghdr msg[PKT_BURST];
	struct iovec iov[PIECES];
};

/* Of the n packets, those whose segments it has room for. */
static void batch_fill(struct batch *b, struct rte_mbuf *const *m, unsigned n)
{
	struct iovec *v = b->iov;
	unsigned i;

	for (i = 0; i < n && m[i]->nb_segs + 1 <= b->iov + PIECES - v; i++) {
		struct msghdr *to = &b->msg[i].msg_hdr;

		*to = (struct msghdr){.msg_iov = v};
		b->hdr[i] = dev_vnet_header(m[i]);
		b->field[i] = dev_vnet_length_in(m[i], &b->hdr[i], &b->was[i]);
		*v++ = (struct iovec){&b->hdr[i], sizeof(b->hdr[i])};
		for (const struct rte_mbuf *s = m[i]; s != NULL; s = s->next)
			*v++ = (struct iovec){rte_pktmbuf_mtod(s, void *), s->data_len};
		to->msg_iovlen = (size_t)(v - to->msg_iov);
	}
	b->n = i;
}

/* How many went; -errno of the first when it is none. */
static int batch_send(int fd, struct batch *b)
{
	int rc = b->n == 1 ? (sendmsg(fd, &b->msg[0].msg_hdr, MSG_DONTWAIT) < 0 ? -1 : 1)
			   : sendmmsg(fd, b->msg, b->n, MSG_DONTWAIT);

	return rc < 0 ? -errno : rc;
}

/* A packet that can never go is taken, and counted. So is one that was refused on its way, by a
 * full queue or a filter of the interface's: which of the two is not said, and a filter's would be
 * refused for ever. */
static unsigned send_some(struct dev_queue *q, struct rte_mbuf *const *m, unsigned n)
{
	struct batch b;
	int sent;

	batch_fill(&b, m, n);
	sent = batch_send(q->real_fd, &b);
	if (unlikely(sent < 0 && sent != -EAGAIN && sent != -EINTR)) {
		q->count.tx_errors++;
		sent = 1;
	}
	sent = RTE_MAX(sent, 0);
	for (unsigned i = (unsigned)sent; i < b.n; i++)
		if (b.field[i] != NULL)
			memcpy(b.field[i], &b.was[i], 2);
	rte_pktmbuf_free_bulk((struct rte_mbuf **)(uintptr_t)m, (unsigned)sent);
	return (unsigned)sent;
}

uint16_t dev_packet_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	unsigned done = 0, took;

	while (done < n) {
		took = send_some(&d->q[queue], m + done, n - done);
		if (took == 0)
			break;
		done += took;
	}
	return (uint16_t)done;
}
