/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Addresses and routes, changed while everything runs: on all cores or on none. They last until the
 * service ends; the configuration file is the administrator's.
 */
#include <string.h>

#include "svc/admin.h"
#include "svc/shared.h"

typedef int (*route_fn)(struct service *s, const char *prefix, const char *via,
			const struct svc_err *err);

static enum admin_step answer(struct admin *a, int rc, const char *why, const char *what,
			      const char *subject)
{
	/* The sentence may be the command line's, whose options have dashes. */
	if (rc < 0)
		return admin_fail(a, rc, "%s", strncmp(why, "--", 2) == 0 ? why + 2 : why);
	svc_log("user %u: %s %s", (unsigned)a->uid, what, subject);
	admin_say(a, json_pack("{s:b}", "done", 1));
	return ADMIN_DONE;
}

enum admin_step admin_addr_add(struct admin *a)
{
	char why[256] = "";
	struct svc_err err = {why, sizeof(why)};
	const char *addr = admin_text(a, "addr", "");
	int rc = service_addr_add(a->s, addr, &err);

	return answer(a, rc, why, "addr add", addr);
}

enum admin_step admin_addr_del(struct admin *a)
{
	char why[256] = "";
	struct svc_err err = {why, sizeof(why)};
	const char *addr = admin_text(a, "addr", "");

	return answer(a, service_addr_del(a->s, addr, &err), why, "addr del", addr);
}

static enum admin_step route_change(struct admin *a, route_fn fn, const char *what)
{
	char why[256] = "";
	struct svc_err err = {why, sizeof(why)};
	const char *prefix = admin_text(a, "prefix", "");
	int rc = fn(a->s, prefix, admin_text(a, "via", ""), &err);

	return answer(a, rc, why, what, prefix);
}

enum admin_step admin_route_add(struct admin *a)
{
	return route_change(a, service_route_add, "route add");
}

enum admin_step admin_route_del(struct admin *a)
{
	return route_change(a, service_route_del, "route del");
}
