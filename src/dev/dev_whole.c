/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where DPDK's driver moves af_packet's frames (else: dev_packet.c): those that are larger than a
 * frame of its ring. IPv4 datagrams, since the PMD makes
 * the kernel put fragments together (PACKET_FANOUT_FLAG_DEFRAG), and what a peer on this machine
 * leaves to the segmentation of a port that never does it. They come cut, but the kernel also keeps
 * them whole in the socket's own queue when it is asked to (packet(7): PACKET_COPY_THRESH,
 * TP_STATUS_COPY), as long as that has room. The PMD doesn't say which ones it kept, so a frame
 * of the queue belongs to a cut one when it begins with the same bytes. Both are in order, and each
 * kept frame has a cut one.
 *
 * Costs two system calls a frame, so that frames of the interface's MTU get a ring that holds them
 * (dev_spec.c).
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/dev_priv.h"

/* Bytes of whole frames that wait, as the kernel counts them. */
#define QUEUE_BYTES (4 << 20)
/* What is compared: to the end of the transport header and some payload. */
#define PREFIX_BYTES 256
#define VLAN_BYTES   4

void dev_whole_open(struct dev *d)
{
	const int bytes = QUEUE_BYTES, thresh = 1;

	if (!d->row->cuts_frames || d->io != DEV_IO_PMD)
		return;
	for (unsigned q = 0; q < d->n_queues; q++) {
		int fd = d->q[q].real_fd;

		if (fd < 0)
			continue;
		if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) < 0)
			(void)!setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
		d->q[q].whole = setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &thresh,
					   sizeof(thresh)) == 0;
	}
}

/* The PMD put the tag back that the kernel took out. */
static bool same_frame(const uint8_t *cut, const uint8_t *f, uint32_t n, bool *tagged)
{
	const uint32_t macs = 2 * RTE_ETHER_ADDR_LEN;

	*tagged = false;
	if (memcmp(cut, f, n) == 0)
		return true;
	*tagged = cut[macs] == 0x81 && cut[macs + 1] == 0 && memcmp(cut, f, macs) == 0 &&
		  memcmp(cut + macs + VLAN_BYTES, f + macs, n - macs - VLAN_BYTES) == 0;
	return *tagged;
}

/* A buffer for the next of n bytes. */
static struct rte_mbuf *piece_alloc(struct rte_mempool *pool, struct rte_mempool *large, uint32_t n)
{
	struct rte_mbuf *m = NULL;

	if (large != NULL && n >= DEV_LARGE_ROOM / 2)
		m = rte_pktmbuf_alloc(large);
	return m != NULL ? m : rte_pktmbuf_alloc(pool);
}

struct rte_mbuf *dev_chain_alloc(struct rte_mempool *pool, struct rte_mempool *large, uint32_t n,
				 struct iovec *iov, unsigned *n_iov)
{
	struct rte_mbuf *head = NULL, *tail = NULL;

	for (*n_iov = 0; n > 0 && *n_iov < DEV_CHAIN_SEGS; ++*n_iov) {
		struct rte_mbuf *m = piece_alloc(pool, large, n);

		if (m == NULL)
			break;
		m->data_len = (uint16_t)RTE_MIN(n, (uint32_t)rte_pktmbuf_tailroom(m));
		iov[*n_iov] = (struct iovec){pkt_data(m), m->data_len};
		n -= m->data_len;
		if (head == NULL)
			head = m;
		else
			tail->next = m;
		tail = m;
		head->nb_segs = (uint16_t)(*n_iov + 1);
		head->pkt_len += m->data_len;
	}
	if (n == 0)
		return head;
	pkt_free(head);
	return NULL;
}

static struct rte_mbuf *receive(int fd, struct rte_mempool *pool, uint32_t len)
{
	struct iovec iov[DEV_CHAIN_SEGS];
	struct msghdr msg = {.msg_iov = iov};
	unsigned n;
	struct rte_mbuf *m = dev_chain_alloc(pool, NULL, len, iov, &n);
	ssize_t got;

	msg.msg_iovlen = n;
	if (m == NULL) {
		(void)!recv(fd, NULL, 0, MSG_DONTWAIT); /* the cut one goes too */
		return NULL;
	}
	got = recvmsg(fd, &msg, MSG_DONTWAIT);
	if (got == (ssize_t)len)
		return m;
	pkt_free(m);
	return NULL;
}

static void tag_copy(const uint8_t *cut, struct rte_mbuf *m)
{
	rte_pktmbuf_prepend(m, VLAN_BYTES);
	memcpy(pkt_data(m), cut, 2 * RTE_ETHER_ADDR_LEN + VLAN_BYTES);
}

struct rte_mbuf *dev_whole_take(struct dev *d, struct dev_queue *q, struct rte_mbuf *cut)
{
	uint8_t prefix[PREFIX_BYTES];
	struct rte_mbuf *m;
	ssize_t len;
	bool tagged;

	if (!q->whole || q->real_fd < 0)
		return NULL;
	len = recv(q->real_fd, prefix, sizeof(prefix), MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
	if (len <= PREFIX_BYTES)
		return NULL;
	if (!same_frame(pkt_data(cut), prefix, PREFIX_BYTES, &tagged)) {
		/* The queue was full when this one came. But what never matches must go, or it
		 * would wake us for ever. */
		if (++q->strangers >= d->tx_ring)
			(void)!recv(q->real_fd, NULL, 0, MSG_DONTWAIT);
		return NULL;
	}
	q->strangers = 0;
	m = receive(q->real_fd, cut->pool, (uint32_t)len);
	if (m == NULL)
		return NULL;
	m->port = cut->port;
	if (tagged)
		tag_copy(pkt_data(cut), m);
	return m;
}
