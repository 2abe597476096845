/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A port that one of our programs has is taken in the kernel, too: by a socket that is bound to it
 * at each of the shared addresses and does nothing else. It has no SO_REUSEADDR and never listens,
 * so a bind of the kernel's programs fails with EADDRINUSE, and what reaches the kernel by chance
 * is refused.
 *
 *	program: GRANT ──► reserve() ──► grants on all cores ──► GRANTED ──► program: BIND
 *	core: last socket gone, or BIND failed ──► ports_bell ──► collect() ──► released
 *
 * A port stays reserved while a socket has it, and while a program has a grant that it has not used
 * yet: between GRANTED and BIND nobody may take it away. Who never uses a grant keeps it until it
 * leaves, and may have no more than SOCK_GRANTS_MAX.
 *
 * Not done: IPV6_V6ONLY, which only the program knows: a wildcard of IPv6 takes the IPv4 addresses.
 */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chan/bell.h"
#include "svc/shared.h"

#define CHOICES 256 /* ports that are tried before saying that there is none */

struct reserved_sock {
	int fd;
	struct ip_addr addr;
};

/* Owned by the control thread, while its port is taken. */
struct reserved {
	struct list link;
	struct sock_port p;
	bool any4, any6; /* at every address of the family, those to come too */
	unsigned n, n_apps;
	struct reserved_sock *sock; /* n of them */
	struct app **app;	    /* n_apps that were granted it, attached */
};

static struct reserved **place(struct shared *sh, struct sock_port p)
{
	return &sh->reserved[p.udp][p.port];
}

/* ---- in the kernel ---- */

/* Datagrams of the kernel's own programs would fill its buffer, never to be read. */
static int filter_all(int fd)
{
	struct sock_filter none = BPF_STMT(BPF_RET | BPF_K, 0);
	struct sock_fprog prog = {1, &none};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) < 0 ? -errno : 0;
}

static socklen_t kernel_name(const struct shared_addr *a, uint16_t port,
			     struct sockaddr_storage *out)
{
	struct sockaddr_in *in = (void *)out;
	struct sockaddr_in6 *in6 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (ip_addr_is_v4(&a->addr)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, a->addr.b + 12, 4);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, a->addr.b, 16);
	if (ip_addr_is_link_local6(&a->addr))
		in6->sin6_scope_id = dev_kernel_index(a->at->kernel);
	return sizeof(*in6);
}

/* What is left of a connection of the kernel's (TIME-WAIT) is in nobody's way, which SO_REUSEADDR
 * says; afterwards it is taken back, for it would let others in, too. */
static int bind_tcp_again(int fd, const struct sockaddr *to, socklen_t len)
{
	int on = 1, off = 0, rc = 0;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 || bind(fd, to, len) < 0)
		rc = -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &off, sizeof(off)) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

