/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How the stack is reached: a service's (attach.c), linked into the program (tests and benchmarks),
 * or loaded. libzstack itself knows libc only; DPDK comes with the library that is loaded here,
 * when it is asked for. The library stays loaded: EAL can't be started twice in one process, nor be
 * taken out of it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "client/client_priv.h"

#define LIBRARY "libzstack-stack.so.0"

/* The program's own, if it has one. */
extern const struct embed_ops zstack_embed_ops __attribute__((weak));

/* Beside libzstack itself, then wherever the loader looks. */
static void *library_open(void)
{
	char path[4096];
	Dl_info me;
	void *lib = NULL;

	if (dladdr(&client, &me) != 0 && me.dli_fname != NULL) {
		const char *slash = strrchr(me.dli_fname, '/');
		int dir = slash != NULL ? (int)(slash - me.dli_fname + 1) : 0;

		if (snprintf(path, sizeof(path), "%.*s%s", dir, me.dli_fname, LIBRARY) <
		    (int)sizeof(path))
			lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	}
	return lib != NULL ? lib : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

static int ops_find(struct transport *t, char *err, size_t err_len)
{
	t->ops = &zstack_embed_ops;
	if (t->ops != NULL)
		return 0;
	if (t->library == NULL)
		t->library = library_open();
	if (t->library == NULL) {
		snprintf(err, err_len,
			 "the stack can't be loaded (%s); install %s or set "
			 "LD_LIBRARY_PATH",
			 dlerror(), LIBRARY);
		return -ENOENT;
	}
	t->ops = dlsym(t->library, EMBED_SYMBOL);
	if (t->ops == NULL) {
		snprintf(err, err_len, "%s has no %s: install one of this version", LIBRARY,
			 EMBED_SYMBOL);
		return -ENOENT;
	}
	return 0;
}

static int load(struct transport *t, const struct embed_cfg *cfg, char *err, size_t err_len)
{
	int r = ops_find(t, err, err_len);

	if (r < 0)
		return r;
	if (t->ops->abi != EMBED_ABI) {
		snprintf(err, err_len, "%s is of another version (%u, not %u): install both of one",
			 LIBRARY, t->ops->abi, EMBED_ABI);
		return -EPROTONOSUPPORT;
	}
	r = t->ops->open(cfg, &t->embed, t->map, &t->n_cores, err, err_len);
	if (r < 0)
		return r;
	if (t->n_cores >= 1 && t->n_cores <= EMBED_CORES_MAX)
		return 0;
	snprintf(err, err_len, "the stack made %u channels; install libraries of one version",
		 t->n_cores);
	transport_close(t);
	return -EPROTO;
}

int transport_open(struct transport *t, const struct embed_cfg *cfg, const char *service, char *err,
		   size_t err_len)
{
	struct attach_want want;
	int r;

	t->attached = service != NULL;
	if (!t->attached)
		return load(t, cfg, err, err_len);
	rejoin_init(service);
	want = (struct attach_want){.path = service,
				    .max_sockets = cfg->geometry.max_sockets,
				    .arena_bytes = cfg->geometry.arena_bytes,
				    .voucher = -1};
	r = attach_open(&t->service, &want, t->map, err, err_len);
	t->n_cores = r == 0 ? t->service.n_cores : 0;
	if (r == 0)
		rejoin_know(&t->service, NULL);
	return r;
}

void transport_close(struct transport *t)
{
	if (t->attached) {
		rejoin_fini();
		attach_close(&t->service, t->map, true);
	} else if (t->embed != NULL)
		t->ops->close(t->embed);
	t->embed = NULL;
}

int transport_may_bind(const uint8_t addr[16], uint16_t *port, bool udp, int voucher)
{
	struct transport *t = &client.transport;

	return t->attached ? attach_bind(&t->service, addr, port, udp, voucher) : 0;
}

bool transport_asks(uint16_t port)
{
	const struct transport *t = &client.transport;

	return t->attached && port < t->service.free_ports_from;
}

bool transport_is_shared(void)
{
	return client.transport.attached && client.transport.service.shared;
}
