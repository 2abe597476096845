/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program closed descriptors that it did not know, ours among them, as many do when they go into
 * the background. Its mappings are still there, and so is its application here. On a new connection
 * it gets the descriptors again; which process it is the kernel says (SO_PEERCRED), and that it is
 * still the program that it was, its mappings.
 */
#include <errno.h>
#include <unistd.h>

#include "svc/service.h"

static struct app *known(struct service *s, const struct app *a)
{
	LIST_EACH (l, &s->apps) {
		struct app *o = container_of(l, struct app, link);

		if (o->state == APP_READY && o->pid == a->pid)
			return app_still_maps(o) ? o : NULL;
	}
	return NULL;
}

static void control_close(struct service *s, struct app *a)
{
	if (a->sock >= 0) {
		service_unwatch(s, a->sock);
		close(a->sock);
	}
	a->sock = -1;
	a->lost = true;
}

static int control_move(struct service *s, struct app *to, int sock)
{
	control_close(s, to);
	to->sock = sock;
	to->lost = false;
	return service_watch(s, &to->control, sock);
}

void app_take_resume(struct service *s, struct app *a, struct attach_msg *m)
{
	struct app *old = known(s, a);
	int sock = a->sock;

	(void)m;
	if (old == NULL) {
		app_detach(s, a, false, NULL);
		return;
	}
	service_unwatch(s, sock);
	a->sock = -1;
	app_free(s, a);
	/* It may be impatient, and have dialled again: then that is the next message. */
	if (control_move(s, old, sock) < 0 || app_welcome(s, old, sock, -1) < 0)
		control_close(s, old);
	else
		svc_log("%s (process %d, user %u) has its descriptors again", old->program,
			(int)old->pid, (unsigned)old->uid);
}