/* A descriptor, or -errno. */
static int kernel_bind(const struct shared_addr *a, struct sock_port p)
{
	struct sockaddr_storage to;
	socklen_t len = kernel_name(a, p.port, &to);
	int type = (p.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, one = 1;
	int fd = socket(to.ss_family, type, 0), rc = fd < 0 ? -errno : 0;

	if (rc == 0 && to.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0)
		rc = -errno;
	/* Also where the administrator took the address away from the interface. */
	if (rc == 0 && setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof(one)) < 0)
		rc = -errno;
	if (rc == 0 && p.udp)
		rc = filter_all(fd);
	if (rc == 0 && bind(fd, (struct sockaddr *)&to, len) < 0)
		rc = errno == EADDRINUSE && !p.udp ? bind_tcp_again(fd, (struct sockaddr *)&to, len)
						   : -errno;
	if (rc < 0 && fd >= 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

/* ---- reserving ---- */

static bool asked_for(const struct ip_addr *asked, const struct ip_addr *a)
{
	if (!ip_addr_is_any(asked))
		return ip_addr_eq(asked, a);
	return !ip_addr_is_v4(asked) || ip_addr_is_v4(a);
}

static bool has_sock(const struct reserved *r, const struct ip_addr *a)
{
	for (unsigned i = 0; i < r->n; i++)
		if (ip_addr_eq(&r->sock[i].addr, a))
			return true;
	return false;
}

static int sock_add(struct reserved *r, const struct shared_addr *a)
{
	struct reserved_sock *grown = realloc(r->sock, (r->n + 1) * sizeof(*grown));
	int fd;

	if (grown == NULL)
		return -ENOMEM;
	r->sock = grown;
	fd = kernel_bind(a, r->p);
	if (fd < 0)
		return fd;
	r->sock[r->n++] = (struct reserved_sock){fd, a->addr};
	return 0;
}

static int app_add(struct reserved *r, struct app *a)
{
	struct app **grown;

	for (unsigned i = 0; i < r->n_apps; i++)
		if (r->app[i] == a)
			return 0;
	grown = realloc(r->app, (r->n_apps + 1) * sizeof(struct app *));
	if (grown == NULL)
		return -ENOMEM;
	r->app = grown;
	r->app[r->n_apps++] = a;
	return 0;
}

static void app_drop(struct reserved *r, const struct app *a)
{
	for (unsigned i = 0; i < r->n_apps; i++) {
		if (r->app[i] == a) {
			r->app[i] = r->app[--r->n_apps];
			return;
		}
	}
}

static void release(struct shared *sh, struct reserved *r)
{
	while (r->n > 0)
		close(r->sock[--r->n].fd);
	*place(sh, r->p) = NULL;
	sh->n_reserved--;
	list_del(&r->link);
	free(r->sock);
	free(r->app);
	free(r);
}

static struct reserved *reserved_get(struct shared *sh, struct sock_port p)
{
	struct reserved **at = place(sh, p);

	if (*at != NULL)
		return *at;
	*at = calloc(1, sizeof(**at));
	if (*at == NULL)
		return NULL;
	(*at)->p = p;
	list_init(&(*at)->link);
	list_add_tail(&sh->ports, &(*at)->link);
	sh->n_reserved++;
	return *at;
}

static int reserve(struct shared *sh, struct app *a, const struct ip_addr *addr, struct sock_port p)
{
	struct reserved *r = reserved_get(sh, p);
	unsigned before = r != NULL ? r->n : 0;
	int rc = r != NULL ? 0 : -ENOMEM;

	for (unsigned i = 0; rc == 0 && i < sh->n_addrs; i++)
		if (asked_for(addr, &sh->addr[i].addr) && !has_sock(r, &sh->addr[i].addr))
			rc = sock_add(r, &sh->addr[i]);
	if (rc == 0)
		rc = app_add(r, a);
	if (rc == 0 && ip_addr_is_any(addr)) {
		r->any4 = true;
		r->any6 |= !ip_addr_is_v4(addr);
	}
	if (rc == 0 || r == NULL)
		return rc;
	while (r->n > before)
		close(r->sock[--r->n].fd);
	if (r->n_apps == 0 && before == 0)
		release(sh, r);
	return rc;
}

/* At random (RFC 6056 §3.3.1), one that nobody has. */
static int choose(struct service *s, struct app *a, const struct ip_addr *addr, struct sock_port *p)
{
	unsigned n = (unsigned)(s->node.port_max - s->node.port_min) + 1, start = 0;
	int rc = -EADDRINUSE;

	if (getrandom(&start, sizeof(start), 0) != sizeof(start))
		return -EIO;
	for (unsigned i = 0; i < CHOICES && rc == -EADDRINUSE; i++) {
		p->port = (uint16_t)(s->node.port_min + (start % n + i) % n);
		if (*place(s->shared, *p) == NULL)
			rc = reserve(s->shared, a, addr, *p);
	}
	return rc;
}

/* ---- asking the cores ---- */

struct port_call {
	struct sock_port p;
	const struct app *app;
	bool yes;
};

static void ask_used(struct node_core *c, void *arg)
{
	struct port_call *call = arg;

	call->yes |= stack_port_used(c->stack, call->p);
}

static void ask_grant_used(struct node_core *c, void *arg)
{
	struct port_call *call = arg;

	call->yes |= socks_grant_used(call->app->chan[c - c->node->core].app, call->p);
}

static void do_ungrant(struct node_core *c, void *arg)
{
	struct port_call *call = arg;

	socks_ungrant(call->app->chan[c - c->node->core].app, call->p);
}

static bool on_any(struct service *s, void (*fn)(struct node_core *c, void *arg),
		   struct sock_port p, const struct app *a)
{
	struct port_call call = {.p = p, .app = a};

	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], fn, &call);
	return call.yes;
}

