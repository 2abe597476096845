/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The stack of this process: start and stop.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <unistd.h>
#include <stdlib.h>
#include <string.h>

#include "chan/attach.h"
#include "client/client_priv.h"
#include "zstack/zstack.h"

#define STOP_TURNS 10000 /* for the stack to take the last commands */

struct client client;

static int cores_init(void)
{
	struct transport *t = &client.transport;
	int r = 0;

	client.n_cores = 0;
	while (client.n_cores < t->n_cores && r == 0) {
		r = core_init(&client.core[client.n_cores], client.n_cores,
			      &t->map[client.n_cores]);
		client.n_cores += r == 0;
	}
	client.n_tables = client.n_cores;
	/* Another service may have more cores. */
	return r == 0 ? socks_init(t->attached ? EMBED_CORES_MAX : t->n_cores) : r;
}

static void cores_fini(void)
{
	while (client.n_tables > 0)
		core_fini(&client.core[--client.n_tables]);
	client.n_cores = 0;
	socks_fini();
}

static int client_open(struct zs_config *config, const struct embed_cfg *cfg, const char *service)
{
	char err[400] = "";
	int r = transport_open(&client.transport, cfg, service, err, sizeof(err));

	if (r < 0) {
		config_set_error(config, "%s", err[0] != '\0' ? err : strerror(-r));
		return r;
	}
	r = cores_init();
	if (r == 0)
		r = fd_init();
	if (r == 0)
		return 0;
	config_set_error(config, "the channel to the stack can't be used: %s", strerror(-r));
	cores_fini();
	transport_close(&client.transport);
	return r;
}

static void at_exit(void)
{
	zs_stop();
}

static void hooks_install(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	fork_hooks();
	/* A host knows better when its program is done. */
	if (!fd_hosted())
		atexit(at_exit);
}

static void client_begin(bool threaded)
{
	memset(&client.stats, 0, sizeof(client.stats));
	client.threaded = threaded;
	client.leader = NULL;
	client.asleep = client.lost = false;
	client.kick_fd = client.one_fd = client.sleep.set = -1;
	list_init(&client.followers);
}

/* spin_ns: -1 the default. */
static void client_go(int64_t spin_ns)
{
	if (client.transport.attached)
		client.kick_fd = fd_high(bell_open());
	spin_init(spin_ns);
	client.running = true;
	hooks_install();
}

static int client_start(struct zs_config *config)
{
	struct embed_cfg cfg;
	const char *service;
	int r = config_complete(config);

	if (r < 0)
		return r;
	config_embed(config, &cfg);
	service = config_service(config);
	if (service != NULL)
		cfg.threaded = true; /* the service's threads */
	client_begin(cfg.threaded);
	r = client_open(config, &cfg, service);
	if (r < 0)
		return r;
	client_go(config_spin_ns(config));
	return 0;
}

/* Names of sockets come from elsewhere: rows are not theirs by index. */
static int tables_init(void)
{
	int r = cores_init();

	for (unsigned i = 0; i < client.n_cores && r == 0; i++) {
		client.core[i].sock = client.sock;
		r = core_rows_init(&client.core[i]);
	}
	return r == 0 ? fd_init() : r;
}

static void adopt_begin(const char *path)
{
	struct transport *t = &client.transport;

	client_begin(true);
	t->attached = true;
	rejoin_init(path);
	t->service = (struct attached){.sock = -1, .pidfd = -1};
}

static int adopt_tables(unsigned n_cores)
{
	int r;

	client.transport.n_cores = n_cores;
	r = tables_init();
	if (r == 0)
		return 0;
	cores_fini();
	transport_close(&client.transport);
	return r;
}

int client_adopt(const char *path, const char *name, struct attach_msg *welcome)
{
	struct transport *t = &client.transport;
	int r;

	adopt_begin(path);
	r = attach_child(&t->service, welcome, t->map);
	if (r < 0)
		return r;
	rejoin_know(&t->service, name);
	r = adopt_tables(t->service.n_cores);
	if (r < 0)
		return r;
	client_go(-1);
	return 0;
}

static bool is_sane(const struct lost_service *l)
{
	_Alignas(64) struct chan_hdr said = *l->hdr;
	struct chan_hdr hdr;

	return l->n_cores > 0 && l->n_cores <= EMBED_CORES_MAX &&
	       chan_check(&said, said.total_bytes, &hdr) == 0 && l->arena_bytes == hdr.arena_bytes;
}

int client_adopt_lost(const struct lost_service *l)
{
	struct transport *t = &client.transport;
	int r = is_sane(l) ? 0 : -EPROTO;

	if (r < 0)
		return r;
	adopt_begin(l->path);
	t->service.uid = l->uid;
	t->service.free_ports_from = l->free_ports_from;
	rejoin_know(&t->service, l->name);
	r = orphan_channels(l);
	if (r < 0) {
		transport_close(t);
		return r;
	}
	r = adopt_tables(l->n_cores);
	if (r < 0)
		return r;
	client.lost = true;
	rejoin_alone(l->refused);
	client_go(-1);
	return 0;
}

int zs_start(struct zs_config *config)
{
	struct zs_config *own = config == NULL ? zs_config_new() : config;
	int r;

	if (own == NULL)
		return -ENOMEM;
	client_lock();
	if (client.running) {
		config_set_error(own, "the stack of this process runs already");
		r = -EALREADY;
	} else {
		r = client_start(own);
	}
	client_unlock();
	if (config == NULL)
		zs_config_free(own);
	return r;
}

static void descriptors_close(void)
{
	struct epset *e;
	struct csock *s;
	int err;

	for (int fd = fd_next(0); fd >= 0; fd = fd_next(fd + 1)) {
		s = fd_csock(fd, &err);
		e = s == NULL ? fd_epset(fd, &err) : NULL;
		fd_lose(fd);
		if (s != NULL)
			socket_close(s);
		else
			epset_close(e);
	}
}

static bool all_said(void)
{
	if (!links_said())
		return false;
	if (client.lost)
		return true;
	for (unsigned i = 0; i < client.n_cores; i++) {
		struct core *c = &client.core[i];

		if (c->to_close != NIL ||
		    chan_free(&c->end.sq, c->end.sq.mask + 1) != c->end.sq.mask + 1)
			return false;
	}
	return true;
}

/* The last sends and closes must reach the stack; that it waits for their acknowledgements is its
 * own affair, when it is closed. */
static void say_all(void)
{
	for (int i = 0; i < STOP_TURNS && !all_said(); i++) {
		if (client_turn() == 0)
			client_yield();
		client_breathe();
	}
}

/* Threads that wait find out, and leave. */
static void others_leave(void)
{
	if (client.leader != NULL)
		waiter_wake(client.leader);
	while (client.waiting > 0) {
		struct list *f;

		for (f = client.followers.next; f != &client.followers; f = f->next)
			waiter_wake(container_of(f, struct waiter, node));
		client_turn();
		client_lock_breathe();
		client_unlock();
		client_yield();
		client_lock();
	}
}

void zs_stop(void)
{
	client_lock_as_is();
	/* Its end tells the service. */
	if (child_unborn()) {
		client_unlock();
		return;
	}
	if (client.running && !client.stopping) {
		client.stopping = true;
		descriptors_close();
		others_leave();
		say_all();
		client.running = false;
		links_fini();
		cores_fini();
		fd_fini();
		lost_fini();
		transport_close(&client.transport);
		sleep_changed();
		if (client.kick_fd >= 0)
			close(client.kick_fd);
		client.stopping = false;
	}
	client_unlock();
}
