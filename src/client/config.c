/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Configuration: one table of options, from which setting, arguments, usage and environment follow.
 * Texts are only looked at as far as the client needs them; what an address or a port means is the
 * stack's to judge, with its own sentence.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_priv.h"
#include "zstack/zstack.h"

#define LIST_MAX 64 /* repetitions of one option */
#define SPIN_US	 50 /* what a wake-up costs on a virtual machine, about */

enum key {
	KEY_SERVICE,
	KEY_VDEV,
	KEY_PORT,
	KEY_ADDR,
	KEY_GATEWAY,
	KEY_MODE,
	KEY_CORES,
	KEY_MTU,
	KEY_MEM,
	KEY_BUFFERS,
	KEY_NO_HUGE,
	KEY_CAPTURE,
	KEY_CONGESTION,
	KEY_MAX_SOCKETS,
	KEY_SPIN,
	KEY_LINGER,
	KEY_COUNT,
};

enum kind { KIND_LIST, KIND_TEXT, KIND_NUMBER, KIND_FLAG };

static const struct option {
	const char *name;
	enum kind kind;
	uint32_t min, max; /* numbers */
} options[KEY_COUNT] = {
	[KEY_SERVICE] = {"service", KIND_TEXT, 0, 0},
	[KEY_VDEV] = {"vdev", KIND_LIST, 0, 0},
	[KEY_PORT] = {"port", KIND_LIST, 0, 0},
	[KEY_ADDR] = {"addr", KIND_LIST, 0, 0},
	[KEY_GATEWAY] = {"gateway", KIND_LIST, 0, 0},
	[KEY_MODE] = {"mode", KIND_TEXT, 0, 0},
	[KEY_CORES] = {"cores", KIND_TEXT, 0, 0},
	[KEY_MTU] = {"mtu", KIND_NUMBER, 68, 65535},
	[KEY_MEM] = {"mem", KIND_NUMBER, 1, 1u << 20},
	[KEY_BUFFERS] = {"buffers", KIND_NUMBER, 1, 1u << 20},
	[KEY_NO_HUGE] = {"no-huge", KIND_FLAG, 0, 1},
	[KEY_CAPTURE] = {"capture", KIND_TEXT, 0, 0},
	[KEY_CONGESTION] = {"congestion", KIND_TEXT, 0, 0},
	[KEY_MAX_SOCKETS] = {"max-sockets", KIND_NUMBER, 1, 1u << SID_INDEX_BITS},
	[KEY_SPIN] = {"spin", KIND_NUMBER, 0, 1000000},
	[KEY_LINGER] = {"linger", KIND_NUMBER, 0, 3600000},
};

struct value {
	const char *text[LIST_MAX + 1]; /* NULL after the last; one unless KIND_LIST */
	unsigned n;
	uint32_t number;
};

struct zs_config {
	struct value v[KEY_COUNT];
	char error[256];
};

struct zs_config *zs_config_new(void)
{
	return calloc(1, sizeof(struct zs_config));
}

static void value_clear(struct value *v)
{
	while (v->n > 0) {
		v->n--;
		free((char *)(uintptr_t)v->text[v->n]);
		v->text[v->n] = NULL;
	}
}

void zs_config_free(struct zs_config *c)
{
	if (c == NULL)
		return;
	for (int k = 0; k < KEY_COUNT; k++)
		value_clear(&c->v[k]);
	free(c);
}

const char *zs_config_error(const struct zs_config *c)
{
	return c->error;
}

void config_set_error(struct zs_config *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, ap);
	va_end(ap);
}

static int key_find(const char *name, size_t len)
{
	for (int k = 0; k < KEY_COUNT; k++) {
		if (strlen(options[k].name) == len && memcmp(options[k].name, name, len) == 0)
			return k;
	}
	return -ENOENT;
}

static int number_parse(struct zs_config *c, const struct option *o, const char *text,
			uint32_t *out)
{
	char *end;
	unsigned long n = 0;

	errno = 0;
	if (isdigit((unsigned char)*text))
		n = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end != '\0' || errno != 0 || n < o->min ||
	    n > o->max) {
		config_set_error(c, "--%s %s: give a number from %u to %u", o->name, text, o->min,
				 o->max);
		return -EINVAL;
	}
	*out = (uint32_t)n;
	return 0;
}

static int mode_check(struct zs_config *c, const char *text)
{
	if (strcmp(text, "poll") == 0 || strcmp(text, "thread") == 0)
		return 0;
	config_set_error(c, "--mode %s: say \"poll\" or \"thread\"", text);
	return -EINVAL;
}

