/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Links between programs (docs/design/013). The stacks tell which two were connected to one
 * another; if both are of one trust domain they get memory in common, a bell each, and each the
 * other's arenas to look at. Who has mapped it says so; when both have, the stacks offer it to the
 * connections between the two. Nobody is waited for: who does not answer has no link.
 *
 * When one of the two is gone, the other still reads what that had sent, and may send it on to the
 * wire, out of the memory of the dead: so the link is not forgotten, nor that memory, before it
 * says LINK_FREE. And the dead one may have sent on what it had of the living one's: that is not
 * told of the end, which brings its memory home, before the stacks are through with it
 * (socks_abroad()).
 *
 * A bell is a pair of stream sockets, one end each: it is rung and slept on, neither side can make
 * the other wait, and ringing for who is gone is no signal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "chan/bell.h"
#include "chan/link.h"
#include "svc/service.h"

#define ANSWER_NS     10000000000
#define ABROAD_NS     200000000 /* for the peers of a dead program to acknowledge what it sent */
#define LOOK_NS	      5000000
#define APP_LINKS_MAX 64 /* of one program; libzstack has room for as many */
#define WANTED_MAX    256

/* ---- making ---- */

static void link_free(struct service *s, struct svc_link *l)
{
	for (unsigned i = 0; i < 2; i++) {
		l->app[i]->n_links--;
		if (l->bell[i] >= 0)
			close(l->bell[i]);
	}
	region_destroy(&l->memory);
	list_del(&l->node);
	s->n_links--;
	free(l);
}

static void tell_end(struct svc_link *l)
{
	l->told = true;
	for (unsigned i = 0; i < 2; i++) {
		struct attach_linked m = {.id = l->id[i]};

		if (l->app[i]->sock >= 0 && l->app[i]->state == APP_READY)
			(void)!attach_send(l->app[i]->sock, ATTACH_LINK_END, &m, sizeof(m), NULL,
					   0);
	}
}

static struct svc_link *link_new(struct service *s, struct app *a, struct app *b)
{
	struct svc_link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	*l = (struct svc_link){.app = {a, b},
			       .memory.fd = -1,
			       .bell = {-1, -1},
			       .deadline_ns = node_now_ns() + ANSWER_NS};
	l->id[0] = ++s->next_link;
	l->id[1] = a == b ? ++s->next_link : l->id[0];
	list_init(&l->node);
	list_add_tail(&s->links, &l->node);
	s->n_links++;
	a->n_links++;
	b->n_links++;
	return l;
}

static bool secret_make(struct link_shm *sh)
{
	return getrandom(&sh->secret, sizeof(sh->secret), GRND_NONBLOCK) == sizeof(sh->secret) &&
	       getrandom(&sh->secret2, sizeof(sh->secret2), GRND_NONBLOCK) == sizeof(sh->secret2);
}

static int link_open(struct svc_link *l)
{
	int rc = region_create(&l->memory, "zstack-link", sizeof(struct link_shm),
			       PROT_READ | PROT_WRITE);

	if (rc < 0)
		return rc;
	link_format(l->memory.base);
	if (!secret_make(l->memory.base))
		return -EAGAIN;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, l->bell) < 0)
		return -EMFILE;
	return 0;
}

/* To side i. */
static int send_link(struct service *s, struct svc_link *l, unsigned i)
{
	const struct app *a = l->app[i], *other = l->app[1 - i];
	struct attach_link m = {.id = l->id[i],
				.side = i,
				.app = (uint32_t)other->id,
				.n_cores = s->node.n,
				.bytes = l->memory.bytes,
				.arena_bytes = other->chan[0].arena.bytes};
	int fd[ATTACH_LINK_FDS + EMBED_CORES_MAX] = {l->memory.fd, l->bell[i], other->pidfd};

	for (unsigned k = 0; k < s->node.n; k++)
		fd[ATTACH_LINK_FDS + k] = other->chan[k].arena.fd;
	return attach_send(a->sock, ATTACH_LINK, &m, sizeof(m), fd, ATTACH_LINK_FDS + s->node.n);
}

