/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See svc_cfg.h. Nothing is guessed: what is not wholly understood is refused.
 */
#define _GNU_SOURCE
#include "svc/svc_cfg.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/eth.h"

int svc_fail(const struct svc_err *err, int rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, err->len, fmt, ap);
	va_end(ap);
	return rc;
}

/* A decimal number up to max at *p; moves *p behind it. */
static bool number(const char **p, unsigned long max, unsigned long *out)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*out = strtoul(*p, &end, 10);
	if (errno != 0 || *out > max)
		return false;
	*p = end;
	return true;
}

#define ADDR_FORM "write IP/LEN, or IP/LEN@PORT.VLAN, for example 10.0.0.2/24 or fd00::2/64"

/* "@PORT[.VLAN]" or nothing. These return what is wrong, NULL: nothing. */
static const char *place_parse(const char *p, struct svc_addr *out)
{
	unsigned long v;

	if (*p == '\0')
		return NULL;
	if (*p++ != '@')
		return ADDR_FORM;
	if (!number(&p, UINT8_MAX, &v))
		return "behind @ comes the port's number, counted from 0";
	out->port = (uint16_t)v;
	if (*p == '.') {
		p++;
		if (!number(&p, 4094, &v) || v == 0)
			return "a VLAN has a number from 1 to 4094";
		out->vlan = (uint16_t)v;
	}
	return *p == '\0' ? NULL : ADDR_FORM;
}

static const char *addr_parse(const char *text, struct svc_addr *out)
{
	const char *slash = strchr(text, '/'), *p;
	char ip[ADDR_TEXT_MAX];
	unsigned long len;
	bool v4;

	if (slash == NULL || (size_t)(slash - text) >= sizeof(ip))
		return ADDR_FORM;
	snprintf(ip, sizeof(ip), "%.*s", (int)(slash - text), text);
	p = slash + 1;
	if (ip_addr_parse(ip, &out->addr) < 0)
		return ADDR_FORM;
	v4 = ip_addr_is_v4(&out->addr);
	if (!number(&p, v4 ? 32 : 128, &len))
		return v4 ? "the prefix of an IPv4 address has a length from 0 to 32"
			  : "the prefix of an IPv6 address has a length from 0 to 128";
	out->prefix_len = (uint8_t)len;
	return place_parse(p, out);
}

const char *svc_addr_wrong(const char *text, struct svc_addr *out)
{
	*out = (struct svc_addr){0};
	return addr_parse(text, out);
}

int svc_addr_parse(const char *text, struct svc_addr *out, char *err, size_t err_len)
{
	const char *wrong = svc_addr_wrong(text, out);

	if (wrong == NULL)
		return 0;
	snprintf(err, err_len, "--addr %s: %s", text, wrong);
	return -EINVAL;
}

const char *svc_gateway_wrong(const char *text, struct ip_addr *out)
{
	return ip_addr_parse(text, out) == 0 ? NULL : "write an IP address, for example 10.0.0.1";
}

int svc_gateway_parse(const char *text, struct ip_addr *out, char *err, size_t err_len)
{
	const char *wrong = svc_gateway_wrong(text, out);

	if (wrong == NULL)
		return 0;
	snprintf(err, err_len, "--gateway %s: %s", text, wrong);
	return -EINVAL;
}

#define SHARE_FORM "write IFACE or IFACE@PORT, for example zs0 or zs1@1"

static const char *share_parse(const char *text, struct svc_share *out)
{
	size_t n = strcspn(text, "@");
	const char *p = text + n;
	unsigned long v;

	if (n == 0)
		return SHARE_FORM;
	if (n >= sizeof(out->iface))
		return "the name of an interface has at most 15 letters";
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
			return "the name of an interface is of letters, digits, - _ and .";
	memcpy(out->iface, text, n);
	if (*p == '\0')
		return NULL;
	p++;
	if (!number(&p, UINT8_MAX, &v) || *p != '\0')
		return "behind @ comes the port's number, counted from 0";
	out->port = (uint16_t)v;
	return NULL;
}

int svc_share_parse(const char *text, struct svc_share *out, char *err, size_t err_len)
{
	const char *wrong;

	*out = (struct svc_share){.port = 0};
	wrong = share_parse(text, out);
	if (wrong == NULL)
		return 0;
	snprintf(err, err_len, "--share %s: %s", text, wrong);
	return -EINVAL;
}

static const char *cpus_add(const cpu_set_t *may, unsigned long from, unsigned long to,
			    unsigned *cpu, unsigned *n)
{
	if (from > to)
		return "a range goes from low to high";
	for (; from <= to; from++) {
		if (!CPU_ISSET(from, may))
			return "this process may not run on one of them";
		for (unsigned i = 0; i < *n; i++)
			if (cpu[i] == from)
				return "one stands there twice";
		if (*n == SVC_CPUS_MAX)
			return "these are too many";
		cpu[(*n)++] = (unsigned)from;
	}
	return NULL;
}

int svc_cpus_parse(const char *text, unsigned cpu[SVC_CPUS_MAX], unsigned *n, char *err,
		   size_t err_len)
{
	const char *p = text, *why = "write CPU numbers, for example 0,2-3";
	unsigned long from, to;
	cpu_set_t may;

	*n = 0;
	if (sched_getaffinity(0, sizeof(may), &may) < 0)
		goto bad;
	do {
		if (!number(&p, CPU_SETSIZE - 1, &from))
			goto bad;
		to = from;
		if (*p == '-') {
			p++;
			if (!number(&p, CPU_SETSIZE - 1, &to))
				goto bad;
		}
		if (*p != '\0' && *p != ',')
			goto bad;
		why = cpus_add(&may, from, to, cpu, n);
		if (why != NULL)
			goto bad;
		why = "write CPU numbers, for example 0,2-3";
	} while (*p++ == ',');
	return 0;
bad:
	snprintf(err, err_len, "--cores %s: %s", text, why);
	return -EINVAL;
}
