/* SPDX-License-Identifier: BSD-3-Clause
 *
 * TCP proxy: every connection to PORT is continued to HOST TO_PORT. The buffers that payload
 * arrives in on one side are sent out of the other: no processor reads or copies it, which the
 * counters prove at the end and on SIGUSR1.
 *
 *	proxy --vdev net_af_packet0,iface=veth0 --addr 10.0.0.2/24 PORT HOST TO_PORT
 *
 * What one side can't take yet is held, and while anything is held nothing more is received: so
 * each sender feels the other side's window. The end of a stream is passed on as such (half-close),
 * a reset as a reset.
 */
#include "common.h"

#define HELD 16

/* One way through: what `from` receives goes out of `to`. */
struct way {
	int from, to;
	bool ended; /* the end was passed on */
	int first, end;
	struct zs_buf held[HELD]; /* [first, end) */
};

struct session {
	struct way way[2];
	bool over;
	struct session *next_over;
};

static struct session *over_list;
static unsigned long sessions, open_sessions;

/* Moves what can be moved now. 0, or what broke. */
static int way_run(struct way *w)
{
	int n;

	while (!w->ended) {
		if (w->first == w->end) {
			n = zs_recv_zc(w->from, w->held, HELD, MSG_DONTWAIT);
			if (n < 0)
				return n == -EAGAIN ? 0 : n;
			w->first = 0;
			w->end = n;
			if (n == 0) {
				w->ended = true;
				return zs_shutdown(w->to, SHUT_WR);
			}
		}
		n = zs_send_zc(w->to, w->held + w->first, w->end - w->first, 0, MSG_DONTWAIT);
		if (n < 0)
			return n == -EAGAIN ? 0 : n;
		w->first += n;
	}
	return 0;
}

static void session_end(struct session *s, bool reset)
{
	static const struct linger hard = {.l_onoff = 1, .l_linger = 0};

	for (int i = 0; i < 2; i++) {
		struct way *w = &s->way[i];

		zs_buf_release(w->held + w->first, w->end - w->first);
		if (reset)
			zs_setsockopt(w->from, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		zs_close(w->from);
	}
	open_sessions--;
	s->over = true; /* the other side's event may be in the same batch: freed after it */
	s->next_over = over_list;
	over_list = s;
}

static void session_run(struct session *s)
{
	int e = 0;

	if (s->over)
		return;
	for (int i = 0; i < 2 && e == 0; i++)
		e = way_run(&s->way[i]);
	if (e == -ENOTCONN ||
	    e == -EINPROGRESS) /* still connecting: an event tells when it is done */
		return;
	if (e < 0 || (s->way[0].ended && s->way[1].ended))
		session_end(s, e < 0);
}

static void free_over(void)
{
	while (over_list != NULL) {
		struct session *s = over_list;

		over_list = s->next_over;
		free(s);
	}
}

static bool session_create(int set, int client, const union example_addr *to, socklen_t len)
{
	struct session *s = calloc(1, sizeof(*s));
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s};
	int server = zs_socket(to->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0), n = -ENOMEM;

	if (s != NULL && server >= 0) {
		n = zs_connect(server, &to->sa, len);
		if (n == 0 || n == -EINPROGRESS)
			n = zs_epoll_ctl(set, EPOLL_CTL_ADD, client, &e);
		if (n == 0)
			n = zs_epoll_ctl(set, EPOLL_CTL_ADD, server, &e);
	}
	if (n < 0) {
		free(s);
		if (server >= 0)
			zs_close(server);
		zs_close(client);
		return false;
	}
	s->way[0].from = s->way[1].to = client;
	s->way[1].from = s->way[0].to = server;
	sessions++;
	open_sessions++;
	return true;
}

static void report(void)
{
	fprintf(stderr, "proxy: %lu sessions, %lu of them open\n", sessions, open_sessions);
	example_counters(stderr);
}

int main(int argc, char **argv)
{
	struct epoll_event e[64];
	int set, listener[2], n, fd;
	union example_addr to;

	example_options(&argc, argv, "PORT HOST TO_PORT", 3, 3);
	uint16_t port = example_port(argv[1]);
	socklen_t len = example_addr(argv[2], example_port(argv[3]), &to);

	example_start();
	set = example_must(zs_epoll_create1(0), "epoll");
	example_listen(set, SOCK_STREAM, port, listener);
	for (int i = 0; i < 2; i++) /* its events have no session */
		example_must(zs_epoll_ctl(set, EPOLL_CTL_MOD, listener[i],
					  &(struct epoll_event){.events = EPOLLIN}),
			     "epoll");
	while (!example_stopping()) {
		n = example_wait(set, e, 64, 500);
		for (int i = 0; i < n; i++)
			if (e[i].data.ptr != NULL)
				session_run(e[i].data.ptr);
		for (int i = 0; i < 2; i++)
			while ((fd = zs_accept4(listener[i], NULL, NULL, SOCK_NONBLOCK)) >= 0)
				session_create(set, fd, &to, len);
		free_over();
		if (example_asked())
			report();
	}
	report();
	zs_stop();
	return 0;
}
