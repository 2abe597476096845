/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Echo server (RFC 862): what a peer sends goes back to it out of the buffers that it arrived in.
 *	echo --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 [PORT]
 */
#include "common.h"

#define MAX_FD 65536
static struct zs_buf held[MAX_FD]; /* by descriptor: received, and not yet taken for sending */

/* Level with what happened on fd: edges come when there is more to read or room to send again. */
static void echo(int fd)
{
	int n = 1;

	while (n == 1) {
		if (held[fd].handle == 0 && (n = zs_recv_zc(fd, &held[fd], 1, 0)) != 1)
			break;
		if ((n = zs_send_zc(fd, &held[fd], 1, 0, 0)) == 1)
			held[fd].handle = 0;
	}
	if (n == -EAGAIN)
		return;
	zs_buf_release(&held[fd], 1); /* at the end of the stream, or a broken connection */
	held[fd].handle = 0;
	zs_close(fd);
}

static void accept_all(int set, int listener)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};

	while ((e.data.fd = zs_accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		if (e.data.fd >= MAX_FD || zs_epoll_ctl(set, EPOLL_CTL_ADD, e.data.fd, &e) < 0)
			zs_close(e.data.fd);
}

int main(int argc, char **argv)
{
	struct epoll_event e[64];
	int set, listener[2], n;

	example_options(&argc, argv, "[PORT]", 0, 1);
	uint16_t port = argc > 1 ? example_port(argv[1]) : 7;

	example_start();
	set = zs_epoll_create1(0);
	example_listen(set, SOCK_STREAM, port, listener);
	while (!example_stopping()) {
		n = example_wait(set, e, 64, 500);
		for (int i = 0; i < n; i++)
			if (e[i].data.fd == listener[0] || e[i].data.fd == listener[1])
				accept_all(set, e[i].data.fd);
			else
				echo(e[i].data.fd);
	}
	return example_end();
}