/* One core says that it has no socket of the port. */
static void look(struct service *s, struct reserved *r)
{
	if (on_any(s, ask_used, r->p, NULL))
		return;
	for (unsigned i = r->n_apps; i-- > 0;) {
		struct app *a = r->app[i];

		/* It goes on with what it was granted last. */
		if (!on_any(s, ask_grant_used, r->p, a))
			continue;
		(void)on_any(s, do_ungrant, r->p, a);
		app_drop(r, a);
	}
	/* Who bound it meanwhile, without asking, has it. */
	if (r->n_apps == 0 && !on_any(s, ask_used, r->p, NULL))
		release(s->shared, r);
}

struct freed_call {
	struct sock_port p[64];
	unsigned n;
};

static void take_freed(struct node_core *c, void *arg)
{
	struct freed_call *call = arg;

	call->n = stack_ports_freed(c->stack, call->p, array_size(call->p));
}

static void collect(struct service *s)
{
	struct freed_call call;

	for (unsigned i = 0; i < s->node.n; i++) {
		do {
			node_call(&s->node.core[i], take_freed, &call);
			for (unsigned k = 0; k < call.n; k++)
				if (*place(s->shared, call.p[k]) != NULL)
					look(s, *place(s->shared, call.p[k]));
		} while (call.n == array_size(call.p));
	}
}

/* ---- for others ---- */

static void ports_ready(struct service *s, struct source *src, uint32_t events)
{
	(void)src;
	(void)events;
	bell_drain(s->node.ports_bell);
	collect(s);
}

int shared_ports_open(struct service *s, const struct svc_err *err)
{
	int rc = bell_open();

	s->shared->on_ports.ready = ports_ready;
	s->node.ports_bell = rc;
	s->node.reserve = rc >= 0;
	if (rc >= 0)
		rc = service_watch(s, &s->shared->on_ports, rc);
	return rc < 0 ? svc_fail(err, rc, "--share: no descriptor: %s", strerror(-rc)) : 0;
}

void shared_ports_close(struct service *s)
{
	struct shared *sh = s->shared;

	while (!list_empty(&sh->ports))
		release(sh, container_of(sh->ports.next, struct reserved, link));
	if (s->node.reserve)
		close(s->node.ports_bell);
	s->node.reserve = false;
}

int shared_grant(struct service *s, struct app *a, const struct ip_addr *addr, struct sock_port *p)
{
	/* What was freed before the program asked is not to be mistaken for news about this. */
	collect(s);
	return p->port != 0 ? reserve(s->shared, a, addr, *p) : choose(s, a, addr, p);
}

void shared_ungrant(struct service *s, struct app *a, struct sock_port p)
{
	struct reserved *r = *place(s->shared, p);

	app_drop(r, a);
	if (r->n_apps == 0 && !on_any(s, ask_used, p, NULL))
		release(s->shared, r);
}

void shared_app_gone(struct service *s, struct app *a)
{
	if (s->shared == NULL)
		return;
	for (struct list *l = s->shared->ports.next, *next; l != &s->shared->ports; l = next) {
		next = l->next;
		for (unsigned i = 0; i < container_of(l, struct reserved, link)->n_apps; i++)
			if (container_of(l, struct reserved, link)->app[i] == a) {
				shared_ungrant(s, a, container_of(l, struct reserved, link)->p);
				break;
			}
	}
}

void shared_ports_addr_add(struct service *s, const struct shared_addr *a)
{
	LIST_EACH (l, &s->shared->ports) {
		struct reserved *r = container_of(l, struct reserved, link);
		bool all = ip_addr_is_v4(&a->addr) ? r->any4 : r->any6;
		int rc = all && !has_sock(r, &a->addr) ? sock_add(r, a) : 0;

		if (rc < 0)
			svc_log("port %u of a new address is the kernel's, too: %s", r->p.port,
				strerror(-rc));
	}
}

void shared_ports_addr_del(struct service *s, const struct ip_addr *a)
{
	LIST_EACH (l, &s->shared->ports) {
		struct reserved *r = container_of(l, struct reserved, link);

		for (unsigned i = r->n; i-- > 0;) {
			if (!ip_addr_eq(&r->sock[i].addr, a))
				continue;
			close(r->sock[i].fd);
			r->sock[i] = r->sock[--r->n];
		}
	}
}
