/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Ports whose addresses the kernel has, too (docs/design/012): an interface of the kernel's for
 * each, made here, gone when the service is. What reaches the kernel decides src/stack; here are
 * its addresses and routes, and who may have which local port.
 *
 *   shared.c       opening and closing
 *   shared_addr.c  addresses and routes, the kernel's as ours
 *   shared_port.c  a port that one of our programs has is taken in the kernel, too
 *   knet.h        rtnetlink
 */
#ifndef ZS_SVC_SHARED_H
#define ZS_SVC_SHARED_H

#include "svc/service.h"

#define SHARED_ADDRS_MAX 64
/* Ephemeral ports that must be left for the stack, and where they begin. */
#define SHARED_PORTS_MIN  1024
#define SHARED_PORTS_FROM 10000

struct shared_iface {
	struct dev_kernel *kernel;
	struct svc_share cfg;
	char text[64]; /* as it was written */
};

/* An address that the kernel has of us. */
struct shared_addr {
	struct ip_addr addr;
	uint8_t prefix_len;
	const struct shared_iface *at;
};

struct shared {
	struct shared_iface iface[STACK_PORTS_MAX];
	unsigned n_ifaces;
	struct shared_addr addr[SHARED_ADDRS_MAX];
	unsigned n_addrs;
	struct rte_mempool *pool[EMBED_CORES_MAX]; /* for what the kernel sends */
	struct reserved *reserved[2][65536]; /* TCP, UDP: ports that are taken in the kernel */
	struct list ports;		     /* the same, in a row */
	unsigned n_reserved;
	struct source on_ports;
};

/* ---- shared.c ---- */
/* Before node_begin(): what the node must know. */
int shared_begin(struct service *s, const struct svc_err *err) must_check;
/* When the ports are open and the stacks don't run yet: the interfaces. */
int shared_open(struct service *s, const struct svc_err *err) must_check;
/* When the addresses are known to be ours: the kernel gets them. */
int shared_start(struct service *s, const struct svc_err *err) must_check;
/* After node_halt(). */
void shared_close(struct service *s);
/* Ports from here on a program of the domain binds without asking. */
uint32_t shared_free_ports_from(const struct service *s, const struct policy_domain *d);
/* The kernel's interface of a port; NULL: it is not shared. */
const struct shared_iface *shared_iface_of(const struct service *s, unsigned port);

/* ---- shared_port.c ---- */
int shared_ports_open(struct service *s, const struct svc_err *err) must_check;
void shared_ports_close(struct service *s);
/* Takes the port in the kernel for a program of ours; port 0: one that is free, *p says which.
 * -EADDRINUSE, -EMFILE, … */
int shared_grant(struct service *s, struct app *a, const struct ip_addr *addr,
		 struct sock_port *p) must_check;
/* The program did not get it after all. */
void shared_ungrant(struct service *s, struct app *a, struct sock_port p);
/* Its sockets are closed. */
void shared_app_gone(struct service *s, struct app *a);
void shared_ports_addr_add(struct service *s, const struct shared_addr *a);
void shared_ports_addr_del(struct service *s, const struct ip_addr *a);

/* ---- shared_addr.c ---- */
/* Those of the configuration. */
int shared_addrs_start(struct service *s, const struct svc_err *err) must_check;
/* As the functions of node.h, and the kernel's side with them, whether or not anything is shared.
 */
int service_addr_add(struct service *s, const char *text, const struct svc_err *err) must_check;
int service_addr_del(struct service *s, const char *text, const struct svc_err *err) must_check;
int service_route_add(struct service *s, const char *prefix, const char *via,
		      const struct svc_err *err) must_check;
int service_route_del(struct service *s, const char *prefix, const char *via,
		      const struct svc_err *err) must_check;

#endif