/* n more sides of links. */
static bool can_link(const struct app *a, unsigned n)
{
	return a->state == APP_READY && a->sock >= 0 && a->pidfd >= 0 &&
	       a->n_links + n <= APP_LINKS_MAX;
}

static struct app *app_of(const struct service *s, uint32_t id)
{
	LIST_EACH (l, &s->apps) {
		struct app *a = container_of(l, struct app, link);

		if ((uint32_t)a->id == id)
			return a;
	}
	return NULL;
}

struct pair_call {
	const struct svc_link *l;
	unsigned core;
};

static void up(struct node_core *core, void *arg)
{
	const struct pair_call *p = arg;
	struct sock_app *a = p->l->app[0]->chan[p->core].app, *b = p->l->app[1]->chan[p->core].app;

	(void)core;
	if (a != NULL && b != NULL)
		socks_link_up(a, b, p->l->id);
}

static void down(struct node_core *core, void *arg)
{
	const struct pair_call *p = arg;
	struct sock_app *a = p->l->app[0]->chan[p->core].app, *b = p->l->app[1]->chan[p->core].app;

	(void)core;
	if (a != NULL && b != NULL)
		socks_link_down(a, b);
}

static void on_cores(struct service *s, struct svc_link *l,
		     void (*fn)(struct node_core *core, void *arg))
{
	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], fn, &(struct pair_call){l, i});
}

/* There is none between the two from now on, and none is tried again. */
static void link_drop(struct service *s, struct svc_link *l)
{
	tell_end(l);
	on_cores(s, l, down);
	l->over = true;
	if (l->mapped != 3) /* neither has had anything of the other's */
		link_free(s, l);
}

static void link_refuse(struct service *s, struct app *a, struct app *b)
{
	s->n.links_refused++;
	on_cores(s, &(struct svc_link){.app = {a, b}}, down);
}

static void link_make(struct service *s, const struct sock_link_wanted *w)
{
	struct app *a = app_of(s, w->app[0]), *b = app_of(s, w->app[1]);
	struct svc_link *l;

	if (a == NULL || b == NULL || a->domain != b->domain)
		return;
	if (!can_link(a, a == b ? 2 : 1) || !can_link(b, 1)) {
		link_refuse(s, a, b);
		return;
	}
	l = link_new(s, a, b);
	if (l == NULL) {
		link_refuse(s, a, b);
		return;
	}
	if (link_open(l) == 0 && send_link(s, l, 0) == 0 && send_link(s, l, 1) == 0)
		return;
	s->n.links_refused++;
	link_drop(s, l);
}

/* ---- who wants one ---- */

struct wanted_call {
	struct sock_link_wanted w[WANTED_MAX];
	unsigned n;
};

static void take_wanted(struct node_core *core, void *arg)
{
	struct wanted_call *c = arg;

	while (c->n < WANTED_MAX && stack_link_wanted(core->stack, &c->w[c->n]))
		c->n++;
}

static struct svc_link *link_between(const struct service *s, const struct sock_link_wanted *w)
{
	LIST_EACH (n, &s->links) {
		struct svc_link *l = container_of(n, struct svc_link, node);
		uint32_t a = (uint32_t)l->app[0]->id, b = (uint32_t)l->app[1]->id;

		if (!l->over &&
		    ((a == w->app[0] && b == w->app[1]) || (a == w->app[1] && b == w->app[0])))
			return l;
	}
	return NULL;
}

static void bell_ready(struct service *s, struct source *src, uint32_t events)
{
	struct wanted_call c = {.n = 0};
	struct svc_link *l;

	(void)src;
	(void)events;
	bell_drain(s->node.link_bell);
	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], take_wanted, &c);
	for (unsigned i = 0; i < c.n; i++) {
		l = link_between(s, &c.w[i]);
		if (l == NULL)
			link_make(s, &c.w[i]);
		else if (l->mapped == 3) /* another core asks for what there is */
			on_cores(s, l, up);
	}
}