static int value_check(struct zs_config *c, enum key k, const char *text, uint32_t *number)
{
	const struct option *o = &options[k];

	if (o->kind == KIND_NUMBER || o->kind == KIND_FLAG)
		return number_parse(c, o, text, number);
	if (*text == '\0') {
		config_set_error(c, "--%s: its value is empty", o->name);
		return -EINVAL;
	}
	return k == KEY_MODE ? mode_check(c, text) : 0;
}

static int value_set(struct zs_config *c, enum key k, const char *text)
{
	const struct option *o = &options[k];
	struct value *v = &c->v[k];
	uint32_t number = 0;
	int r = value_check(c, k, text, &number);

	if (r < 0)
		return r;
	if (v->n == LIST_MAX) {
		config_set_error(c, "--%s: given more than %d times", o->name, LIST_MAX);
		return -EINVAL;
	}
	char *copy = strdup(text);

	if (copy == NULL) {
		config_set_error(c, "--%s: out of memory", o->name);
		return -ENOMEM;
	}
	if (o->kind != KIND_LIST)
		value_clear(v);
	v->text[v->n++] = copy;
	v->number = number;
	return 0;
}

static int set_by_name(struct zs_config *c, const char *name, size_t len, const char *text)
{
	int k = key_find(name, len);

	if (k < 0) {
		config_set_error(c, "%.*s: no such option", (int)len, name);
		return k;
	}
	return value_set(c, k, text);
}

int zs_config_set(struct zs_config *c, const char *key, const char *text)
{
	return set_by_name(c, key, strlen(key), text != NULL ? text : "1");
}

/* One argument that begins with "--": how many of argv it uses, 0 if it is not ours. */
static int arg_take(struct zs_config *c, char **argv)
{
	const char *name = argv[0] + 2;
	size_t len = strcspn(name, "=");
	int k = key_find(name, len);
	int r;

	if (k < 0)
		return 0;
	if (name[len] == '=') {
		r = value_set(c, k, name + len + 1);
		return r < 0 ? r : 1;
	}
	if (options[k].kind == KIND_FLAG) {
		r = value_set(c, k, "1");
		return r < 0 ? r : 1;
	}
	if (argv[1] == NULL) {
		config_set_error(c, "--%s: its value is missing", options[k].name);
		return -EINVAL;
	}
	r = value_set(c, k, argv[1]);
	return r < 0 ? r : 2;
}

int zs_config_args(struct zs_config *c, int *argc, char **argv)
{
	int out = 1, in = 1, r;

	while (in < *argc && strcmp(argv[in], "--") != 0) {
		r = strncmp(argv[in], "--", 2) == 0 ? arg_take(c, argv + in) : 0;
		if (r < 0)
			return r;
		if (r == 0)
			argv[out++] = argv[in++];
		in += r;
	}
	while (in < *argc)
		argv[out++] = argv[in++];
	if (out < *argc)
		argv[out] = NULL;
	*argc = out;
	return 0;
}

const char *zs_config_usage(void)
{
	return "  --service PATH      attach to the zstackd that listens there; without it and "
	       "without\n"
	       "                      a port: ZSTACK_SOCKET, or the usual path. The others are for "
	       "a\n"
	       "                      stack in this program:\n"
	       "  --vdev SPEC         virtual port of DPDK, e.g. net_af_packet0,iface=veth0\n"
	       "  --port PCI          port by its PCI address\n"
	       "  --addr IP/LEN[@PORT[.VLAN]]\n"
	       "                      own address; these three can be given several times\n"
	       "  --gateway IP        default router\n"
	       "  --mode poll|thread  the program runs the stack, or a thread does\n"
	       "  --cores LIST        CPUs for stacks: 2 or 2,3 or 2-5\n"
	       "  --mtu BYTES         default: the port's\n"
	       "  --mem MIB           memory for packets\n"
	       "  --buffers MIB       memory for payload to send, for each core (64)\n"
	       "  --no-huge           use no hugepages\n"
	       "  --capture FILE      write all frames to FILE (pcapng)\n"
	       "  --congestion NAME   cubic or newreno\n"
	       "  --max-sockets N     (65536)\n"
	       "  --spin US           look so long for work before sleeping (50)\n"
	       "  --linger MS         wait so long at the end for acknowledgements (1000)\n";
}

