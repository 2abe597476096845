/* SPDX-License-Identifier: BSD-3-Clause
 *
 * tap with the kernel's offloads. DPDK's driver opens the device for plain frames and cuts large
 * ones itself, a system call for each piece. The kernel would take and give up to 64 KB at once
 * without a checksum, behind a header of ten bytes (struct virtio_net_hdr, VIRTIO 1.1 §5.1.6), if
 * the device is made so: whoever opens it first decides for all.
 *
 *	dev_tap_make()   makes the device before DPDK starts; its driver joins as one more queue
 *	dev_tap_open()   takes the descriptors of the driver's queues; it moves no frame any more
 *	dev_tap_rx, _tx  one readv or writev for each packet, out of and into buffers of the pools
 *
 * All else (address, link, name, closing) stays the driver's. A device that was there before, or
 * one with a `remote`, is used as the driver does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "dev/dev_priv.h"

/* Buffers behind one another for the largest packet: IP's 64 KB and its Ethernet header. What the
 * next packet's size will be nobody knows, so the first are small ones. */
#define PIECES	     34
#define PIECES_SMALL 4
#define PIECES_LARGE 4
#define PIECES_OUT   256
/* A burst ends with this much: a few large packets fill the caches. */
#define BURST_BYTES (256u << 10)

/* The next packet's buffers of a queue. */
struct dev_tap {
	struct rte_mempool *pool, *large; /* large: may be NULL */
	struct rte_mempool *rest; /* one of the two: whose are behind the first PIECES_SMALL */
	unsigned n;		  /* of m, as many as hold any packet */
	unsigned missing;	  /* of those, from the begin */
	struct rte_mbuf *m[PIECES];
	struct virtio_net_hdr hdr;
	struct iovec iov[1 + PIECES];
};

int dev_tap_make(char *spec, size_t len)
{
	struct ifreq ifr = {.ifr_flags =
				    IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE | (short)IFF_VNET_HDR};
	const char *args = spec + strcspn(spec, ",");
	size_t used = strlen(spec);
	char word[IF_NAMESIZE];
	bool named;
	int fd;

	if (strncmp(spec, "net_tap", 7) != 0 || dev_args_get(args, "remote", word, sizeof(word)))
		return -1;
	named = dev_args_get(args, "iface", ifr.ifr_name, sizeof(ifr.ifr_name));
	if (named && if_nametoindex(ifr.ifr_name) != 0)
		return -1;
	if (!named)
		strcpy(ifr.ifr_name, "dtap%d");
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		goto fail;
	if (!named &&
	    (size_t)snprintf(spec + used, len - used, ",iface=%s", ifr.ifr_name) >= len - used) {
		spec[used] = '\0';
		goto fail;
	}
	ifr.ifr_flags = IFF_DETACH_QUEUE;
	if (ioctl(fd, TUNSETQUEUE, &ifr) == 0)
		return fd;
fail:
	if (fd >= 0)
		close(fd);
	return -1;
}

/* What the kernel may hand us, and takes from us. */
static bool offloads(int fd)
{
	int hdr = sizeof(struct virtio_net_hdr);

	return ioctl(fd, TUNSETVNETHDRSZ, &hdr) == 0 &&
	       ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) == 0;
}

static bool has_header(int fd)
{
	struct ifreq ifr = {0};

	return fd >= 0 && ioctl(fd, TUNGETIFF, &ifr) == 0 &&
	       (ifr.ifr_flags & (short)IFF_VNET_HDR) != 0;
}

struct dev_tap *dev_tap_create(struct rte_mempool *pool, struct rte_mempool *large)
{
	struct dev_tap *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->pool = pool;
	t->large = large;
	t->rest = large != NULL ? large : pool;
	t->n = t->missing = large != NULL ? PIECES_SMALL + PIECES_LARGE : PIECES;
	t->iov[0] = (struct iovec){&t->hdr, sizeof(t->hdr)};
	return t;
}

void dev_tap_destroy(struct dev_tap *t)
{
	if (t == NULL)
		return;
	for (unsigned i = t->missing; i < t->n; i++)
		rte_pktmbuf_free(t->m[i]);
	free(t);
}

int dev_tap_open(struct dev *d, const struct dev_cfg *cfg)
{
	if (!d->row->intr_is_fd || !has_header(d->q[0].real_fd))
		return 0;
	for (unsigned q = 0; q < d->n_queues; q++) {
		d->q[q].tap = dev_tap_create(cfg->rx_pools[q],
					     cfg->large_pools != NULL ? cfg->large_pools[q] : NULL);
		if (d->q[q].tap == NULL)
			return -ENOMEM;
	}
	d->io = DEV_IO_TAP;
	if (!offloads(d->q[0].real_fd))
		return -errno;
	d->caps.tx_l4_csum = d->caps.rx_l4_csum = d->caps.tso = d->caps.lro = true;
	d->caps.tso_max_bytes = UINT16_MAX;
	return 0;
}

void dev_tap_close(struct dev *d)
{
	for (unsigned q = 0; q < d->n_queues; q++) {
		dev_tap_destroy(d->q[q].tap);
		d->q[q].tap = NULL;
	}
}

/* ---- receive ---- */

