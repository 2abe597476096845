/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What wakes a sleeping core when a frame arrives (DESIGN §3.12): the queue's interrupt, where the
 * port really has one; the PMD's own kernel socket, which it doesn't hand out but which can be
 * found among the descriptors of the process; else nothing, and the core sleeps by a timer.
 */
#include <errno.h>
#include <net/if.h>
#include <dirent.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "dev/dev_priv.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif

static bool is_af_packet_ring(int fd, unsigned ifindex)
{
	struct sockaddr_ll sll = {0};
	socklen_t len = sizeof(sll);
	int version = 0;
	socklen_t vlen = sizeof(version);

	if (getsockname(fd, (struct sockaddr *)&sll, &len) < 0 || sll.sll_family != AF_PACKET)
		return false;
	/* The PMD's rings are TPACKET_V2; a capture of somebody else's usually is not. */
	return (unsigned)sll.sll_ifindex == ifindex &&
	       getsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, &vlen) == 0 &&
	       version == TPACKET_V2;
}

static bool is_af_xdp(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_XDP;
}

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The PMD's sockets in the order they were made, which is that of the queues; ifindex 0 = AF_XDP.
 */
static unsigned sockets_find(unsigned ifindex, int *fds, unsigned max)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((e = readdir(dir)) != NULL && n < max) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		if (ifindex != 0 ? is_af_packet_ring(fd, ifindex) : is_af_xdp(fd))
			fds[n++] = fd;
	}
	closedir(dir);
	qsort(fds, n, sizeof(fds[0]), by_number);
	return n;
}

static void find_sockets(struct dev *d, const char *args)
{
	int fds[DEV_QUEUES_MAX * 2];
	char ifname[IF_NAMESIZE];
	unsigned n, ifindex = 0;

	if (!dev_args_get(args, "iface", ifname, sizeof(ifname)))
		return;
	if (strcmp(d->caps.driver, "net_af_packet") == 0) {
		ifindex = if_nametoindex(ifname);
		if (ifindex == 0)
			return;
	}
	n = sockets_find(ifindex, fds, array_size(fds));
	/* An AF_XDP socket doesn't say its interface: with two ports we could not tell. */
	if (n < d->n_queues || (ifindex == 0 && n != d->n_queues))
		return;
	for (unsigned q = 0; q < d->n_queues; q++)
		d->q[q].wake_fd = fds[q];
}

void dev_wake_find(struct dev *d, const struct dev_row *row, const char *args)
{
	for (uint16_t q = 0; q < d->n_queues; q++) {
		d->q[q].wake_fd = -1;
		if (!row->try_intr)
			continue;
		d->q[q].wake_fd = rte_eth_dev_rx_intr_ctl_q_get_fd(d->port_id, q);
		d->q[q].intr =
			d->q[q].wake_fd >= 0 && rte_eth_dev_rx_intr_disable(d->port_id, q) == 0;
		if (!d->q[q].intr)
			d->q[q].wake_fd = -1;
	}
	if (row->kernel_socket)
		find_sockets(d, args);
	d->caps.rx_intr = d->q[0].intr;
	d->caps.kernel_socket = !d->q[0].intr && d->q[0].wake_fd >= 0;
}

/* The descriptors are the PMD's: it closes them. */
void dev_wake_close(struct dev *d)
{
	for (unsigned q = 0; q < d->n_queues; q++)
		d->q[q].wake_fd = -1;
}

enum dev_wake dev_wake_kind(const struct dev *d, uint16_t queue)
{
	const struct dev_queue *q = &d->q[queue];

	if (q->intr)
		return DEV_WAKE_INTR;
	return q->wake_fd >= 0 ? DEV_WAKE_SOCKET : DEV_WAKE_TIMER;
}

int dev_wake_fd(struct dev *d, uint16_t queue)
{
	return d->q[queue].wake_fd;
}

void dev_wake_arm(struct dev *d, uint16_t queue)
{
	if (d->q[queue].intr)
		rte_eth_dev_rx_intr_enable(d->port_id, queue);
}

void dev_wake_disarm(struct dev *d, uint16_t queue)
{
	if (d->q[queue].intr)
		rte_eth_dev_rx_intr_disable(d->port_id, queue);
}
