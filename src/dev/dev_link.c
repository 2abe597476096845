/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Is a port still there? af_packet and af_xdp report a link that is always up, also when their
 * interface was deleted, so the kernel is asked. The others tell when their peer is gone. A port
 * that vanished receives nothing and takes nothing: that is for the protocols to time out. Here it
 * is counted and said once, and its wake source is kept from waking for nothing (dev_wake.c).
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/virtio_net.h>
#include <rte_eth_vhost.h>
#include <rte_vhost.h>

#include "dev/dev_priv.h"

static int if_ask(const char *ifname, unsigned long what, struct ifreq *ifr)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return -1;
	*ifr = (struct ifreq){0};
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", ifname);
	rc = ioctl(fd, what, ifr);
	close(fd);
	return rc;
}

unsigned dev_if_mtu(const char *ifname)
{
	struct ifreq ifr;

	return if_ask(ifname, SIOCGIFMTU, &ifr) == 0 ? (unsigned)ifr.ifr_mtu : RTE_ETHER_MTU;
}

/* af_packet's PMD would, but DPDK lets none above 1500 through to it. */
int dev_if_mtu_set(const char *ifname, uint16_t mtu)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	struct ifreq ifr = {.ifr_mtu = mtu};

	if (fd < 0)
		return -errno;
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", ifname);
	rc = ioctl(fd, SIOCSIFMTU, &ifr) < 0 ? -errno : 0;
	close(fd);
	return rc;
}

/* The same interface as at start, up, and with a carrier. */
static bool if_running(const struct dev *d)
{
	struct ifreq ifr;

	return if_nametoindex(d->ifname) == d->ifindex &&
	       if_ask(d->ifname, SIOCGIFFLAGS, &ifr) == 0 &&
	       (ifr.ifr_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}

bool dev_link_up(struct dev *d)
{
	struct rte_eth_link link = {0};

	if (d->row->kernel_if && d->ifindex != 0)
		return if_running(d);
	return rte_eth_link_get_nowait(d->port_id, &link) == 0 && link.link_status;
}

/* A peer that takes segmented packets whole, in as many of its buffers as they need. */
static bool vhost_tso(const struct dev *d)
{
	const uint64_t want = 1ull << VIRTIO_NET_F_GUEST_TSO4 | 1ull << VIRTIO_NET_F_GUEST_TSO6 |
			      1ull << VIRTIO_NET_F_MRG_RXBUF;
	int vid = rte_eth_vhost_get_vid_from_port_id(d->port_id);
	uint64_t has = 0;

	return vid >= 0 && rte_vhost_get_negotiated_features(vid, &has) == 0 &&
	       (has & want) == want;
}

bool dev_tso(struct dev *d)
{
	if (d->row->tso_by_peer)
		d->caps.tso = d->caps.tx_l4_csum && vhost_tso(d);
	return d->caps.tso;
}

bool dev_check(struct dev *d)
{
	bool up;

	if (d->guarded)
		dev_guard_check(d);
	/* virtio_user's PMD starts a task for each time that it is asked for a peer that left. */
	up = (!d->gone || !d->no_return) && dev_link_up(d);
	if (up == d->was_up)
		return up;
	d->was_up = up;
	dev_tso(d);
	if (up && !d->gone)
		return up; /* its first peer */
	d->gone = !up;
	if (!up)
		d->q[0].count.vanished++;
	if (d->row->kernel_if && d->ifindex != 0)
		d->deleted = if_nametoindex(d->ifname) != d->ifindex;
	fprintf(stderr, "port %s: %s\n", d->name,
		up		  ? "its link is up"
		: d->deleted	  ? "its interface was deleted"
		: d->ifindex != 0 ? "its interface is down"
				  : "its peer is gone");
	return up;
}

bool dev_deleted(const struct dev *d)
{
	return d->deleted;
}