int links_open(struct service *s)
{
	s->node.link_bell = bell_open();
	if (s->node.link_bell < 0)
		return s->node.link_bell;
	s->on_link.ready = bell_ready;
	return service_watch(s, &s->on_link, s->node.link_bell);
}

static void stay(struct node_core *core, void *arg)
{
	(void)arg;
	stack_links_stay(core->stack);
}

void links_stay(struct service *s)
{
	s->ending = true;
	for (unsigned i = 0; !list_empty(&s->links) && i < s->node.n; i++)
		node_call(&s->node.core[i], stay, NULL);
}

void links_close(struct service *s)
{
	while (!list_empty(&s->links))
		link_free(s, container_of(s->links.next, struct svc_link, node));
	if (s->node.link_bell >= 0)
		close(s->node.link_bell);
	s->node.link_bell = -1;
}

/* ---- what programs say ---- */

/* NULL: it has no such link, perhaps no more. *side: which is a's. */
static struct svc_link *link_of(const struct service *s, const struct app *a, uint32_t id,
				unsigned *side)
{
	LIST_EACH (n, &s->links) {
		struct svc_link *l = container_of(n, struct svc_link, node);

		for (*side = 0; *side < 2; ++*side)
			if (l->id[*side] == id && l->app[*side] == a)
				return l;
	}
	return NULL;
}

bool link_counted(const struct service *s, uint32_t id, const struct app *a, struct link_count *out)
{
	unsigned mine;
	const struct svc_link *l = link_of(s, a, id, &mine);
	const struct link_side *side;

	if (l == NULL)
		return false;
	side = ((const struct link_shm *)l->memory.base)->side;
	*out = (struct link_count){
		.out_bytes = atomic_load_explicit(&side[mine].bytes, memory_order_relaxed),
		.out_messages = atomic_load_explicit(&side[mine].entries, memory_order_relaxed),
		.in_bytes = atomic_load_explicit(&side[1 - mine].bytes, memory_order_relaxed),
		.in_messages = atomic_load_explicit(&side[1 - mine].entries, memory_order_relaxed),
	};
	return true;
}

void app_take_linked(struct service *s, struct app *a, struct attach_msg *m)
{
	unsigned side;
	struct svc_link *l = link_of(s, a, m->linked.id, &side);

	if (l == NULL || l->mapped == 3 || l->over)
		return;
	if (m->linked.res != 0) {
		s->n.links_refused++;
		link_drop(s, l);
		return;
	}
	l->mapped |= 1u << side;
	if (l->mapped != 3)
		return;
	if (region_seal(&l->memory) < 0) {
		link_drop(s, l);
		return;
	}
	s->n.links++;
	on_cores(s, l, up);
}

void app_take_link_bad(struct service *s, struct app *a, struct attach_msg *m)
{
	unsigned side;
	struct svc_link *l = link_of(s, a, m->linked.id, &side);

	if (l == NULL || l->over)
		return;
	s->n.links_bad++;
	if (service_may_log(s))
		svc_log("%s (process %d) says of %s (process %d) that it breaks their link",
			a->program, (int)a->pid, l->app[1 - side]->program,
			(int)l->app[1 - side]->pid);
	link_drop(s, l);
}

/* ---- the end ---- */

struct unview_call {
	const struct app *a;
	uint32_t of;
	unsigned core;
};

static void unview(struct node_core *core, void *arg)
{
	const struct unview_call *u = arg;

	(void)core;
	if (u->a->chan[u->core].app != NULL)
		socks_unview(u->a->chan[u->core].app, u->of);
}

void app_take_link_free(struct service *s, struct app *a, struct attach_msg *m)
{
	unsigned side;
	struct svc_link *l = link_of(s, a, m->linked.id, &side);

	if (l == NULL || l->mapped != 3)
		return;
	if (!l->over)
		link_drop(s, l);
	l->freed |= 1u << side;
	for (unsigned i = 0; i < s->node.n; i++)
		node_call(&s->node.core[i], unview,
			  &(struct unview_call){a, (uint32_t)l->app[1 - side]->id, i});
	if ((l->freed | l->left) == 3)
		link_free(s, l);
}

