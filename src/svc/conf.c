/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstackd's configuration: one table of keys, which are options of the command line (--addr X) and
 * lines of the section [node] of the file (addr = X). The file is read first; what the command line
 * says stands. Trust domains are sections [domain NAME] of the file, or --allow USERS.
 *
 * Errors name what was written where: "zstackd.conf:12: mtu = x: ...", "--mtu x: ...".
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svc/service.h"

enum kind { TEXT, NUMBER, FLAG, LIST };

static const struct key {
	const char *name;
	enum kind kind;
	size_t at; /* in struct service_cfg */
	uint32_t min, max;
	const char *arg, *help;
	size_t lines; /* in struct service_cfg, where the values are; 0: nobody asks */
} keys[] = {
#define NODE(field) offsetof(struct service_cfg, node.field)
	{"vdev", LIST, NODE(vdevs), 0, 0, "SPEC", "virtual port: net_af_packet0,iface=veth0"},
	{"port", LIST, NODE(pci), 0, 0, "PCI", "port by its PCI address"},
	{"addr", LIST, NODE(addrs), 0, 0, "IP/LEN[@PORT[.VLAN]]", "own address",
	 offsetof(struct service_cfg, addr_line)},
	{"gateway", LIST, NODE(gateways), 0, 0, "IP", "default router",
	 offsetof(struct service_cfg, gateway_line)},
	{"share", LIST, offsetof(struct service_cfg, shares), 0, 0, "IFACE[@PORT]",
	 "share a port's addresses with the kernel, at an interface IFACE that is made for it"},
	{"cores", TEXT, NODE(cores), 0, 0, "LIST", "CPUs for stacks: 2 or 2,3 or 2-5"},
	{"mtu", NUMBER, NODE(mtu), 68, 65535, "BYTES", "default: the port's"},
	{"mem", NUMBER, NODE(mem_mb), 1, 1u << 20, "MIB", "memory for packets"},
	{"no-huge", FLAG, NODE(no_huge), 0, 1, NULL, "use no hugepages"},
	{"capture", TEXT, NODE(capture), 0, 0, "FILE", "write all frames to FILE (pcapng)"},
	{"congestion", TEXT, NODE(congestion), 0, 0, "NAME", "cubic or newreno"},
	{"max-sockets", NUMBER, NODE(max_sockets), 1, 1u << SID_INDEX_BITS, "N",
	 "of all programs, on each core (1048576)"},
	{"spin", NUMBER, NODE(spin_us), 0, 1000000, "US",
	 "look so long for work before sleeping (50)"},
	{"linger", NUMBER, NODE(linger_ms), 0, 3600000, "MS",
	 "wait so long at the end for acknowledgements (1000)"},
	{"metrics", TEXT, offsetof(struct service_cfg, metrics), 0, 0, "IP:PORT",
	 "Prometheus text by HTTP, on the host's network"},
	{"telemetry", FLAG, offsetof(struct service_cfg, telemetry), 0, 1, NULL,
	 "DPDK's telemetry, with /zstack/counters"},
	{"same-node", FLAG, offsetof(struct service_cfg, same_node), 0, 1, NULL,
	 "shared memory between programs of a domain (yes; --same-node=no)"},
	{"socket", TEXT, offsetof(struct service_cfg, socket), 0, 0, "PATH",
	 "where programs attach (" ATTACH_PATH "), @NAME: abstract"},
#undef NODE
};

/* Where an error is. */
struct place {
	const char *file; /* NULL: the command line */
	int line;
	const struct svc_err *err;
};

__attribute__((format(printf, 4, 5))) static int fail(const struct place *p, const char *name,
						      const char *value, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (p->file == NULL)
		return svc_fail(p->err, -EINVAL, "--%s %s: %s", name, value, why);
	return svc_fail(p->err, -EINVAL, "%s:%d: %s = %s: %s", p->file, p->line, name, value, why);
}

int conf_fail(const struct service_cfg *cfg, int line, const char *name, const char *value,
	      const struct svc_err *err, const char *fmt, ...)
{
	struct place p = {.file = line != 0 ? cfg->file : NULL, .line = line, .err = err};
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	return fail(&p, name, value, "%s", why);
}

static void *field(struct service_cfg *cfg, const struct key *k)
{
	return (char *)cfg + k->at;
}

static void list_clear(const char *const **list)
{
	for (unsigned i = 0; i < svc_count(*list); i++)
		free((char *)(uintptr_t)(*list)[i]);
	free((void *)(uintptr_t)*list);
	*list = NULL;
}

/* The next value of a list is in this line. */
static void line_note(struct service_cfg *cfg, const struct key *k, const struct place *p)
{
	unsigned n = svc_count(*(const char *const *const *)field(cfg, k));

	if (k->lines != 0)
		((int *)((char *)cfg + k->lines))[n] = p->file != NULL ? p->line : 0;
}

