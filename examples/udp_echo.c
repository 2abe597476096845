/* SPDX-License-Identifier: BSD-3-Clause
 *
 * UDP echo server (RFC 862): a datagram goes back to its sender out of the buffers it arrived in.
 *	udp_echo --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 [PORT]
 */
#include "common.h"

#define PIECES 48 /* buffers of one datagram, at most: 64 KB in fragments */

static uint64_t answered, dropped;

static void echo_all(int fd)
{
	struct zs_buf b[PIECES];
	union example_addr from;
	int n;

	for (;;) {
		socklen_t len = sizeof(from);

		n = zs_recvfrom_zc(fd, b, PIECES, MSG_DONTWAIT, &from.sa, &len);
		if (n == -EMSGSIZE) { /* in too many pieces: take it out by reading nothing of it */
			zs_recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
			dropped++;
			continue;
		}
		if (n == -EAGAIN)
			return;
		if (n < 0) /* an error of an earlier answer (ICMP): told once, then gone */
			continue;
		if (zs_sendto_zc(fd, b, n, 0, MSG_DONTWAIT, &from.sa, len) == n) {
			answered++;
		} else {
			zs_buf_release(b, n);
			dropped++;
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event e[2];
	int set, socket[2], n;

	example_options(&argc, argv, "[PORT]", 0, 1);
	uint16_t port = argc > 1 ? example_port(argv[1]) : 7;

	example_start();
	set = example_must(zs_epoll_create1(0), "epoll");
	example_listen(set, SOCK_DGRAM, port, socket);
	while (!example_stopping()) {
		n = example_wait(set, e, 2, 500);
		for (int i = 0; i < n; i++)
			echo_all(e[i].data.fd);
	}
	fprintf(stderr, "udp_echo: %lu datagrams answered, %lu dropped\n", answered, dropped);
	return example_end();
}