/* One KEY=VALUE of the environment; what the program set stands. `set` tells which those are. */
static int environment_one(struct zs_config *c, char *item, const bool *set)
{
	char *eq = strchr(item, '=');
	size_t len = eq != NULL ? (size_t)(eq - item) : strlen(item);
	int k = key_find(item, len);

	if (k < 0) {
		config_set_error(c, "ZSTACK_CONFIG: %.*s: no such option", (int)len, item);
		return -EINVAL;
	}
	return set[k] ? 0 : value_set(c, k, eq != NULL ? eq + 1 : "1");
}

/* Options of a stack of one's own make no sense for somebody else's. */
static int service_check(struct zs_config *c)
{
	static const enum key own[] = {KEY_ADDR, KEY_GATEWAY, KEY_MODE,	   KEY_CORES,	  KEY_MTU,
				       KEY_MEM,	 KEY_NO_HUGE, KEY_CAPTURE, KEY_CONGESTION};

	if (c->v[KEY_VDEV].n + c->v[KEY_PORT].n > 0) {
		if (c->v[KEY_SERVICE].n == 0)
			return 0;
		config_set_error(c,
				 "--service %s: a program has either a service or ports of its "
				 "own (--vdev, --port)",
				 c->v[KEY_SERVICE].text[0]);
		return -EINVAL;
	}
	for (unsigned i = 0; i < array_size(own); i++) {
		if (c->v[own[i]].n == 0)
			continue;
		config_set_error(c,
				 "--%s needs a port: give --vdev SPEC (for example "
				 "net_af_packet0,iface=eth0) or --port PCI; or leave it out to "
				 "attach to a service, which has its own",
				 options[own[i]].name);
		return -EINVAL;
	}
	return 0;
}

const char *config_service(const struct zs_config *c)
{
	if (c->v[KEY_VDEV].n + c->v[KEY_PORT].n > 0)
		return NULL;
	return attach_path(c->v[KEY_SERVICE].text[0]);
}

static int environment_take(struct zs_config *c)
{
	const char *env = getenv("ZSTACK_CONFIG");
	bool set[KEY_COUNT];
	char *copy, *rest, *item;
	int r = 0;

	if (env == NULL)
		return 0;
	for (int k = 0; k < KEY_COUNT; k++)
		set[k] = c->v[k].n > 0;
	rest = copy = strdup(env);
	if (copy == NULL)
		return -ENOMEM;
	while (r == 0 && (item = strsep(&rest, ";")) != NULL) {
		if (*item != '\0')
			r = environment_one(c, item, set);
	}
	free(copy);
	return r;
}

/* Takes from the environment what is not set. */
int config_complete(struct zs_config *c)
{
	int r = environment_take(c);

	return r < 0 ? r : service_check(c);
}

/* Cores in a list like "2,4-6" as far as it is one: more than one thread is wanted, or not. */
static bool cores_many(const char *list)
{
	return list != NULL && strpbrk(list, ",-") != NULL;
}

static uint32_t number_or(const struct zs_config *c, enum key k, uint32_t otherwise)
{
	return c->v[k].n > 0 ? c->v[k].number : otherwise;
}

void config_embed(const struct zs_config *c, struct embed_cfg *out)
{
	const char *mode = c->v[KEY_MODE].text[0];

	*out = (struct embed_cfg){
		.vdevs = c->v[KEY_VDEV].text,
		.pci = c->v[KEY_PORT].text,
		.addrs = c->v[KEY_ADDR].text,
		.gateways = c->v[KEY_GATEWAY].text,
		.cores = c->v[KEY_CORES].text[0],
		.capture = c->v[KEY_CAPTURE].text[0],
		.congestion = c->v[KEY_CONGESTION].text[0],
		.mtu = number_or(c, KEY_MTU, 0),
		.mem_mb = number_or(c, KEY_MEM, 0),
		.max_sockets = number_or(c, KEY_MAX_SOCKETS, 65536),
		.spin_us = number_or(c, KEY_SPIN, SPIN_US),
		.linger_ms = number_or(c, KEY_LINGER, 1000),
		.no_huge = number_or(c, KEY_NO_HUGE, 0) != 0,
	};
	out->threaded = mode != NULL ? strcmp(mode, "thread") == 0 : cores_many(out->cores);
	chan_geometry_defaults(&out->geometry);
	out->geometry.max_sockets = out->max_sockets;
	out->geometry.arena_bytes = (uint64_t)number_or(c, KEY_BUFFERS, 64) << 20;
}

/* -1: the program did not say. */
int64_t config_spin_ns(const struct zs_config *c)
{
	return c->v[KEY_SPIN].n > 0 ? c->v[KEY_SPIN].number * 1000ll : -1;
}