static int list_add(const char *const **list, const char *value)
{
	unsigned n = svc_count(*list);
	const char **grown = realloc((void *)(uintptr_t)*list, (n + 2) * sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	grown[n] = strdup(value);
	grown[n + 1] = NULL;
	*list = grown;
	return grown[n] != NULL ? 0 : -ENOMEM;
}

static int number_set(const struct place *p, const char *name, const char *value, uint32_t min,
		      uint64_t max, uint64_t *out)
{
	char *end;

	errno = 0;
	*out = isdigit((unsigned char)*value) ? strtoull(value, &end, 10) : 0;
	if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0 || *out < min ||
	    *out > max)
		return fail(p, name, value, "give a number from %u to %llu", min,
			    (unsigned long long)max);
	return 0;
}

static int set(struct service_cfg *cfg, const struct key *k, const char *value,
	       const struct place *p)
{
	const char **text = field(cfg, k);
	uint64_t n;
	int rc = 0;

	if (*value == '\0' && k->kind != FLAG)
		return fail(p, k->name, value, "its value is missing");
	switch (k->kind) {
	case TEXT:
		free((char *)(uintptr_t)*text);
		*text = strdup(value);
		return *text != NULL ? 0 : -ENOMEM;
	case LIST:
		if (svc_count(*(const char *const **)field(cfg, k)) == CONF_LIST_MAX)
			return fail(p, k->name, value, "at most %d of these", CONF_LIST_MAX);
		line_note(cfg, k, p);
		return list_add(field(cfg, k), value);
	case NUMBER:
		rc = number_set(p, k->name, value, k->min, k->max, &n);
		if (rc == 0)
			*(uint32_t *)field(cfg, k) = (uint32_t)n;
		return rc;
	case FLAG:
		if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
			return fail(p, k->name, value, "say yes or no");
		*(bool *)field(cfg, k) = strcmp(value, "yes") == 0;
		return 0;
	}
	return rc;
}

static const struct key *key_find(const char *name, size_t len)
{
	for (unsigned i = 0; i < array_size(keys); i++)
		if (strlen(keys[i].name) == len && memcmp(keys[i].name, name, len) == 0)
			return &keys[i];
	return NULL;
}

/* ---- the file ---- */

struct reading {
	struct service_cfg *cfg;
	struct place place;
	FILE *f;
	int rc; /* of the first line that is wrong */
	int at; /* which it is */
	struct {
		char name[64];
		int line;
	} domain[POLICY_DOMAINS_MAX + 1]; /* as they begin */
	unsigned n_domains;
};

/* A domain is said in one place: what stands in two may be of two hands. */
static int domain_begins(struct reading *r, const char *name, int len)
{
	for (unsigned i = 0; i < r->n_domains; i++)
		if (strlen(r->domain[i].name) == (size_t)len &&
		    memcmp(r->domain[i].name, name, (size_t)len) == 0)
			return svc_fail(r->place.err, -EINVAL,
					"%s:%d: [domain %.*s] is there already, in line %d",
					r->place.file, r->place.line, len, name, r->domain[i].line);
	/* More of them, and longer names, are refused when they get a key. */
	if (r->n_domains == array_size(r->domain) || len >= (int)sizeof(r->domain[0].name))
		return 0;
	memcpy(r->domain[r->n_domains].name, name, (size_t)len);
	r->domain[r->n_domains].name[len] = '\0';
	r->domain[r->n_domains++].line = r->place.line;
	return 0;
}

/* inih tells of sections with their first key only. */
static int section_look(struct reading *r, const char *line)
{
	static const char begin[] = "[domain ";
	const char *end;

	line += strspn(line, " \t");
	if (strncmp(line, begin, sizeof(begin) - 1) != 0)
		return 0;
	line += sizeof(begin) - 1;
	end = strchr(line, ']');
	return end != NULL ? domain_begins(r, line, (int)(end - line)) : 0;
}

/* inih does not tell its handler the line, so lines are counted where they are read; and would take
 * what is left of a long one for the next. */
static char *line_read(char *line, int len, void *arg)
{
	struct reading *r = arg;
	size_t n;

	r->place.line++;
	if (r->rc < 0 || fgets(line, len, r->f) == NULL)
		return NULL;
	n = strlen(line);
	r->at = r->place.line;
	r->rc = section_look(r, line);
	if (r->rc < 0)
		return NULL;
	if (n + 1 < (size_t)len || line[n - 1] == '\n')
		return line;
	r->rc = svc_fail(r->place.err, -EINVAL, "%s:%d: longer than %d letters", r->place.file,
			 r->at, len - 2);
	return NULL;
}

