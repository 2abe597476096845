/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Who has an address at an interface of the kernel's. Nothing on the wire would tell two services
 * of one interface from each other: they have its MAC, both would answer, and each would end the
 * other's connections. So a service that takes an address there listens at a name of the abstract
 * namespace made of both, which is of the network namespace, as the interface is, and gone with the
 * process, however it ends (name.c).
 *
 * Not done: the embedded mode; ports that are no interface of the kernel's, which can't be opened
 * twice; link-local addresses, which two services of one interface share.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "svc/service.h"

struct claim {
	struct list link;
	struct source source;
	int fd;
	struct ip_addr addr;
};

/* Others look who we are; there is nothing to be said. */
static void looked_at(struct service *s, struct source *src, uint32_t events)
{
	int fd = accept4(container_of(src, struct claim, source)->fd, NULL, NULL, SOCK_CLOEXEC);

	(void)s;
	(void)events;
	if (fd >= 0)
		close(fd);
}

/* False: the port is no interface of the kernel's. */
static bool name_of(const struct service *s, const struct svc_addr *a, char ifname[IF_NAMESIZE],
		    struct sockaddr_un *at, socklen_t *len)
{
	unsigned ifindex = a->port < s->node.n_dev ? dev_ifindex(s->node.dev[a->port]) : 0;
	char name[sizeof(at->sun_path)], addr[ADDR_TEXT_MAX];

	if (ifindex == 0 || if_indextoname(ifindex, ifname) == NULL)
		return false;
	snprintf(name, sizeof(name), "@zstack-address/%u.%u/%s", ifindex, a->vlan,
		 ip_addr_text(&a->addr, addr));
	return attach_address(name, at, len) == 0;
}

static int keep(struct service *s, int fd, const struct ip_addr *addr)
{
	struct claim *c = calloc(1, sizeof(*c));
	int rc = c != NULL ? 0 : -ENOMEM;

	if (rc == 0) {
		*c = (struct claim){.source.ready = looked_at, .fd = fd, .addr = *addr};
		rc = service_watch(s, &c->source, fd);
	}
	if (rc < 0) {
		free(c);
		return rc;
	}
	list_init(&c->link);
	list_add_tail(&s->claims, &c->link);
	return 0;
}

static bool is_ours(const struct service *s, const struct ip_addr *addr)
{
	LIST_EACH (l, &s->claims)
		if (ip_addr_eq(&container_of(l, struct claim, link)->addr, addr))
			return true;
	return false;
}

static int take(struct service *s, const char *text, int64_t wait_ns, const struct svc_err *err)
{
	struct ucred who = {.pid = 0};
	char ifname[IF_NAMESIZE];
	struct sockaddr_un at;
	struct svc_addr a;
	socklen_t len;
	int fd, rc = svc_addr_parse(text, &a, err->text, err->len);

	if (rc < 0 || is_ours(s, &a.addr) || !name_of(s, &a, ifname, &at, &len))
		return rc;
	fd = name_socket();
	rc = fd >= 0 ? name_take(fd, &at, len, wait_ns, &who) : -errno;
	if (rc == 0)
		rc = keep(s, fd, &a.addr);
	if (rc == 0)
		return 1;
	if (fd >= 0)
		close(fd);
	if (rc == -EEXIST)
		return svc_fail(err, rc,
				"--addr %s: another zstackd (process %d) has this address at %s: "
				"stop it, or choose another address",
				text, (int)who.pid, ifname);
	/* It is a service all the same. */
	svc_log("--addr %s: whether another zstackd has this address at %s is not known: %s%s",
		text, ifname, &at.sun_path[1],
		rc == -EPERM ? " is taken by a program of another user" : " is not to be had");
	return 0;
}

int claim_take(struct service *s, const char *text, const struct svc_err *err)
{
	return take(s, text, 0, err);
}

static void drop(struct service *s, struct claim *c)
{
	service_unwatch(s, c->fd);
	close(c->fd);
	list_del(&c->link);
	free(c);
}

void claim_drop(struct service *s, const struct ip_addr *addr)
{
	LIST_EACH (l, &s->claims) {
		struct claim *c = container_of(l, struct claim, link);

		if (ip_addr_eq(&c->addr, addr)) {
			drop(s, c);
			return;
		}
	}
}

int claims_open(struct service *s, const struct svc_err *err)
{
	const char *const *addrs = s->cfg.node.addrs;
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < svc_count(addrs); i++)
		rc = take(s, addrs[i], NAME_WAIT_NS, err);
	return rc < 0 ? rc : 0;
}

void claims_close(struct service *s)
{
	while (!list_empty(&s->claims))
		drop(s, container_of(s->claims.next, struct claim, link));
}
