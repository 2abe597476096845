/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What only a host asks for: see host.h. The numbers themselves are fd.c's.
 */
#include <string.h>

#include "client/client_priv.h"
#include "client/host.h"

#define ADDRS_MAX      256u
#define JUST_GONE_NS   500000000 /* for another service to come */
#define ADDRS_FRESH_NS 1000000000

int host_socket_at(int fd, int domain, int type, int protocol)
{
	return fd < 0 ? -EBADF : socket_new(domain, type, protocol, fd);
}

void host_frugal(void)
{
	client_lock();
	if (client.running && !client.frugal)
		tables_open_all();
	if (client.running && client.transport.attached && !client.frugal)
		client.one_fd = sleep_on_one();
	client.frugal = client.running;
	client.spin_ns = 0;
	client_unlock();
	client_lock_frugal();
}

bool host_settle(void)
{
	bool r;

	client_lock();
	r = client.running;
	client_unlock();
	return r;
}

int host_epoll_at(int epfd)
{
	return epfd < 0 ? -EBADF : epset_new(epfd);
}

int host_dup(int from, int to)
{
	int r;

	client_lock_as_is();
	r = child_unborn() ? 0 : client_ready();
	if (r == 0)
		r = fd_dup(from, to);
	client_unlock();
	return r;
}

int host_fd_count(int fd)
{
	int r;

	client_lock_as_is();
	r = child_unborn() ? 0 : client_ready();
	if (r == 0)
		r = fd_count(fd);
	client_unlock();
	return r;
}

/* ---- addresses ---- */

static struct {
	struct chan_addr addr[ADDRS_MAX];
	unsigned n, routes;
	int64_t at_ns; /* 0: never asked */
} known;

/* Every core has the same. */
static int addresses_ask(void)
{
	struct core *c = &client.core[0];
	struct chan_sqe cmd = {.op = CHAN_OP_ADDRS, .len = sizeof(known.addr)};
	struct chan_cqe e;
	int n = scratch_take(c);

	if (n < 0)
		return n;
	n = cmd_call(c, NULL, &cmd, &e);
	if (n > (int)ADDRS_MAX)
		n = ADDRS_MAX;
	if (n >= 0) {
		memcpy(known.addr, c->end.scratch, (size_t)n * sizeof(known.addr[0]));
		known.n = (unsigned)n;
		known.routes = e.aux & (CHAN_ROUTE_V4 | CHAN_ROUTE_V6);
		known.at_ns = now_ns();
	}
	c->scratch_taken = false;
	return n;
}

static int addresses_fresh(void)
{
	if (known.at_ns != 0 && now_ns() - known.at_ns < ADDRS_FRESH_NS)
		return 0;
	return addresses_ask();
}

bool address_is_here(const uint8_t addr[16])
{
	static const uint8_t loop4[13] = {[10] = 0xff, 0xff, 127}, loop6[16] = {[15] = 1};

	if (memcmp(addr, loop4, sizeof(loop4)) == 0 || memcmp(addr, loop6, sizeof(loop6)) == 0)
		return true;
	if (client.lost || client.remaking || addresses_fresh() < 0)
		return false;
	for (unsigned i = 0; i < known.n; i++)
		if (memcmp(known.addr[i].addr, addr, 16) == 0)
			return true;
	return false;
}

/* Of IPv4, all ones behind a prefix of at most 30 bits. */
static bool is_all_of(const uint8_t addr[16], const struct chan_addr *a)
{
	unsigned bits = a->prefix_len;

	if (bits < 96 || bits > 126 || memcmp(a->addr, addr, 16) == 0)
		return false;
	for (unsigned i = 96; i < 128; i++) {
		uint8_t mask = (uint8_t)(0x80 >> i % 8);
		uint8_t want = i < bits ? a->addr[i / 8] & mask : mask;

		if ((addr[i / 8] & mask) != want)
			return false;
	}
	return memcmp(a->addr, addr, 12) == 0;
}

bool address_is_broadcast(const uint8_t addr[16])
{
	if (likely((addr[15] & 3) != 3 || addr[10] != 0xff || addr[0] != 0))
		return false;
	if (client.lost || client.remaking || addresses_fresh() < 0)
		return false;
	for (unsigned i = 0; i < known.n; i++)
		if (is_all_of(addr, &known.addr[i]))
			return true;
	return addr[12] == 255 && addr[13] == 255 && addr[14] == 255 && addr[15] == 255;
}

static int addresses(struct chan_addr *a, unsigned max, unsigned *default_routes, bool now)
{
	int r;

	client_lock();
	r = client_ready();
	if (r == 0)
		r = now ? addresses_ask() : addresses_fresh();
	if ((r == -ERESTART || r == -ENETDOWN) && known.at_ns != 0)
		r = 0;
	if (r >= 0) {
		r = (int)known.n;
		for (unsigned i = 0; i < known.n && i < max; i++)
			a[i] = known.addr[i];
		if (default_routes != NULL)
			*default_routes = known.routes;
	}
	client_unlock();
	return r == -ERESTART ? -ENETDOWN : r;
}

int host_addresses(struct chan_addr *a, unsigned max, unsigned *default_routes)
{
	return addresses(a, max, default_routes, false);
}

int host_addresses_now(struct chan_addr *a, unsigned max)
{
	return addresses(a, max, NULL, true);
}

uint32_t host_interface(unsigned ifindex)
{
	uint32_t index = 0;

	client_lock_as_is();
	if (ifindex < CHAN_IFS_MAX && client.running && !child_unborn())
		index = client.core[0].end.hdr.kernel_if[ifindex];
	client_unlock();
	return index != 0 ? index : CHAN_IF_OWN + ifindex % CHAN_IFS_MAX;
}

int host_listens(const uint8_t addr[16], uint16_t port)
{
	struct chan_sqe cmd = {.op = CHAN_OP_LISTENS, .port = port};
	struct chan_cqe e;
	int r;

	memcpy(cmd.addr, addr, sizeof(cmd.addr));
	client_lock();
	r = client_ready();
	if (r == 0)
		r = cmd_call(&client.core[0], NULL, &cmd, &e);
	client_unlock();
	return r == 0 ? 1 : r == -ECONNREFUSED ? 0 : r == -ERESTART ? -ENETDOWN : r;
}

/* ---- where sockets went ---- */

static uint64_t told[CHAN_TOLD_PLACES]; /* of this process, from service to service */

void told_show(struct core *c)
{
	for (unsigned i = 0; i < TOLD_MAX; i++)
		atomic_store_explicit(&c->end.sh->told.n[i], told[i], memory_order_relaxed);
}

void host_count(enum chan_told where)
{
	client_lock_as_is();
	told[where]++;
	if (client.running && !child_unborn())
		told_show(&client.core[0]);
	client_unlock();
}

void host_count_none(void)
{
	memset(told, 0, sizeof(told));
}

bool host_is_shared(void)
{
	bool r;

	client_lock();
	r = client.running && transport_is_shared();
	client_unlock();
	return r;
}

static __thread bool impatient __attribute__((tls_model("initial-exec")));

void host_wait_for_service(bool yes)
{
	impatient = !yes;
}

bool host_is_impatient(void)
{
	return impatient;
}

bool host_alive(void)
{
	bool r;

	client_lock();
	if (client.running && client.lost)
		client_drain();
	else if (client.running && service_is_dead())
		client_await(now_ns() + JUST_GONE_NS); /* once: from then on it is lost */
	r = client.running && !client.lost;
	client_unlock();
	return r;
}