static int domain_users(struct policy_domain *d, const char *value, const struct place *p)
{
	char why[200];
	struct svc_err err = {why, sizeof(why)};
	int rc = policy_users_add(d, value, &err);

	return rc < 0 ? fail(p, "users", value, "%s", why) : 0;
}

static int domain_key(struct policy_domain *d, const char *name, const char *value,
		      const struct place *p)
{
	char why[200];
	struct svc_err err = {why, sizeof(why)};
	uint64_t n;
	int rc;

	if (strcmp(name, "users") == 0)
		return domain_users(d, value, p);
	if (strcmp(name, "bind") == 0) {
		rc = policy_rules_add(d, value, &err);
		return rc < 0 ? fail(p, name, value, "%s", why) : 0;
	}
	if (strcmp(name, "memory") == 0) {
		rc = number_set(p, name, value, 1, 1u << 20, &n);
		d->memory_bytes = n << 20;
		return rc;
	}
	if (strcmp(name, "sockets") == 0) {
		rc = number_set(p, name, value, 1, 1u << SID_INDEX_BITS, &n);
		d->max_sockets = (uint32_t)n;
		return rc;
	}
	if (strcmp(name, "programs") == 0) {
		rc = number_set(p, name, value, 1, 100000, &n);
		d->max_programs = (uint32_t)n;
		return rc;
	}
	return fail(p, name, value,
		    "no such key: a domain has users, bind, memory, sockets, programs");
}

static struct policy_domain *domain_of(struct policy *p, const char *name,
				       const struct svc_err *err)
{
	for (unsigned i = 0; i < p->n_domains; i++)
		if (strcmp(p->domain[i].name, name) == 0)
			return &p->domain[i];
	return policy_domain_add(p, name, err);
}

static int line_take(void *arg, const char *section, const char *name, const char *value)
{
	struct reading *r = arg;
	const struct key *k = key_find(name, strlen(name));
	struct policy_domain *d;

	if (strncmp(section, "domain ", 7) == 0) {
		d = domain_of(&r->cfg->policy, section + 7, r->place.err);
		r->rc = d == NULL ? -EINVAL : domain_key(d, name, value, &r->place);
	} else if (strcmp(section, "node") != 0) {
		r->rc = fail(&r->place, name, value,
			     "in section [%s]; there are [node] and [domain NAME]", section);
	} else if (k == NULL) {
		r->rc = fail(&r->place, name, value, "no such key; zstackd --help names them");
	} else {
		r->rc = set(r->cfg, k, value, &r->place);
	}
	r->at = r->place.line;
	return r->rc == 0;
}

static int file_read(struct service_cfg *cfg, const char *path, const struct svc_err *err)
{
	struct reading r = {.cfg = cfg, .place = {.file = path, .err = err}};
	int bad;

	r.f = fopen(path, "re");
	if (r.f == NULL)
		return svc_fail(err, -errno, "-c %s: %s", path, strerror(errno));
	bad = ini_parse_stream(line_read, &r, line_take, &r);
	fclose(r.f);
	if (bad > 0 && (r.rc == 0 || bad < r.at))
		r.rc = svc_fail(err, -EINVAL, "%s:%d: neither [SECTION] nor KEY = VALUE", path,
				bad);
	return r.rc;
}

/* ---- the command line ---- */

static void help(void)
{
	printf("usage: zstackd [-c FILE] [OPTION]...\n"
	       "The stack as a service: programs with libzstack attach to it.\n\n"
	       "  -c FILE             read the configuration from FILE; options override it\n");
	for (unsigned i = 0; i < array_size(keys); i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s%s%s", keys[i].name,
			 keys[i].arg != NULL ? " " : "", keys[i].arg != NULL ? keys[i].arg : "");
		printf("  %-19s %s%s\n", left, strlen(left) > 19 ? "\n                      " : "",
		       keys[i].help);
	}
	printf("  --allow USERS       a trust domain: users with commas, * = all; repeatable\n"
	       "                      (the user who runs zstackd)\n"
	       "  --version           say which version this is\n"
	       "--vdev, --port, --addr, --gateway can be given several times.\n"
	       "In the file: the same names as KEY = VALUE in [node], and [domain NAME] with\n"
	       "users, bind, memory, sockets, programs. See zstackd(8).\n");
}

static int allow(struct service_cfg *cfg, const char *users, const struct place *p)
{
	char name[16], why[200];
	struct svc_err err = {why, sizeof(why)};
	struct policy_domain *d;

	snprintf(name, sizeof(name), "allow%u", cfg->policy.n_domains + 1);
	d = policy_domain_add(&cfg->policy, name, &err);
	if (d == NULL || policy_users_add(d, users, &err) < 0)
		return fail(p, "allow", users, "%s", why);
	return 0;
}

