/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The kernel's side of a port: a tap device with the port's MAC and MTU. What the stack does not
 * want of the port's frames is written to it; what the kernel sends there goes out of the port as
 * it is. So the kernel keeps the address, ssh, ping and its own connections, beside ours
 * (docs/design/012).
 *
 * No part of DPDK: its driver would want to be told before the port is open, whose MAC and MTU are
 * needed. The kernel computes its checksums and cuts its segments itself, as the port may be able
 * to do neither. What comes from a vhost peer or another tap may have no checksum; that is said in
 * the header in front of the frame (struct virtio_net_hdr, VIRTIO 1.1 §5.1.6).
 *
 * Not done: virtio-user with the kernel's vhost, which would save a system call for each frame of
 * what is meant to be few of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/dev_priv.h"

/* Made and closed by the control thread; q[i] is used by core i alone. */
struct dev_kernel {
	char name[IF_NAMESIZE];
	unsigned ifindex;
	int hide;	   /* see dev_hide.c, -1: not needed */
	bool without_sums; /* the port's frames, when it says that they are good */
	uint16_t n;
	struct {
		int fd;
		struct dev_tap *tap;
	} q[DEV_QUEUES_MAX];
};

static int kernel_fail(const struct dev_kernel_cfg *cfg, int rc, const char *what, char *err,
		       size_t err_len)
{
	snprintf(err, err_len, "--share %s: %s: %s", cfg->name, what, strerror(-rc));
	return rc;
}

static int queue_open(struct dev_kernel *k, unsigned i, const struct dev_kernel_cfg *cfg)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
						 (cfg->n_queues > 1 ? IFF_MULTI_QUEUE : 0) |
						 (i == 0 ? IFF_TUN_EXCL : 0))};
	int hdr = sizeof(struct virtio_net_hdr), fd;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", cfg->name);
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	k->q[i].fd = fd;
	k->n = (uint16_t)(i + 1);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &hdr) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, 0) < 0)
		return -errno;
	k->q[i].tap = dev_tap_create(cfg->pools[i], NULL);
	return k->q[i].tap != NULL ? 0 : -ENOMEM;
}

static int mac_set(const struct dev_kernel *k, const struct eth_addr *mac)
{
	struct ifreq ifr = {.ifr_hwaddr.sa_family = ARPHRD_ETHER};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", k->name);
	memcpy(ifr.ifr_hwaddr.sa_data, mac, sizeof(*mac));
	return ioctl(k->q[0].fd, SIOCSIFHWADDR, &ifr) < 0 ? -errno : 0;
}

static int make(struct dev_kernel *k, const struct dev_kernel_cfg *cfg, const char **what)
{
	int rc = 0;

	*what = "cannot make the interface";
	for (unsigned i = 0; i < cfg->n_queues && rc == 0; i++)
		rc = queue_open(k, i, cfg);
	if (rc < 0)
		return rc;
	snprintf(k->name, sizeof(k->name), "%s", cfg->name);
	k->ifindex = if_nametoindex(k->name);
	*what = "cannot give it the port's MAC";
	rc = mac_set(k, &cfg->mac);
	if (rc < 0)
		return rc;
	*what = "cannot give it the port's MTU";
	return dev_if_mtu_set(k->name, cfg->mtu);
}

int dev_kernel_open(const struct dev *port, const struct dev_kernel_cfg *cfg,
		    struct dev_kernel **out, char *err, size_t err_len)
{
	struct dev_kernel *k = calloc(1, sizeof(*k));
	const char *what = "no memory";
	int rc = k == NULL ? -ENOMEM : 0;

	if (rc == 0) {
		what = "the kernel takes af_packet's frames itself, and keeping it from that needs "
		       "CAP_BPF and Linux 6.6; use af_xdp or a NIC";
		k->hide = dev_hide_open(port);
		k->without_sums = port->row->none_is_good || port->io != DEV_IO_PMD;
		rc = k->hide < 0 && k->hide != -ENOENT ? k->hide : 0;
	}
	if (rc == 0)
		rc = make(k, cfg, &what);
	if (rc < 0) {
		dev_kernel_close(k);
		return kernel_fail(cfg, rc, what, err, err_len);
	}
	*out = k;
	return 0;
}

void dev_kernel_close(struct dev_kernel *k)
{
	if (k == NULL)
		return;
	for (unsigned i = 0; i < k->n; i++) {
		dev_tap_destroy(k->q[i].tap);
		close(k->q[i].fd);
	}
	if (k->hide >= 0)
		close(k->hide);
	free(k);
}

const char *dev_kernel_name(const struct dev_kernel *k)
{
	return k->name;
}

unsigned dev_kernel_index(const struct dev_kernel *k)
{
	return k->ifindex;
}

int dev_kernel_fd(const struct dev_kernel *k, uint16_t queue)
{
	return k->q[queue].fd;
}

unsigned dev_kernel_rx(struct dev_kernel *k, uint16_t queue, struct pkt *p, unsigned n)
{
	unsigned got = 0;

	for (; got < n; got++) {
		p[got] = (struct pkt){.m = NULL};
		if (dev_tap_read(k->q[queue].tap, k->q[queue].fd, &p[got].m) <= 0)
			break;
		p[got].m->ol_flags = 0; /* what it says of checksums is meant for receivers */
	}
	return got;
}

/* The sum is not there, and not needed: the kernel is told where it would be, and takes it for good
 * (CHECKSUM_PARTIAL); it would not look at "was verified". */
static void without_sum(const struct rte_mbuf *m, struct virtio_net_hdr *h)
{
	struct dev_layout l;

	if (!dev_layout_read(m, &l) || (l.proto != IPPROTO_TCP && l.proto != IPPROTO_UDP))
		return;
	h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	h->csum_start = (uint16_t)(l.l2 + l.l3);
	h->csum_offset = l.proto == IPPROTO_UDP ? 6 : 16;
}

bool dev_kernel_tx(struct dev_kernel *k, uint16_t queue, struct pkt *p)
{
	struct virtio_net_hdr h = {.flags = 0};
	int rc;

	if ((p->flags & PKT_F_L4_CSUM) || ((p->flags & PKT_F_CSUM_OK) && k->without_sums))
		without_sum(p->m, &h);
	rc = dev_tap_write(k->q[queue].fd, &h, p->m);
	pkt_free(p->m);
	return rc == 0;
}
