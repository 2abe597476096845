/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The far end of a link as a process of its own, with its own DPDK: it receives a frame and hands
 * over its bytes, or sends the bytes that it is given, as it is told through a socket.
 */
#ifndef ZS_TEST_DEV_PEER_H
#define ZS_TEST_DEV_PEER_H

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "dev_test.h"

#define PEER_BYTES 66000
#define PEER_MS	   5000

/* Shared by both; whose turn it is goes over the socket. */
struct peer_box {
	uint32_t len, segs;
	uint16_t flags, queue;
	uint8_t frame[PEER_BYTES];
};

static struct {
	pid_t pid;
	int fd;
	struct peer_box *box;
} peer;

/* The next frame that is one of ours (IPv4), from any queue. */
static inline struct rte_mbuf *next_frame(struct dev *d, unsigned n_queues, unsigned ms,
					  uint16_t *flags, uint16_t *queue)
{
	struct pkt p = {0};

	*flags = *queue = 0;
	for (unsigned i = 0; i < ms * 10; i++, usleep(100))
		for (uint16_t q = 0; q < n_queues; q++)
			while (dev_rx_burst(d, q, &p, 1, &drops) == 1) {
				const uint8_t *f = pkt_data(p.m);

				*flags = p.flags;
				*queue = q;
				if (p.m->data_len >= 42 && f[12] == 8 && f[13] == 0 &&
				    (f[23] == 17 || f[23] == 6))
					return p.m;
				pkt_free(p.m);
			}
	return NULL;
}

static inline void peer_receive(unsigned n_queues)
{
	struct peer_box *b = peer.box;
	struct rte_mbuf *m = next_frame(port, n_queues, PEER_MS, &b->flags, &b->queue);

	b->len = b->segs = 0;
	if (m == NULL)
		return;
	b->len = pkt_copy_out(m, 0, PEER_BYTES, b->frame);
	b->segs = m->nb_segs;
	pkt_free(m);
}

static inline void peer_send(void)
{
	struct peer_box *b = peer.box;
	struct pkt p = {.m = rte_pktmbuf_alloc(pools.rx), .flags = b->flags};

	memcpy(pkt_put(p.m, (uint16_t)b->len), b->frame, b->len);
	for (unsigned i = 0; i < PEER_MS && p.m != NULL; i++, usleep(1000))
		if (dev_tx_burst(port, b->queue, &p, 1, &pools, &drops, &copied) == 1)
			p.m = NULL;
	b->len = p.m == NULL;
	dev_tx_reclaim(port, b->queue);
}

static inline void peer_main(const char *spec, bool huge, unsigned n_queues)
{
	char order;

	if (read(peer.fd, &order, 1) != 1)
		_exit(1);
	order = 'R';
	if (start_queues(spec, NULL, huge, n_queues) < 0)
		order = 'F';
	while (write(peer.fd, &order, 1) == 1 && read(peer.fd, &order, 1) == 1 && order != 'Q') {
		if (order == 'r')
			peer_receive(n_queues);
		else if (order == 's')
			peer_send();
	}
	stop(NULL);
	_exit(0);
}

/* Makes the process, before start(): two DPDKs can't share one. */
static inline int peer_fork(const char *spec, bool huge, unsigned n_queues)
{
	int fd[2];

	peer.box = mmap(NULL, sizeof(*peer.box), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (peer.box == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0)
		return -1;
	fflush(NULL);
	peer.pid = fork();
	peer.fd = fd[peer.pid == 0];
	close(fd[peer.pid != 0]);
	if (peer.pid == 0)
		peer_main(spec, huge, n_queues);
	return peer.pid > 0 ? 0 : -1;
}

/* 0 when the peer's port is open. */
static inline int peer_start(void)
{
	char answer = 'G';

	return write(peer.fd, &answer, 1) == 1 && read(peer.fd, &answer, 1) == 1 && answer == 'R'
		       ? 0
		       : -1;
}

static inline void peer_order(char order)
{
	assert_int_equal(write(peer.fd, &order, 1), 1);
}

static inline void peer_done(void)
{
	char answer;

	assert_int_equal(read(peer.fd, &answer, 1), 1);
}

static inline uint32_t peer_took(void)
{
	peer_order('r');
	peer_done();
	return peer.box->len;
}

static inline void peer_gives(const uint8_t *f, uint32_t len, uint16_t flags, uint16_t queue)
{
	memcpy(peer.box->frame, f, len);
	peer.box->len = len;
	peer.box->flags = flags;
	peer.box->queue = queue;
	peer_order('s');
}

static inline void peer_stop(int sig)
{
	if (peer.pid <= 0)
		return;
	if (sig == 0)
		(void)!write(peer.fd, "Q", 1);
	else
		kill(peer.pid, sig);
	waitpid(peer.pid, NULL, 0);
	peer.pid = 0;
}

#endif
