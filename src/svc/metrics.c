/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Counters as Prometheus reads them (text exposition format 0.0.4), at http://IP:PORT/metrics, on a
 * socket of the host's kernel. libmicrohttpd serves it from the control thread's loop; a reader
 * that is slow has its answer in a buffer of its own, and keeps nobody waiting.
 *
 * Whoever reaches the address may read: it says how much, never what nor whose.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stack/look.h"
#include "svc/service.h"

#define CONNECTIONS_MAX 16
#define TIMEOUT_S	30
#define COUNTERS_MAX	512

/* The counters of all cores: those of the same place have the same name. */
struct counters {
	unsigned n;
	struct sock_counter c[EMBED_CORES_MAX][COUNTERS_MAX];
};

static void core_take(struct node_core *core, void *arg)
{
	struct counters *all = arg;
	unsigned i = (unsigned)(core - core->node->core), n = 0;

	while (n < COUNTERS_MAX && stack_counter(core->stack, n, &all->c[i][n]))
		n++;
	all->n = n;
}

static void family(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A counter, or a gauge, with a sample for each core. */
static void plain(FILE *f, const struct counters *all, unsigned i, unsigned cores)
{
	const struct sock_counter *c = &all->c[0][i];
	char name[96];

	snprintf(name, sizeof(name), "zstack_%s%s", c->name, c->gauge ? "" : "_total");
	family(f, name, c->gauge ? "gauge" : "counter", c->name);
	for (unsigned core = 0; core < cores; core++)
		fprintf(f, "%s{core=\"%u\"} %llu\n", name, core,
			(unsigned long long)all->c[core][i].value);
}

static void drops(FILE *f, const struct counters *all, unsigned cores)
{
	family(f, "zstack_dropped_total", "counter", "packets that were dropped, by reason");
	for (unsigned i = 0; i < all->n; i++)
		for (unsigned core = 0; core < cores && all->c[0][i].text != NULL; core++)
			fprintf(f, "zstack_dropped_total{core=\"%u\",reason=\"%s\"} %llu\n", core,
				all->c[0][i].name, (unsigned long long)all->c[core][i].value);
}

struct port_call {
	unsigned port;
	bool found;
	struct stack_port_info info;
};

static void port_take(struct node_core *core, void *arg)
{
	struct port_call *c = arg;

	c->found = stack_port_at(core->stack, c->port, &c->info);
}

static void ports(FILE *f, struct service *s)
{
	struct port_call p[STACK_PORTS_MAX];
	unsigned n = 0;
	const char *name;
	uint64_t value;

	for (; n < STACK_PORTS_MAX; n++) {
		p[n] = (struct port_call){.port = n};
		node_call(&s->node.core[0], port_take, &p[n]);
		if (!p[n].found)
			break;
	}
	for (unsigned i = 0; n > 0 && (name = stack_port_counter(&p[0].info, i, &value)) != NULL;
	     i++) {
		char full[96];

		snprintf(full, sizeof(full), "zstack_port_%s_total", name);
		family(f, full, "counter", name);
		for (unsigned k = 0; k < n; k++) {
			(void)stack_port_counter(&p[k].info, i, &value);
			fprintf(f, "%s{port=\"%s\"} %llu\n", full, p[k].info.name,
				(unsigned long long)value);
		}
	}
}

static void service(FILE *f, const struct service *s)
{
	const struct {
		const char *name, *type, *help;
		uint64_t value;
	} v[] = {
		{"zstack_service_attached_total", "counter", "programs that attached",
		 s->n.attached},
		{"zstack_service_refused_total", "counter", "programs that were refused",
		 s->n.refused},
		{"zstack_service_died_total", "counter", "programs that ended without a word",
		 s->n.died},
		{"zstack_service_grants_refused_total", "counter", "ports that were refused",
		 s->n.grants_refused},
		{"zstack_service_links_total", "counter", "links between programs that were made",
		 s->n.links},
		{"zstack_service_links_refused_total", "counter",
		 "links that a program had no room for, or did not want", s->n.links_refused},
		{"zstack_service_links_bad_total", "counter",
		 "links that ended because one side broke the rules", s->n.links_bad},
		{"zstack_service_links", "gauge", "links between programs now", s->n_links},
		{"zstack_service_programs", "gauge", "connections of programs now", s->n_apps},
	};

	for (unsigned i = 0; i < array_size(v); i++) {
		family(f, v[i].name, v[i].type, v[i].help);
		fprintf(f, "%s %llu\n", v[i].name, (unsigned long long)v[i].value);
	}
}

/* The whole text, the caller's to free; NULL: no memory. */
static char *text_make(struct service *s, size_t *len)
{
	struct counters *all = calloc(1, sizeof(*all));
	char *text = NULL;
	FILE *f = open_memstream(&text, len);

	if (all != NULL && f != NULL) {
		for (unsigned i = 0; i < s->node.n; i++)
			node_call(&s->node.core[i], core_take, all);
		for (unsigned i = 0; i < all->n; i++)
			if (all->c[0][i].text == NULL)
				plain(f, all, i, s->node.n);
		drops(f, all, s->node.n);
		ports(f, s);
		service(f, s);
	}
	free(all);
	if (f == NULL || fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, char *text, size_t len,
			       bool ours)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
		len, text, ours ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
	enum MHD_Result rc;

	if (r == NULL)
		return MHD_NO;
	MHD_add_response_header(r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
	rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_len, void **state)
{
	static char elsewhere[] = "the counters are at /metrics\n", other[] = "GET only\n";
	size_t len = 0;
	char *text;

	(void)version;
	(void)upload;
	(void)upload_len;
	(void)state;
	if (strcmp(method, "GET") != 0)
		return respond(c, MHD_HTTP_METHOD_NOT_ALLOWED, other, sizeof(other) - 1, false);
	if (strcmp(url, "/metrics") != 0)
		return respond(c, MHD_HTTP_NOT_FOUND, elsewhere, sizeof(elsewhere) - 1, false);
	text = text_make(arg, &len);
	return text != NULL ? respond(c, MHD_HTTP_OK, text, len, true) : MHD_NO;
}

/* ---- the socket ---- */

/* "127.0.0.1:9100", "[::1]:9100" */
static bool address(const char *text, struct sockaddr_storage *to)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)to;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
	char host[64], tail;
	unsigned port;

	memset(to, 0, sizeof(*to));
	if (sscanf(text, "[%63[0-9a-fA-F:.]]:%u%c", host, &port, &tail) == 2 && port <= 65535) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host, &v6->sin6_addr) == 1;
	}
	if (sscanf(text, "%63[0-9.]:%u%c", host, &port, &tail) == 2 && port <= 65535) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return inet_pton(AF_INET, host, &v4->sin_addr) == 1;
	}
	return false;
}

