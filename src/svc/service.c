/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Opening, the control thread's loop, closing. One event at a time: what handles it may end any
 * program, whose other events are then asked for no more.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "svc/service.h"
#include "svc/shared.h"

#define LOG_LINES 20 /* about refusals, in a second */

void svc_log(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "zstackd: %s\n", line);
}

bool service_may_log(struct service *s)
{
	int64_t now = node_now_ns();

	if (now - s->log.since_ns > 1000000000) {
		if (s->log.hidden > 0)
			svc_log("%u more were refused", s->log.hidden);
		s->log = (struct svc_log_limit){.since_ns = now};
	}
	if (s->log.lines++ < LOG_LINES)
		return true;
	s->log.hidden++;
	return false;
}

int service_watch(struct service *s, struct source *src, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = src};

	return epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

void service_rewatch(struct service *s, struct source *src, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = src};

	epoll_ctl(s->epoll, EPOLL_CTL_MOD, fd, &e);
}

void service_unwatch(struct service *s, int fd)
{
	epoll_ctl(s->epoll, EPOLL_CTL_DEL, fd, NULL);
}

/* Each program takes several descriptors. */
static void descriptors_raise(struct service *s)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	s->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* ---- signals ---- */

static void signal_ready(struct service *s, struct source *src, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)src;
	(void)events;
	if (read(s->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		service_reload(s);
		return;
	}
	svc_log("%s: ending", strsignal((int)info.ssi_signo));
	s->ending = true;
}

/* Before any thread is made, so that all of them leave these signals to the control thread. */
static int signals_open(struct service *s, const struct svc_err *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	s->on_signal.ready = signal_ready;
	if (s->signals < 0 || service_watch(s, &s->on_signal, s->signals) < 0)
		return svc_fail(err, -errno, "no descriptor for signals: %s", strerror(errno));
	return 0;
}

/* ---- all ---- */

static int node_all(struct service *s, const struct svc_err *err)
{
	int rc;

	s->node.telemetry = s->cfg.telemetry;
	s->node.domain_bufs = domains_bufs(s);
	rc = shared_begin(s, err);
	if (rc == 0)
		rc = node_begin(&s->node, &s->cfg.node, 0, err);
	if (rc == 0)
		rc = domains_packets(s, err);
	if (rc == 0)
		rc = node_open(&s->node, &s->cfg.node, err);
	if (rc == 0)
		rc = claims_open(s, err);
	if (rc == 0)
		rc = domains_open(s, err);
	if (rc == 0)
		rc = shared_open(s, err);
	if (rc == 0)
		rc = node_start(&s->node, err);
	if (rc == 0)
		rc = shared_start(s, err);
	return rc == 0 ? telemetry_open(s, err) : rc;
}

int service_open(struct service *s, const struct svc_err *err)
{
	int rc;

	list_init(&s->apps);
	list_init(&s->kept);
	list_init(&s->admins);
	list_init(&s->claims);
	s->listener = s->named = s->signals = -1;
	s->packets.fd = s->node.link_bell = -1;
	list_init(&s->links);
	descriptors_raise(s);
	for (unsigned d = 0; d < POLICY_DOMAINS_MAX; d++)
		s->domain[d].packets.fd = -1;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0)
		return svc_fail(err, -errno, "no descriptors: %s", strerror(errno));
	rc = signals_open(s, err);
	if (rc == 0)
		rc = listener_open(s, err);
	if (rc == 0)
		rc = metrics_open(s, err);
	if (rc == 0 && links_open(s) < 0)
		rc = svc_fail(err, -EMFILE, "no descriptors: %s", strerror(EMFILE));
	return rc == 0 ? node_all(s, err) : rc;
}

void service_run(struct service *s)
{
	struct epoll_event e;

	while (!s->ending) {
		int64_t again_ns = sooner(sooner(apps_reap(s), links_tick(s)),
					  sooner(admins_tick(s), metrics_tick(s)));
		int n;

		again_ns = sooner(again_ns, strangers_tick(s));
		n = epoll_wait(s->epoll, &e, 1, again_ns < 0 ? -1 : (int)(again_ns / 1000000) + 1);

		if (n == 1) {
			struct source *src = e.data.ptr;

			src->ready(s, src, e.events);
		}
	}
}

void service_close(struct service *s)
{
	listener_close(s);
	claims_close(s);
	metrics_close(s);
	dev_telemetry_stop();
	admins_close(s);
	keeper_close(s);
	links_stay(s);
	LIST_EACH (l, &s->apps)
		app_detach(s, container_of(l, struct app, link), true, NULL);
	links_close(s);
	node_stop(&s->node);
	if (s->node.n_dev > 0)
		node_settle(&s->node);
	node_halt(&s->node);
	shared_close(s);
	keeper_free(s);
	apps_free(s);
	domains_close(s);
	node_close(&s->node);
	region_destroy(&s->packets);
	if (s->signals >= 0)
		close(s->signals);
	if (s->spare >= 0)
		close(s->spare);
	if (s->epoll >= 0)
		close(s->epoll);
}
