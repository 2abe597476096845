/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The service goes and comes: it crashed, was killed, or is replaced by a newer one. That it is
 * gone is told by its pidfd. While a service ends in order its control connections are closed
 * before it is: it still sends, out of our memory, what we gave it, so until the process is gone
 * nothing of that is taken back. If the same process answers at the socket it has thrown us out.
 *
 *	ATTACHED ──connection ends──► ENDED
 *	    │                           │ pidfd, or the same process answers
 *	    └────────pidfd──────────────┤
 *	                                ▼
 *	    ┌──────refused, silent──► DIAL      at once, then after 10 ms … 1 s
 *	    └─────────────────────── TALK       HELLO … READY, without ever waiting for it
 *	                                │
 *	                             ATTACHED   remake.c
 *
 * Who can't reach the path any more (chroot, a socket file that was mounted alone) finds the next
 * service by its name in the abstract namespace, which the first one had as well (attach_name()), if
 * it is the same user's, or root's: anybody can take a name.
 *
 * There is no thread for this. Who leads (wait.c) does it: he sleeps on these descriptors, too.
 * When nobody waits, whoever calls in vain looks now and then.
 *
 * A program may have closed all descriptors (closefrom(2)), ours too. Then what their numbers say
 * is nothing to go by; RESUME gets them again from the service, which lives or does not answer.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chan/attach.h"
#include "chan/voucher.h"
#include "client/client_priv.h"

#define LOOK_NS	       5000000 /* between two looks of who does not sleep */
#define BACKOFF_MIN_NS 10000000
#define BACKOFF_MAX_NS 1000000000
#define RESUME_NS      1000000000  /* for the service to answer */
#define TALK_NS	       10000000000 /* for a service to open its ports and answer */

static struct rejoin *rejoin(void)
{
	return &client.transport.rejoin;
}

void rejoin_init(const char *path)
{
	struct rejoin *j = rejoin();

	*j = (struct rejoin){.state = REJOIN_ATTACHED, .voucher = vouch_make(VOUCHER_ATTACH)};
	snprintf(j->path, sizeof(j->path), "%s", path);
}

void rejoin_know(const struct attached *a, const char *name)
{
	struct rejoin *j = rejoin();
	struct {
		struct sockaddr_un un;
		char end;
	} at = {.end = '\0'};
	socklen_t len = sizeof(at.un);

	j->uid = a->uid;
	if (name != NULL)
		snprintf(j->name, sizeof(j->name), "%s", name);
	else if (getpeername(a->sock, (struct sockaddr *)&at.un, &len) == 0 &&
		 len > offsetof(struct sockaddr_un, sun_path))
		(void)!attach_name(at.un.sun_path, j->name);
}

void rejoin_fini(void)
{
	struct rejoin *j = rejoin();

	if (j->state == REJOIN_TALK)
		attach_close(&j->to, j->map, false);
	if (j->state == REJOIN_RESUME)
		attach_close(&j->to, NULL, false);
	vouch_drop(j->voucher);
	j->voucher = -1;
	j->state = REJOIN_ATTACHED;
}

static short look_at(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, 0) > 0 ? p.revents : 0;
}

bool service_is_dead(void)
{
	const struct transport *t = &client.transport;

	if (!t->attached)
		return false;
	if (t->service.pidfd < 0) /* of a namespace that we don't see */
		return look_at(t->service.sock, POLLRDHUP) != 0 &&
		       fd_is(t->service.sock, &t->service.sock_id);
	/* With POLLHUP when somebody has waited for it. */
	return (look_at(t->service.pidfd, POLLIN) & (POLLIN | POLLNVAL)) == POLLIN &&
	       fd_is(t->service.pidfd, &t->service.pidfd_id);
}

bool service_is_deaf(void)
{
	const struct transport *t = &client.transport;

	return t->attached && (service_is_dead() || (look_at(t->service.sock, POLLRDHUP) &
						     (POLLRDHUP | POLLNVAL)) == POLLRDHUP);
}

static bool blind(void)
{
	const struct attached *a = &client.transport.service;

	return !fd_is_hosted() && rejoin()->state == REJOIN_ATTACHED &&
	       !fd_is(a->sock, &a->sock_id);
}

static void again_later(struct rejoin *j, int64_t now)
{
	j->next_ns = now + j->backoff_ns;
	j->backoff_ns = j->backoff_ns < BACKOFF_MAX_NS / 2 ? j->backoff_ns * 2 : BACKOFF_MAX_NS;
}

static void wait_for(struct rejoin *j, enum rejoin_state state, int64_t now)
{
	j->state = state;
	sleep_changed();
	j->next_ns = now;
	j->backoff_ns = BACKOFF_MIN_NS;
}

static void lost(struct rejoin *j, int64_t now)
{
	client_lose(&client.transport.service.packets);
	j->told = j->refused = j->first = false;
	j->lost_ns = now;
	wait_for(j, REJOIN_DIAL, now);
}

