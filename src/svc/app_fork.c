/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program makes a child. Before it does, it asks for an application for the child; that is
 * attached at once, so that the parent can share its sockets with it over its own channel
 * (sock_share.h), and everything is there when fork returns, whether or not the parent lives on.
 * The child maps its memory when it first uses a socket, and says so on a connection of its own; by
 * the credentials of that message, and the pidfd that comes with it, the service knows the process.
 * Until then, and for ever if it uses none, that connection's end tells that it is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "svc/service.h"

static void refuse_fork(struct service *s, struct app *parent, int err, const char *why)
{
	struct attach_refused r = {.err = err};

	s->n.refused++;
	strncpy(r.text, why, sizeof(r.text) - 1);
	(void)!attach_send(parent->sock, ATTACH_REFUSED, &r, sizeof(r), NULL, 0);
}

/* As its parent, as far as that is known. */
static void inherit(struct app *a, const struct app *parent)
{
	a->state = APP_FORKED;
	a->uid = parent->uid;
	a->netns = parent->netns;
	a->zone = parent->zone;
	a->domain = parent->domain;
	a->no_links = parent->no_links;
	memcpy(a->program, parent->program, sizeof(a->program));
}

static int make(struct service *s, struct app *a, const struct app *parent)
{
	const struct chan_hdr *h = &parent->chan[0].hdr;
	struct chan_geometry g = {
		.sq_size = h->sq_size,
		.cq_size = h->cq_size,
		.ret_size = h->ret_size,
		.done_size = h->done_size,
		.max_loans = h->max_loans,
		.max_tokens = h->max_tokens,
		.max_sockets = h->max_sockets,
		.arena_bytes = h->arena_bytes,
	};
	int one = 1, rc;

	inherit(a, parent);
	rc = app_make_channels(s, a, &g, NULL, 0);
	if (rc == 0)
		rc = app_attach(s, a, parent);
	if (rc == 0)
		rc = service_watch(s, &a->control, a->sock);
	if (rc == 0 && setsockopt(a->sock, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
		rc = -errno;
	a->by_number = setsockopt(a->sock, SOL_SOCKET, SO_PASSPIDFD, &one, sizeof(one)) < 0;
	return rc;
}

void app_take_fork(struct service *s, struct app *parent, struct attach_msg *m)
{
	const struct policy_domain *d = &s->cfg.policy.domain[parent->domain];
	struct app *a;
	int pair[2], rc;

	(void)m;
	if (app_programs(s, parent->uid, APP_MAPPING, APP_LEAVING) >= d->max_programs) {
		refuse_fork(s, parent, -EAGAIN, "the user has as many programs as are allowed");
		return;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		refuse_fork(s, parent, -EMFILE, "no descriptors left");
		return;
	}
	/* Our end: a child that does not read is not waited for (H34). The other is the program's.
	 */
	(void)!fcntl(pair[0], F_SETFL, O_NONBLOCK);
	a = app_new(s, pair[0]);
	if (a == NULL) {
		close(pair[0]);
		close(pair[1]);
		refuse_fork(s, parent, -ENOMEM, "no memory");
		return;
	}
	rc = make(s, a, parent);
	if (rc == 0)
		rc = app_welcome(s, a, parent->sock, pair[1]);
	close(pair[1]);
	if (rc == 0)
		return;
	refuse_fork(s, parent, rc, "no memory for another program");
	app_detach(s, a, false, NULL);
}

/* Of who sent the message. Takes it. */
static int pidfd_of(struct app *a, struct attach_msg *m)
{
	if (a->by_number)
		return pidfd_open(a->pid, 0);
	errno = ESRCH;
	if (!m->has_pidfd)
		return -1;
	m->has_pidfd = false;
	return m->pidfd;
}

struct born_call {
	const struct app *a;
};

static void born(struct node_core *core, void *arg)
{
	const struct born_call *c = arg;

	socks_born(c->a->chan[core - core->node->core].app);
}

void app_take_drop(struct service *s, struct app *a, struct attach_msg *m)
{
	_Static_assert(sizeof(m->drop.sid) == EMBED_CORES_MAX * sizeof(uint32_t),
		       "a name for each core");
	app_drop_socks(s, a, m->drop.sid);
}

void app_take_child(struct service *s, struct app *a, struct attach_msg *m)
{
	struct attach_head ready;
	int rc = m->has_cred ? 0 : -EACCES;

	if (rc == 0) {
		a->pid = m->cred.pid;
		a->pidfd = pidfd_of(a, m);
		rc = a->pidfd < 0 ? -errno : service_watch(s, &a->process, a->pidfd);
	}
	if (rc == 0 && !app_is_watched(a))
		rc = -ESRCH;
	if (rc == 0)
		rc = app_seal(s, a);
	if (rc < 0) {
		app_detach(s, a, false, NULL);
		return;
	}
	a->state = APP_READY;
	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], born, &(struct born_call){a});
	s->domain[a->domain].n_apps++;
	s->n.attached++;
	svc_log("%s (process %d, user %u) attached, a child", a->program, (int)a->pid,
		(unsigned)a->uid);
	(void)!attach_send(a->sock, ATTACH_READY, &ready, sizeof(ready), NULL, 0);
}
