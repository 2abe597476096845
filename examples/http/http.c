/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An HTTP/1.1 server for a directory of files; http.h says where to read on.
 *	http --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 DIRECTORY [PORT]
 */
#include "http.h"

static void accept_all(int set, int listener)
{
	int fd;

	while ((fd = zs_accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct conn *c = conn_create(set, fd);

		if (c != NULL)
			conn_run(c);
	}
}

static void serve(int set, const int *listener)
{
	struct epoll_event e[128];
	uint64_t tick_ns = 0;
	bool again = false;

	while (!example_stopping()) {
		int n = example_wait(set, e, 128, again ? 1 : 200);
		uint64_t now_ns = example_now_ns();

		for (int i = 0; i < n; i++)
			if (e[i].data.ptr == &listener[0] || e[i].data.ptr == &listener[1])
				accept_all(set, *(const int *)e[i].data.ptr);
			else
				conn_run(e[i].data.ptr);
		again = conns_retry();
		if (now_ns - tick_ns > 100000000) {
			tick_ns = now_ns;
			response_tick();
			conns_expire();
		}
		if (example_asked())
			example_counters(stderr);
	}
}

/* The events of listeners carry a pointer too: to where their descriptor stands. */
static void mark(int set, int *listener)
{
	for (int i = 0; i < 2; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener[i]};

		example_must(zs_epoll_ctl(set, EPOLL_CTL_MOD, listener[i], &e), "epoll");
	}
}

int main(int argc, char **argv)
{
	int set, listener[2], e;

	example_options(&argc, argv, "DIRECTORY [PORT]", 1, 2);
	uint16_t port = argc > 2 ? example_port(argv[2]) : 80;

	e = files_open_root(argv[1]);
	if (e < 0)
		errx(1, "can't open the directory '%s': %s", argv[1], strerror(-e));
	example_start();
	response_tick();
	set = example_must(zs_epoll_create1(0), "epoll");
	example_listen(set, SOCK_STREAM, port, listener);
	mark(set, listener);
	serve(set, listener);
	return example_end();
}