static void ready(struct service *s, struct source *src, uint32_t events)
{
	(void)src;
	(void)events;
	MHD_run(s->metrics);
}

int metrics_open(struct service *s, const struct svc_err *err)
{
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage at;
	unsigned flags = MHD_USE_EPOLL;

	if (s->cfg.metrics == NULL)
		return 0;
	if (!address(s->cfg.metrics, &at))
		return svc_fail(err, -EINVAL,
				"--metrics %s: write IP:PORT, for example 127.0.0.1:9100 or "
				"[::1]:9100",
				s->cfg.metrics);
	flags |= at.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0;
	s->metrics = MHD_start_daemon(flags, 0, NULL, NULL, answer, s, MHD_OPTION_SOCK_ADDR, &at,
				      MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
				      MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_END);
	if (s->metrics == NULL)
		return svc_fail(err, -EADDRINUSE, "--metrics %s: %s", s->cfg.metrics,
				errno != 0 ? strerror(errno) : "cannot listen there");
	info = MHD_get_daemon_info(s->metrics, MHD_DAEMON_INFO_EPOLL_FD);
	s->on_metrics.ready = ready;
	return service_watch(s, &s->on_metrics, info->epoll_fd);
}

int64_t metrics_tick(struct service *s)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (s->metrics == NULL)
		return -1;
	MHD_run(s->metrics);
	return MHD_get_timeout(s->metrics, &ms) == MHD_YES ? (int64_t)ms * 1000000 : -1;
}

void metrics_close(struct service *s)
{
	if (s->metrics != NULL)
		MHD_stop_daemon(s->metrics);
	s->metrics = NULL;
}