struct abroad_call {
	struct svc_link *l;
	const struct chan_map *map;
	unsigned core;
	bool bring;
	uint32_t n;
};

static void look_abroad(struct node_core *core, void *arg)
{
	struct abroad_call *c = arg;

	c->n = stack_abroad(core->stack, c->map);
	if (c->n != 0 && c->bring)
		stack_bring_home(core->stack, c->map, &c->l->cursor[c->core]);
}

/* One side's program is gone. False: sends of it lie in the other's memory. */
static bool all_came_home(struct service *s, struct svc_link *l)
{
	const struct app *dead = l->app[l->left == 1 ? 0 : 1];
	bool bring = node_now_ns() >= l->deadline_ns, all = true;

	for (unsigned i = 0; i < s->node.n; i++) {
		struct abroad_call c = {
			.l = l, .map = &dead->chan[i].map, .core = i, .bring = bring};

		node_call(&s->node.core[i], look_abroad, &c);
		all &= c.n == 0;
	}
	return all;
}

/* By as many bits as the name of a region has. */
static struct app *app_of_region(const struct service *s, uint32_t region)
{
	LIST_EACH (l, &s->apps) {
		struct app *a = container_of(l, struct app, link);

		if (link_region((uint32_t)a->id, 0) == (region & ~15u))
			return a;
	}
	return NULL;
}

void app_take_region(struct service *s, struct app *a, struct attach_msg *m)
{
	struct app *of = app_of_region(s, m->region.id);
	unsigned core = m->region.id & 15;
	struct attach_region r = {.id = m->region.id};

	if (of == NULL || of->domain != a->domain || core >= s->node.n ||
	    of->chan[core].arena.fd < 0 || a->n_links == 0) {
		(void)!attach_send(a->sock, ATTACH_REGION_IS, &r, sizeof(r), NULL, 0);
		return;
	}
	r.bytes = of->chan[core].arena.bytes;
	(void)!attach_send(a->sock, ATTACH_REGION_IS, &r, sizeof(r), &of->chan[core].arena.fd, 1);
}

unsigned links_of_dead(const struct service *s, uid_t uid)
{
	unsigned n = 0;

	LIST_EACH (node, &s->links) {
		const struct svc_link *l = container_of(node, struct svc_link, node);

		n += (l->left == 1 && l->app[1]->uid == uid) ||
		     (l->left == 2 && l->app[0]->uid == uid);
	}
	return n;
}

static void link_leave(struct service *s, struct svc_link *l, const struct app *a)
{
	for (unsigned i = 0; i < 2; i++)
		l->left |= l->app[i] == a ? 1u << i : 0;
	if (s->ending || l->mapped != 3 || (l->left | l->freed) == 3) {
		if (!s->ending)
			tell_end(l);
		link_free(s, l);
		return;
	}
	l->over = true;
	l->deadline_ns = node_now_ns() + ABROAD_NS;
	if (!l->told && all_came_home(s, l))
		tell_end(l);
}

/* At the end of the service links go on without it, and are left as they are. */
void links_leave(struct service *s, struct app *a)
{
	for (struct list *n = s->links.next, *next; n != &s->links; n = next) {
		struct svc_link *l = container_of(n, struct svc_link, node);

		next = n->next;
		if (l->app[0] == a || l->app[1] == a)
			link_leave(s, l, a);
	}
}

int64_t links_tick(struct service *s)
{
	int64_t again = -1, now = node_now_ns();

	for (struct list *n = s->links.next, *next; n != &s->links; n = next) {
		struct svc_link *l = container_of(n, struct svc_link, node);

		next = n->next;
		if (l->over && !l->told) {
			if (all_came_home(s, l))
				tell_end(l);
			else
				again = LOOK_NS;
			continue;
		}
		if (l->mapped == 3)
			continue;
		if (now >= l->deadline_ns) {
			s->n.links_refused++;
			link_drop(s, l);
		} else if (again < 0 || l->deadline_ns - now < again) {
			again = l->deadline_ns - now;
		}
	}
	return again;
}