/* What the command line says replaces the file's list, once. */
static void override(struct service_cfg *cfg, const struct key *k, bool *seen)
{
	if (k->kind == LIST && !seen[k - keys])
		list_clear(field(cfg, k));
	seen[k - keys] = true;
}

/* One option; *used: how many arguments. */
static int option(struct service_cfg *cfg, char **argv, bool *seen, const struct place *p,
		  int *used)
{
	const char *name = argv[0] + 2, *value = strchr(name, '=');
	size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
	const struct key *k = strncmp(argv[0], "--", 2) == 0 ? key_find(name, len) : NULL;
	bool is_allow = strncmp(argv[0], "--", 2) == 0 && len == 5 && memcmp(name, "allow", 5) == 0;

	*used = 1;
	if (k == NULL && !is_allow)
		return svc_fail(p->err, -EINVAL, "%s: no such option; zstackd --help names them",
				argv[0]);
	if (value != NULL) {
		value++;
	} else if (k != NULL && k->kind == FLAG) {
		value = "yes";
	} else {
		value = argv[1];
		*used = 2;
	}
	if (value == NULL)
		return svc_fail(p->err, -EINVAL, "%s: its value is missing", argv[0]);
	if (is_allow)
		return allow(cfg, value, p);
	override(cfg, k, seen);
	return set(cfg, k, value, p);
}

static void defaults(struct service_cfg *cfg)
{
	cfg->node.spin_us = 50;
	cfg->node.linger_ms = 1000;
	cfg->node.threaded = true;
	cfg->same_node = true;
}

int conf_parse(int argc, char **argv, struct service_cfg *cfg, const struct svc_err *err)
{
	struct place p = {.err = err};
	bool seen[array_size(keys)] = {false};
	int rc = 0, used;

	defaults(cfg);
	for (int i = 1; i < argc && rc == 0; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
			help();
			return 1;
		}
		if (strcmp(argv[i], "-c") != 0)
			continue;
		if (argv[i + 1] == NULL)
			return svc_fail(err, -EINVAL, "-c: the name of the file is missing");
		cfg->file = argv[i + 1];
		rc = file_read(cfg, cfg->file, err);
	}
	for (int i = 1; i < argc && rc == 0; i += used) {
		used = 2;
		if (strcmp(argv[i], "-c") != 0)
			rc = option(cfg, argv + i, seen, &p, &used);
	}
	if (rc == 0 && cfg->socket == NULL) {
		cfg->socket = strdup(ATTACH_PATH);
		rc = cfg->socket != NULL ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = conf_check(cfg, err);
	return rc == 0 ? policy_complete(&cfg->policy, err) : rc;
}

void conf_free(struct service_cfg *cfg)
{
	for (unsigned i = 0; i < array_size(keys); i++) {
		const char **text = field(cfg, &keys[i]);

		if (keys[i].kind == LIST)
			list_clear(field(cfg, &keys[i]));
		else if (keys[i].kind == TEXT)
			free((char *)(uintptr_t)*text);
	}
}

/* ---- what differs ---- */

/* Addresses and gateways change while everything runs. */
static bool is_fixed(const struct key *k)
{
	return k->at != offsetof(struct service_cfg, node.addrs) &&
	       k->at != offsetof(struct service_cfg, node.gateways);
}

static const struct key *fixed_at(unsigned n)
{
	for (unsigned i = 0; i < array_size(keys); i++)
		if (is_fixed(&keys[i]) && n-- == 0)
			return &keys[i];
	return NULL;
}

const char *conf_fixed_key(unsigned n)
{
	const struct key *k = fixed_at(n);

	return k != NULL ? k->name : NULL;
}

static bool texts_differ(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a != b : strcmp(a, b) != 0;
}

bool conf_differs(struct service_cfg *a, struct service_cfg *b, unsigned n)
{
	const struct key *k = fixed_at(n);
	const void *x = field(a, k), *y = field(b, k);
	const char *const *p, *const *q;

	switch (k->kind) {
	case TEXT:
		return texts_differ(*(const char *const *)x, *(const char *const *)y);
	case NUMBER:
		return *(const uint32_t *)x != *(const uint32_t *)y;
	case FLAG:
		return *(const bool *)x != *(const bool *)y;
	case LIST:
		p = *(const char *const *const *)x;
		q = *(const char *const *const *)y;
		if (svc_count(p) != svc_count(q))
			return true;
		for (unsigned i = 0; i < svc_count(p); i++)
			if (strcmp(p[i], q[i]) != 0)
				return true;
	}
	return false;
}
