/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A capture that comes and goes while everything runs: the stacks copy frames to memory, which this
 * thread reads when the manager has taken what came before. Who reads too slowly loses frames, not
 * the stacks their time.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "chan/bell.h"
#include "svc/admin.h"

#define MEMORY_BYTES (4u << 20)
#define STEP_BYTES   (64u << 10)

static int filter(const struct admin *a, struct capture_filter *f)
{
	static const struct {
		const char *name;
		uint16_t ether_type;
		uint8_t proto;
	} protos[] = {
		{"any", 0, 0},	     {"arp", 0x0806, 0},    {"ip", 0x0800, 0}, {"ip6", 0x86dd, 0},
		{"icmp", 0x0800, 1}, {"icmp6", 0x86dd, 58}, {"tcp", 0, 6},     {"udp", 0, 17},
	};
	const char *proto = admin_text(a, "proto", "any"), *host = admin_text(a, "host", NULL);
	int64_t port = admin_number(a, "port", 0), count = admin_number(a, "count", 0);
	unsigned i = 0;

	*f = (struct capture_filter){.port = (uint16_t)port, .count = (uint64_t)count};
	while (i < array_size(protos) && strcmp(protos[i].name, proto) != 0)
		i++;
	if (i == array_size(protos) || port < 0 || port > UINT16_MAX || count < 0)
		return -EINVAL;
	f->ether_type = protos[i].ether_type;
	f->proto = protos[i].proto;
	return host == NULL ? 0 : ip_addr_parse(host, &f->host);
}

struct capture_call {
	struct capture *c;
	int rc;
};

static void add(struct node_core *core, void *arg)
{
	struct capture_call *call = arg;
	int rc = stack_capture_add(core->stack, call->c);

	call->rc = rc < 0 ? rc : call->rc;
}

static void del(struct node_core *core, void *arg)
{
	struct capture_call *call = arg;

	stack_capture_del(core->stack, call->c);
}

static void bell_ready(struct service *s, struct source *src, uint32_t events)
{
	struct admin *a = container_of(src, struct admin, on_capture);

	(void)s;
	(void)events;
	bell_drain(capture_fd(a->capture));
	admin_pump(a);
}

static int start(struct admin *a, const struct capture_filter *f)
{
	struct capture_call call = {.rc = 0};
	int64_t snap = admin_number(a, "snap", 0);
	int rc = capture_open_memory(
		MEMORY_BYTES, snap > 0 && snap < UINT16_MAX ? (uint32_t)snap : 0, f, &a->capture);

	if (rc < 0)
		return rc;
	call.c = a->capture;
	a->on_capture.ready = bell_ready;
	rc = service_watch(a->s, &a->on_capture, capture_fd(a->capture));
	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < a->s->node.n; i++)
		node_call(&a->s->node.core[i], add, &call);
	return call.rc;
}

static enum admin_step begin(struct admin *a)
{
	struct capture_filter f;
	int rc = filter(a, &f);

	if (rc < 0)
		return admin_fail(a, rc,
				  "capture: a filter is any, arp, ip, ip6, icmp, icmp6, tcp "
				  "or udp, a host's IP address, a port");
	rc = start(a, &f);
	if (rc < 0)
		return admin_fail(a, rc, "capture: %s",
				  rc == -ENOSPC ? "as many as there may be run already"
						: strerror(-rc));
	svc_log("user %u: capture begins", (unsigned)a->uid);
	return ADMIN_MORE;
}

enum admin_step admin_capture(struct admin *a)
{
	struct capture_count n;
	char *to;
	size_t got;

	if (a->capture == NULL)
		return begin(a);
	to = admin_room(a, STEP_BYTES);
	if (to == NULL)
		return ADMIN_DONE;
	got = capture_read(a->capture, to, STEP_BYTES, &n);
	a->out_len += got;
	if (got != 0)
		return ADMIN_MORE;
	return n.frames == (uint64_t)admin_number(a, "count", 0) && n.frames != 0 ? ADMIN_DONE
										  : ADMIN_WAIT;
}

void admin_capture_end(struct admin *a)
{
	struct capture_call call = {.c = a->capture};
	struct capture_count n;
	char none;

	if (a->capture == NULL)
		return;
	for (unsigned i = 0; i < a->s->node.n; i++)
		node_call(&a->s->node.core[i], del, &call);
	(void)!capture_read(a->capture, &none, 0, &n);
	svc_log("user %u: capture ends: %llu frames, %llu lost", (unsigned)a->uid,
		(unsigned long long)n.frames, (unsigned long long)n.lost);
	service_unwatch(a->s, capture_fd(a->capture));
	capture_close(a->capture);
	a->capture = NULL;
}