static void place(struct dev_tap *t, unsigned i, struct rte_mbuf *m)
{
	t->m[i] = m;
	t->iov[1 + i] = (struct iovec){rte_pktmbuf_mtod(m, void *), rte_pktmbuf_tailroom(m)};
}

static bool places_fill(struct dev_tap *t, struct rte_mempool *pool, unsigned from, unsigned to)
{
	if (rte_pktmbuf_alloc_bulk(pool, t->m + from, to - from) != 0)
		return false;
	for (unsigned i = from; i < to; i++)
		place(t, i, t->m[i]);
	return true;
}

/* n new ones, of that pool, in the place of all that are behind the small ones. */
static bool rest_renew(struct dev_tap *t, struct rte_mempool *pool, unsigned n)
{
	unsigned held = RTE_MAX(t->missing, (unsigned)PIECES_SMALL);
	struct rte_mbuf *m[PIECES];

	if (rte_pktmbuf_alloc_bulk(pool, m, n) != 0)
		return false;
	rte_pktmbuf_free_bulk(t->m + held, t->n - held);
	for (unsigned i = 0; i < n; i++)
		place(t, PIECES_SMALL + i, m[i]);
	t->n = PIECES_SMALL + n;
	t->rest = pool;
	return true;
}

/* Large ones when there are any, else more small ones. */
static bool rest_fill(struct dev_tap *t)
{
	if (unlikely(t->large != NULL && t->rest != t->large) &&
	    rest_renew(t, t->large, PIECES_LARGE))
		return true;
	return t->missing <= PIECES_SMALL || places_fill(t, t->rest, PIECES_SMALL, t->missing) ||
	       (t->rest == t->large && rest_renew(t, t->pool, PIECES - PIECES_SMALL));
}

static bool fill(struct dev_tap *t)
{
	if (likely(t->missing == 0))
		return true;
	if (!rest_fill(t))
		return false;
	t->missing = RTE_MIN(t->missing, (unsigned)PIECES_SMALL);
	if (!places_fill(t, t->pool, 0, t->missing))
		return false;
	t->missing = 0;
	return true;
}

/* The packet of len bytes that lies in the first of the buffers. */
static struct rte_mbuf *take(struct dev_tap *t, uint32_t len)
{
	struct rte_mbuf *head = t->m[0], **link = &head;
	unsigned n = 0;

	head->pkt_len = len;
	for (; len > 0; n++) {
		struct rte_mbuf *m = t->m[n];

		m->data_len = (uint16_t)RTE_MIN(len, t->iov[1 + n].iov_len);
		len -= m->data_len;
		*link = m;
		link = &m->next;
	}
	head->nb_segs = (uint16_t)n;
	head->ol_flags |= dev_vnet_verdict(&t->hdr, head->pkt_len);
	t->missing = n;
	return head;
}

int dev_tap_read(struct dev_tap *t, int fd, struct rte_mbuf **m)
{
	ssize_t len;

	if (unlikely(!fill(t)))
		return -ENOBUFS;
	len = readv(fd, t->iov, 1 + (int)t->n);
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (len <= (ssize_t)sizeof(t->hdr))
		return 0;
	*m = take(t, (uint32_t)(len - (ssize_t)sizeof(t->hdr)));
	return 1;
}

uint16_t dev_tap_rx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	struct dev_queue *q = &d->q[queue];
	uint32_t bytes = 0;
	uint16_t got = 0;

	while (got < n && bytes < BURST_BYTES && q->real_fd >= 0) {
		int rc = dev_tap_read(q->tap, q->real_fd, &m[got]);

		q->count.rx_nombuf += rc == -ENOBUFS;
		if (rc <= 0)
			break;
		m[got]->port = d->port_id;
		bytes += m[got++]->pkt_len;
	}
	return got;
}

/* ---- send ---- */

int dev_tap_write(int fd, struct virtio_net_hdr *h, const struct rte_mbuf *m)
{
	struct iovec iov[1 + PIECES_OUT];
	int n = 0;

	iov[n++] = (struct iovec){h, sizeof(*h)};
	for (const struct rte_mbuf *s = m; s != NULL && n <= PIECES_OUT; s = s->next)
		iov[n++] = (struct iovec){rte_pktmbuf_mtod(s, void *), s->data_len};
	return likely(writev(fd, iov, n) >= 0) ? 0 : -errno;
}

/* True: it is gone, or can never go, which is counted. */
static bool send_one(struct dev_queue *q, struct rte_mbuf *m)
{
	struct virtio_net_hdr h = dev_vnet_header(m);
	uint16_t was;
	uint8_t *field = dev_vnet_length_in(m, &h, &was);
	int rc = dev_tap_write(q->real_fd, &h, m);

	if (likely(rc == 0))
		return true;
	if (rc != -EAGAIN && rc != -ENOBUFS && rc != -ENOMEM && rc != -EINTR) {
		q->count.tx_errors++;
		return true;
	}
	if (field != NULL)
		memcpy(field, &was, 2);
	return false;
}

uint16_t dev_tap_tx(struct dev *d, uint16_t queue, struct rte_mbuf **m, uint16_t n)
{
	struct dev_queue *q = &d->q[queue];
	uint16_t done;

	for (done = 0; done < n && q->real_fd >= 0; done++) {
		if (!send_one(q, m[done]))
			break;
		rte_pktmbuf_free(m[done]);
	}
	return done;
}