static void resume_begin(struct rejoin *j, int64_t now)
{
	sleep_forget();
	wait_for(j, REJOIN_RESUME, now);
	if (fcntl(client.kick_fd, F_GETFD) < 0)
		client.kick_fd = fd_high(bell_open());
	j->to = (struct attached){.sock = -1, .pidfd = -1};
	links_blind();
}

/* The stack may have work that it was not woken for. */
static void bells_ring(void)
{
	for (unsigned i = 0; i < client.n_cores; i++)
		bell_wake(client.core[i].map->stack_bell_fd);
}

/* What is not ours any more is not ours to close. */
static void numbers_forget(struct transport *t)
{
	t->service.sock = t->service.pidfd = -1;
	for (unsigned i = 0; i < t->service.n_cores; i++)
		t->map[i].app_bell_fd = t->map[i].stack_bell_fd = -1;
}

static struct attach_want wanted(const struct rejoin *j)
{
	const struct core *c = &client.core[0];

	return (struct attach_want){
		.path = j->path,
		.name = j->name,
		.uid = j->uid,
		.max_sockets = client.zone_rows,
		.max_loans = c->own_rows,
		.max_tokens = c->token_rows,
		.arena_bytes = c->end.hdr.arena_bytes,
		.flags = client.no_links ? ATTACH_NO_LINKS : 0,
		.voucher = vouch_take(j->voucher, VOUCHER_ATTACH),
	};
}

/* Each try has the time until the next one. */
static void resume(struct rejoin *j, int64_t now)
{
	struct transport *t = &client.transport;
	struct attach_want want = wanted(j);
	int r = j->to.sock >= 0 ? attach_resumed(&j->to, &t->service, t->map) : 0;

	if (r == 1) {
		j->state = REJOIN_ATTACHED;
		sleep_changed();
		bells_ring();
		return;
	}
	if (r < 0 && j->to.sock >= 0) {
		attach_close(&j->to, NULL, false);
		again_later(j, now);
	}
	if (now < j->next_ns)
		return;
	attach_close(&j->to, NULL, false);
	r = attach_resume(&j->to, &want);
	again_later(j, now);
	if (r == 0)
		j->next_ns = now + RESUME_NS;
	if (r == 0 ? j->to.pid != t->service.pid : kill(t->service.pid, 0) < 0 && errno == ESRCH) {
		attach_close(&j->to, NULL, false);
		numbers_forget(t);
		lost(j, now);
	}
}

static bool bells_closed(void)
{
	if (fd_is_hosted())
		return false;
	for (unsigned i = 0; i < client.n_cores; i++) {
		const struct chan_map *m = client.core[i].map;

		if (fcntl(m->app_bell_fd, F_GETFD) < 0 || fcntl(m->stack_bell_fd, F_GETFD) < 0)
			return true;
	}
	return fcntl(client.kick_fd, F_GETFD) < 0;
}

static void attached(struct rejoin *j, int64_t now)
{
	if (blind() || bells_closed())
		resume_begin(j, now);
	else if (service_is_dead())
		lost(j, now);
	else if (look_at(client.transport.service.sock, POLLRDHUP) != 0)
		wait_for(j, REJOIN_ENDED, now);
	else if (look_at(client.transport.service.sock, POLLIN) != 0)
		links_read();
}

/* Does the service that closed our connection answer at its socket? Then we are out, and it goes on
 * without us. Another one is not for us as long as the first may still send our bytes. */
static void ended(struct rejoin *j, int64_t now)
{
	struct attach_want want = wanted(j);
	struct attached probe;

	if (service_is_dead()) {
		lost(j, now);
		return;
	}
	if (now < j->next_ns)
		return;
	again_later(j, now);
	if (attach_find(&probe, &want, SOCK_NONBLOCK) < 0)
		return;
	if (probe.pid == client.transport.service.pid)
		lost(j, now);
	attach_close(&probe, NULL, false);
}

static void dial(struct rejoin *j, int64_t now)
{
	struct attach_want want = wanted(j);
	char err[200];

	if (now < j->next_ns)
		return;
	if (attach_begin(&j->to, &client.transport.service, &want, SOCK_NONBLOCK, err,
			 sizeof(err)) < 0) {
		again_later(j, now);
		return;
	}
	j->state = REJOIN_TALK;
	j->next_ns = now + TALK_NS;
}

/* Back to dialling, with a word to whoever runs the program, once. */
static void failed(struct rejoin *j, int64_t now, const char *why)
{
	attach_close(&j->to, j->map, false);
	j->refused = why[0] != '\0';
	if (!j->told && j->refused)
		fprintf(stderr, "libzstack: %s: %s\n",
			j->first ? "this child has no place at the service yet"
				 : "the service went away, and there is no other yet",
			why);
	j->told |= j->refused;
	j->state = REJOIN_DIAL;
	again_later(j, now);
}

