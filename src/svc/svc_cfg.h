/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The texts of the configuration as numbers. Each function returns 0, or -EINVAL with one sentence
 * that names the option and shows the right form.
 */
#ifndef ZS_SVC_SVC_CFG_H
#define ZS_SVC_SVC_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "wire/addr.h"

/* What went wrong, for the user: one sentence. */
struct svc_err {
	char *text;
	size_t len;
};
/* Writes the sentence, returns rc. */
__attribute__((format(printf, 3, 4))) int svc_fail(const struct svc_err *err, int rc,
						   const char *fmt, ...);

/* Texts of a list that ends with NULL; NULL is an empty one. */
static inline unsigned svc_count(const char *const *list)
{
	unsigned n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* IP/LEN[@PORT[.VLAN]] */
struct svc_addr {
	struct ip_addr addr;
	uint8_t prefix_len;
	uint16_t port, vlan;
};
int svc_addr_parse(const char *text, struct svc_addr *out, char *err, size_t err_len) must_check;
int svc_gateway_parse(const char *text, struct ip_addr *out, char *err, size_t err_len) must_check;
/* The same; what is wrong, NULL: nothing. */
const char *svc_addr_wrong(const char *text, struct svc_addr *out) must_check;
const char *svc_gateway_wrong(const char *text, struct ip_addr *out) must_check;

/* IFACE[@PORT] */
struct svc_share {
	char iface[16];
	uint16_t port;
};
int svc_share_parse(const char *text, struct svc_share *out, char *err, size_t err_len) must_check;

#define SVC_CPUS_MAX 16
/* "0,2-3": at most SVC_CPUS_MAX different CPUs that this process may run on. */
int svc_cpus_parse(const char *text, unsigned cpu[SVC_CPUS_MAX], unsigned *n, char *err,
		   size_t err_len) must_check;

#endif
