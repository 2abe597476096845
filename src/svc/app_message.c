/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program may say, and when (H32): its connection brings messages (attach.h), each of which
 * is taken in the states of its session that the table names, and in no other. Who says anything
 * else is detached, and nobody but it notices.
 *
 *	connects ──► NEW ── HELLO ──► MAPPING ── MAPPED ───►┐
 *	              │ └── ADMIN: it is no program          ├──► READY ── BYE, its end ──► LEAVING
 *	              └──── RESUME: it is one that is  ────►│                 (it has no connection)
 *	its parent's FORK ──────────► FORKED ─── MAPPED ───►┘
 *	                                 └── DROP
 */
#include <errno.h>

#include "base/assert.h"
#include "svc/service.h"

/* No program: a manager's connection, which begins with its first request. */
static void become_admin(struct service *s, struct app *a, struct attach_msg *m)
{
	int sock = a->sock;

	service_unwatch(s, sock);
	a->sock = -1;
	app_free(s, a);
	admin_accept(s, sock, m);
}

static void take_bye(struct service *s, struct app *a, struct attach_msg *m)
{
	(void)m;
	app_detach(s, a, true, "left");
}

#define IN(state) (1u << (state))
#define ANY	  (IN(APP_NEW) | IN(APP_MAPPING) | IN(APP_FORKED) | IN(APP_READY))

static const struct may_say {
	enum attach_type type;
	unsigned states;
	void (*take)(struct service *s, struct app *a, struct attach_msg *m);
} may_say[] = {
	{ATTACH_ADMIN, IN(APP_NEW), become_admin},
	{ATTACH_HELLO, IN(APP_NEW), app_take_hello},
	{ATTACH_RESUME, IN(APP_NEW), app_take_resume},
	{ATTACH_MAPPED, IN(APP_MAPPING), app_take_mapped},
	{ATTACH_MAPPED, IN(APP_FORKED), app_take_child},
	{ATTACH_DROP, IN(APP_FORKED), app_take_drop},
	{ATTACH_GRANT, IN(APP_READY), app_take_grant},
	{ATTACH_FORK, IN(APP_READY), app_take_fork},
	{ATTACH_PASS, IN(APP_READY), keeper_take},
	{ATTACH_REDEEM, IN(APP_READY), keeper_give},
	{ATTACH_ENDS, IN(APP_READY), keeper_ends},
	{ATTACH_LINKED, IN(APP_READY), app_take_linked},
	{ATTACH_LINK_BAD, IN(APP_READY), app_take_link_bad},
	{ATTACH_LINK_FREE, IN(APP_READY), app_take_link_free},
	{ATTACH_REGION, IN(APP_READY), app_take_region},
	{ATTACH_BYE, ANY, take_bye},
};

static void take_message(struct service *s, struct app *a, struct attach_msg *m)
{
	for (unsigned i = 0; i < array_size(may_say); i++) {
		const struct may_say *row = &may_say[i];

		if (row->type == m->head.type && (row->states & IN(a->state))) {
			row->take(s, a, m);
			return;
		}
	}
	app_detach(s, a, false, "made no sense and was detached");
}

/* Its connection ended, or brought nonsense. */
static void control_lost(struct service *s, struct app *a, int err)
{
	if (err == -EPROTONOSUPPORT && a->state == APP_NEW) {
		app_refuse(s, a, err,
			   "the program's libzstack and this zstackd (version %d) are of different "
			   "versions: update both",
			   ATTACH_VERSION);
		return;
	}
	if (a->state == APP_FORKED && err == -ECONNRESET) {
		app_detach(s, a, true, NULL); /* there is no child */
		return;
	}
	if (a->state != APP_READY || err != -ECONNRESET) {
		app_detach(s, a, false, "made no sense and was detached");
		return;
	}
	app_lost(s, a);
}

void app_control_ready(struct service *s, struct source *src, uint32_t events)
{
	struct app *a = container_of(src, struct app, control);
	struct attach_msg m;
	int rc = attach_recv(a->sock, &m, MSG_DONTWAIT);

	(void)events;
	if (rc == -EAGAIN)
		return;
	if (rc < 0) {
		control_lost(s, a, rc);
		return;
	}
	take_message(s, a, &m);
	attach_close_fds(&m); /* what is kept of them is a duplicate */
}
