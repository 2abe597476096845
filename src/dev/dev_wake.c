/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What wakes a sleeping core when a frame arrives (DESIGN §3.12): the queue's interrupt, where the
 * port really has one; the PMD's own kernel socket, which it doesn't hand out but which can be
 * found among the descriptors of the process; else nothing, and the core sleeps by a timer.
 *
 * The caller's descriptor must not change and must fall silent after a wake-up, so:
 *	virtio     an eventfd that the peer writes: read when disarmed
 *	vhost      the PMD's epoll around the peer's eventfd, which comes and goes with the peer and
 *	           which the PMD never reads: found in fdinfo, and read when disarmed
 *	tap        its character device reports an error for ever when its interface is deleted:
 *	           waited for through an epoll of ours, so that it can be taken out
 *	af_packet  reports an error once when its interface goes: taken from it when disarmed
 */
#include <dirent.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void find_sockets(struct dev *d)
{
	int fds[DEV_QUEUES_MAX * 2];
	unsigned n, ifindex = 0;

	if (strcmp(d->caps.driver, "net_af_packet") == 0) {
		ifindex = d->ifindex;
		if (ifindex == 0)
			return;
	}
	n = sockets_find(ifindex, fds, array_size(fds));
	/* An AF_XDP socket doesn't say its interface: with two ports we could not tell. */
	if (n < d->n_queues || (ifindex == 0 && n != d->n_queues))
		return;
	for (unsigned q = 0; q < d->n_queues; q++)
		d->q[q].wake_fd = d->q[q].real_fd = fds[q];
}

static void find_intr(struct dev *d, uint16_t queue)
{
	struct dev_queue *q = &d->q[queue];
	int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(d->port_id, queue);

	q->intr = fd >= 0 && rte_eth_dev_rx_intr_disable(d->port_id, queue) == 0;
	if (q->intr)
		q->wake_fd = q->real_fd = fd;
}

static void find_device(struct dev *d, uint16_t queue)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct dev_queue *q = &d->q[queue];
	int fd = rte_eth_dev_rx_intr_ctl_q_get_fd(d->port_id, queue), ep;

	if (fd < 0)
		return;
	ep = epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0) {
		if (ep >= 0)
			close(ep);
		return;
	}
	q->wake_fd = ep;
	q->real_fd = fd;
	q->proxy = true;
}

void dev_wake_find(struct dev *d)
{
	for (uint16_t q = 0; q < d->n_queues; q++) {
		d->q[q].wake_fd = d->q[q].real_fd = -1;
		if (d->row->try_intr)
			find_intr(d, q);
		else if (d->row->intr_is_fd)
			find_device(d, q);
	}
	if (d->row->kernel_socket)
		find_sockets(d);
	d->caps.rx_intr = d->q[0].intr;
	d->caps.kernel_socket = !d->q[0].intr && d->q[0].wake_fd >= 0;
}

/* The descriptors are the PMD's, which closes them, but for our epolls. */
void dev_wake_close(struct dev *d)
{
	for (unsigned q = 0; q < d->n_queues; q++) {
		if (d->q[q].proxy)
			close(d->q[q].wake_fd);
		d->q[q].wake_fd = d->q[q].real_fd = -1;
	}
}

enum dev_wake dev_wake_kind(const struct dev *d, uint16_t queue)
{
	const struct dev_queue *q = &d->q[queue];

	if (q->intr)
		return DEV_WAKE_INTR;
	return q->real_fd >= 0 ? DEV_WAKE_SOCKET : DEV_WAKE_TIMER;
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

static bool readable(int fd, short *events)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = poll(&p, 1, 0);

	*events = p.revents;
	return n == 1;
}

/* The descriptor inside an epoll of one, from its fdinfo ("tfd:  25 events: …"); -1: none. */
static int epoll_target(int ep)
{
	char path[64], line[128];
	int fd = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", ep);
	f = fopen(path, "re");
	if (f == NULL)
		return -1;
	while (fd < 0 && fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "tfd: %d", &fd);
	fclose(f);
	return fd;
}

static void drain(struct dev *d, struct dev_queue *q)
{
	uint64_t count;
	short events;

	if (!readable(q->wake_fd, &events))
		return;
	if (strcmp(d->caps.driver, "net_vhost") == 0) {
		int fd = epoll_target(q->wake_fd);

		if (fd >= 0 && readable(fd, &events))
			(void)!read(fd, &count, sizeof(count));
		return;
	}
	(void)!read(q->wake_fd, &count, sizeof(count));
}

/* An error that stays would wake the sleeper for ever. */
static cold_path void failed(struct dev *d, struct dev_queue *q)
{
	socklen_t len = sizeof(int);
	int error;

	if (q->proxy) {
		epoll_ctl(q->wake_fd, EPOLL_CTL_DEL, q->real_fd, NULL);
		q->real_fd = -1;
	} else {
		(void)!getsockopt(q->real_fd, SOL_SOCKET, SO_ERROR, &error, &len);
	}
	dev_check(d);
}

void dev_wake_disarm(struct dev *d, uint16_t queue)
{
	struct dev_queue *q = &d->q[queue];
	short events;

	if (q->intr) {
		rte_eth_dev_rx_intr_disable(d->port_id, queue);
		drain(d, q);
	} else if (q->real_fd >= 0 && readable(q->real_fd, &events) && (events & POLLERR)) {
		failed(d, q);
	}
}

/* The PMD takes a free real-time signal; when it finds none it reads its device in every burst
 * instead, for 0.3 us where there is nothing. */
void dev_signals_hold(struct sigaction was[NSIG])
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};

	for (int s = SIGRTMIN + 1; s < SIGRTMAX; s++) {
		sigaction(s, NULL, &was[s]);
		if (was[s].sa_handler == SIG_DFL)
			sigaction(s, &ignore, NULL);
	}
}

void dev_signals_release(const struct sigaction was[NSIG])
{
	for (int s = SIGRTMIN + 1; s < SIGRTMAX; s++)
		sigaction(s, &was[s], NULL);
}