static bool all_fit(const struct rejoin *j)
{
	for (unsigned i = 0; i < j->to.n_cores; i++)
		if (core_fits(i, &j->map[i]) < 0)
			return false;
	return true;
}

static void take_over(struct rejoin *j)
{
	struct transport *t = &client.transport;

	t->service.n_kept = t->service.n_arenas; /* they go with the program */
	attach_close(&t->service, t->map, false);
	t->service = j->to;
	t->service.n_kept = 0;
	t->n_cores = client.n_cores = t->service.n_cores;
	memcpy(t->map, j->map, t->n_cores * sizeof(t->map[0]));
	for (unsigned i = 0; i < client.n_cores; i++) {
		BUG_ON(core_rejoin(i, &t->map[i]) < 0);
		if (i >= client.n_tables)
			client.n_tables = i + 1;
	}
}

static void talk(struct rejoin *j, int64_t now)
{
	char err[400] = "";
	int r = attach_step(&j->to, j->map, err, sizeof(err));

	if (r == 0 && now >= j->next_ns)
		r = -ETIMEDOUT;
	if (r == 1 && !all_fit(j)) {
		snprintf(err, sizeof(err), "its channels are not of the sizes asked for");
		r = -EPROTO;
	}
	if (r < 0)
		failed(j, now, r == -ECONNRESET ? "" : err);
	if (r <= 0)
		return;
	take_over(j);
	j->state = REJOIN_ATTACHED;
	sleep_changed();
	/* If it is gone again, the next look tells. */
	(void)!client_remake();
}

void rejoin_look(int64_t now, bool news)
{
	struct rejoin *j = rejoin();

	if (!news && now < j->looked_ns + LOOK_NS && now < rejoin_deadline())
		return;
	j->looked_ns = now;
	if (client.links != NULL)
		links_look();
	switch (j->state) {
	case REJOIN_ATTACHED:
		attached(j, now);
		break;
	case REJOIN_ENDED:
		ended(j, now);
		break;
	case REJOIN_DIAL:
		dial(j, now);
		break;
	case REJOIN_TALK:
		talk(j, now);
		break;
	case REJOIN_RESUME:
		resume(j, now);
		break;
	}
}

bool rejoin_is_away(void)
{
	enum rejoin_state state = rejoin()->state;

	return state != REJOIN_ATTACHED && state != REJOIN_RESUME;
}

int64_t rejoin_await_until(int64_t patience_ns)
{
	const struct rejoin *j = rejoin();
	int64_t now = now_ns();

	rejoin_look(now, true);
	if (j->refused)
		return now;
	return (j->state == REJOIN_DIAL ? j->lost_ns : now) + patience_ns;
}

/* What the parent has begun stays its own. */
void rejoin_alone(bool refused)
{
	struct rejoin *j = rejoin();

	if (j->state == REJOIN_TALK) {
		attach_abandon(&j->to, j->map);
		if (j->to.pidfd >= 0)
			close(j->to.pidfd);
	}
	if (client.transport.service.pidfd >= 0)
		close(client.transport.service.pidfd);
	j->to = (struct attached){.sock = -1, .pidfd = -1};
	j->lost_ns = now_ns();
	j->told = j->told && !refused;
	j->refused = j->first = refused;
	wait_for(j, REJOIN_DIAL, j->lost_ns);
}

int64_t rejoin_deadline(void)
{
	const struct rejoin *j = rejoin();

	return j->state == REJOIN_ATTACHED ? FOREVER : j->next_ns;
}

int64_t rejoin_sleep_until(int64_t since, int64_t now, int64_t deadline)
{
	const struct rejoin *j = rejoin();
	int64_t next;

	rejoin_look(now, false);
	next = rejoin_deadline();
	if (j->state == REJOIN_ATTACHED && j->looked_ns < since)
		next = j->looked_ns + LOOK_NS;
	return next < deadline ? next : deadline;
}

unsigned rejoin_poll(struct pollfd *p)
{
	const struct attached *a = &client.transport.service;
	const struct rejoin *j = rejoin();

	/* poll() passes over descriptors below 0. */
	p[0] = (struct pollfd){.fd = -1};
	p[1] = (struct pollfd){.fd = -1};
	if (j->state == REJOIN_ATTACHED || j->state == REJOIN_ENDED)
		p[0] = (struct pollfd){.fd = a->pidfd, .events = POLLIN};
	if (j->state == REJOIN_ATTACHED)
		p[1] = (struct pollfd){.fd = a->sock, .events = POLLIN | POLLRDHUP};
	if (j->state == REJOIN_TALK || j->state == REJOIN_RESUME)
		p[1] = (struct pollfd){.fd = j->to.sock, .events = POLLIN};
	return REJOIN_FDS;
}
