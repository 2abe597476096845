/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program leaves. That it is gone is told by its pidfd. A connection that ends alone is no proof:
 * a program may close descriptors that it does not know. Then its mappings decide, looked at at
 * once and every second (H31): a process that no longer maps our memory, because it executed
 * another program, has left. Its memory stays until the last buffer in it came home, also from
 * programs that had a link to it (link.c).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "svc/service.h"
#include "svc/shared.h"

#define LOOK_AGAIN_NS 1000000000
#define REAP_NS	      20000000
#define LAST_TURNS    16 /* of the stack, for commands of a program that is gone */

struct detach_call {
	struct app_chan *chan;
	bool orderly;
};

static void detach(struct node_core *core, void *arg)
{
	struct detach_call *d = arg;

	/* What it said last is still in the ring. */
	for (unsigned i = 0; d->orderly && i < LAST_TURNS && stack_poll(core->stack) != 0; i++)
		;
	stack_detach(core->stack, d->chan->app, d->chan->map.stack_bell_fd, d->orderly);
}

void app_detach(struct service *s, struct app *a, bool orderly, const char *why)
{
	if (a->state == APP_READY) {
		s->domain[a->domain].n_apps--;
		if (why != NULL)
			svc_log("%s (process %d, user %u) %s", a->program, (int)a->pid,
				(unsigned)a->uid, why);
	}
	if (a->sock >= 0) {
		service_unwatch(s, a->sock);
		close(a->sock);
		a->sock = -1;
	}
	if (a->pidfd >= 0) {
		service_unwatch(s, a->pidfd);
		close(a->pidfd);
		a->pidfd = -1;
	}
	a->state = APP_LEAVING;
	for (unsigned i = 0; i < s->node.n; i++) {
		struct detach_call d = {&a->chan[i], orderly};

		a->chan[i].home = a->chan[i].app == NULL;
		if (!a->chan[i].home)
			node_call(&s->node.core[i], detach, &d);
		a->chan[i].app = NULL;
	}
	links_leave(s, a);
	shared_app_gone(s, a);
}

struct reap_call {
	struct service *s;
	unsigned core;
};

static void chan_home(struct service *s, unsigned core, const struct chan_map *map)
{
	LIST_EACH (l, &s->apps) {
		struct app_chan *c = &container_of(l, struct app, link)->chan[core];

		if (&c->map == map)
			c->home = true;
	}
}

static void reap(struct node_core *core, void *arg)
{
	struct reap_call *r = arg;
	const struct chan_map *map;

	while ((map = stack_reaped(core->stack)) != NULL)
		chan_home(r->s, r->core, map);
}

static bool all_home(const struct service *s, const struct app *a)
{
	for (unsigned i = 0; i < s->node.n; i++)
		if (!a->chan[i].home)
			return false;
	return true;
}

/* Does the process still map our memory? /proc says which files, by device and inode. */
bool app_still_maps(const struct app *a)
{
	char path[64], line[512], dev[16];
	unsigned long inode;
	struct stat st;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)a->pid);
	f = fopen(path, "re");
	if (f == NULL || fstat(a->chan[0].rings.fd, &st) < 0) {
		if (f != NULL)
			fclose(f);
		return f == NULL && errno != ENOENT && errno != ESRCH;
	}
	while (!found && fgets(line, sizeof(line), f) != NULL)
		found = sscanf(line, "%*s %*s %*s %15s %lu", dev, &inode) == 2 &&
			inode == (unsigned long)st.st_ino && strstr(line, "zstack-rings") != NULL;
	fclose(f);
	return found;
}

/* Before Linux 6.5 a process is known by its number alone, which may be another's when the pidfd is
 * opened. Who lives now has had it since then, and /proc says of that one what it has mapped. */
bool app_is_watched(const struct app *a)
{
	struct pollfd p = {.fd = a->pidfd, .events = POLLIN};

	return !a->by_number || (app_still_maps(a) && poll(&p, 1, 0) == 0);
}

static void gone(struct service *s, struct app *a)
{
	s->n.died++;
	app_detach(s, a, true, "is gone");
}

void app_lost(struct service *s, struct app *a)
{
	service_unwatch(s, a->sock);
	close(a->sock);
	a->sock = -1;
	a->lost = true;
	/* The kernel gives up the memory of who executes or ends before it closes descriptors. */
	if (!app_still_maps(a))
		gone(s, a);
}

static void look_after(struct service *s, struct app *a, int64_t now)
{
	if (a->state == APP_LEAVING && a->n_links == 0 && all_home(s, a)) {
		app_free(s, a);
		return;
	}
	if (a->state < APP_FORKED && now > a->deadline_ns)
		app_detach(s, a, false, NULL);
	else if (a->lost && a->state == APP_READY && !app_still_maps(a))
		gone(s, a);
}

int64_t apps_reap(struct service *s)
{
	int64_t again = -1, now = node_now_ns();
	bool leaving = false;

	LIST_EACH (l, &s->apps)
		leaving |= container_of(l, struct app, link)->state == APP_LEAVING;
	for (unsigned i = 0; leaving && i < s->node.n; i++)
		node_call(&s->node.core[i], reap, &(struct reap_call){s, i});
	for (struct list *l = s->apps.next, *next; l != &s->apps; l = next) {
		next = l->next;
		look_after(s, container_of(l, struct app, link), now);
	}
	LIST_EACH (l, &s->apps) {
		const struct app *a = container_of(l, struct app, link);
		/* What a neighbour holds of it is told by that. */
		int64_t wait = a->state == APP_LEAVING		  ? (a->n_links == 0 ? REAP_NS : -1)
			       : a->state < APP_FORKED || a->lost ? LOOK_AGAIN_NS
								  : -1;

		if (wait >= 0 && (again < 0 || wait < again))
			again = wait;
	}
	return again;
}

void apps_free(struct service *s)
{
	while (!list_empty(&s->apps))
		app_free(s, container_of(s->apps.next, struct app, link));
}
