/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What is in a set of epoll(7), and how news of a socket get to it. Sets may hold sets: one that
 * gets something ready is news to those that hold it. Both are rows of tables, so that an item has
 * one cache line; a set's row stays while a thread waits for it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/epoll.h>

#include "client/client_priv.h"
#include "client/table.h"

#define ALWAYS	     (EPOLLERR | EPOLLHUP)
#define EXCLUSIVE_OK (EPOLLIN | EPOLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)
#define NESTS_MAX    4u /* Linux: of sets in sets in sets */

/* ---- memory ---- */

/* Items: taken by the page, one cache line each, kept until the process ends. */
#define ITEMS_PAGE 64u
static struct epitem *items_free; /* by next */

static bool items_more(void)
{
	struct epitem *page = aligned_alloc(sizeof(*page), ITEMS_PAGE * sizeof(*page));

	if (page == NULL)
		return false;
	for (unsigned i = 0; i < ITEMS_PAGE; i++) {
		page[i].next = items_free;
		items_free = &page[i];
	}
	return true;
}

static struct epitem *item_alloc(void)
{
	struct epitem *i;

	if (items_free == NULL && !items_more())
		return NULL;
	i = items_free;
	items_free = i->next;
	*i = (struct epitem){.events = 0};
	list_init(&i->ready);
	list_init(&i->of_set);
	return i;
}

/* Sets: by pages, too, of which each row has a number. */
#define SETS_PAGE 256u
#define SETS_MAX  (1u << 20)
#define FREE	  (-2)
static struct epset *sets[SETS_MAX / SETS_PAGE];
static uint32_t sets_top, sets_free = NIL;

static inline struct epset *set_at(uint32_t row)
{
	return &sets[row / SETS_PAGE][row % SETS_PAGE];
}

static struct epset *set_fresh(void)
{
	struct epset **page = &sets[sets_top / SETS_PAGE];

	if (sets_top == SETS_MAX)
		return NULL;
	if (*page == NULL)
		*page = table_new(SETS_PAGE, sizeof(**page));
	return *page != NULL ? set_at(sets_top++) : NULL;
}

struct epset *epset_alloc(void)
{
	uint32_t row = sets_free != NIL ? sets_free : sets_top;
	struct epset *e = sets_free != NIL ? set_at(sets_free) : set_fresh();

	if (e == NULL)
		return NULL;
	if (row == sets_free)
		sets_free = e->next_free;
	*e = (struct epset){.serial = e->serial, .fd = -1, .row = row};
	list_init(&e->ready);
	list_init(&e->items);
	return e;
}

void epset_free_if_unused(struct epset *e)
{
	if (e->fd != -1 || e->users != 0)
		return;
	e->fd = FREE;
	e->next_free = sets_free;
	sets_free = e->row;
}

/* ---- news ---- */

static inline bool is_set(const struct epitem *i)
{
	return (i->target & EPITEM_SET) != 0;
}

static struct epset *item_inner(const struct epitem *i)
{
	return set_at(i->target & ~EPITEM_SET);
}

static slow_path void set_tell(struct epset *e)
{
	wlink_wake(e->waiters);
	epitem_notify(e->outer, EPOLLIN);
}

static inline void item_ready(struct epitem *i)
{
	struct epset *e = set_at(i->set);

	if (!list_linked(&i->ready))
		list_add_tail(&e->ready, &i->ready);
	if (unlikely(e->waiters != NULL || e->outer != NULL))
		set_tell(e);
}

/* Does a thread wait for it that nothing has woken yet? */
static bool set_sleeps(const struct epset *e)
{
	const struct wlink *l = e->waiters;

	while (l != NULL && l->w->woken)
		l = l->next;
	return l != NULL;
}

static void item_to_end(struct epitem **list, struct epitem *i)
{
	struct epitem **p = list;

	while (*p != i)
		p = &(*p)->next;
	*p = i->next;
	while (*p != NULL)
		p = &(*p)->next;
	*p = i;
	i->next = NULL;
}

/* EPOLLEXCLUSIVE: sets in which nobody sleeps are told, as they look before they do, and of the
 * others one, which is the last to be asked the next time. */
static slow_path void notify_one(struct csock *s, uint32_t mask)
{
	struct epitem *i = s->items;
	bool woken = false;

	for (; i != NULL && !woken; i = woken ? i : i->next) {
		if (!(i->events & EPOLLEXCLUSIVE) || !(i->events & mask))
			continue;
		woken = set_sleeps(set_at(i->set));
		item_ready(i);
	}
	if (woken)
		item_to_end(&s->items, i);
}

void epitem_notify(struct epitem *i, uint32_t mask)
{
	struct csock *one = NULL;

	for (; i != NULL; i = i->next) {
		if (unlikely(i->events & EPOLLEXCLUSIVE))
			one = &client.sock[i->target];
		else if (i->events & mask)
			item_ready(i);
	}
	if (unlikely(one != NULL))
		notify_one(one, mask);
}

uint32_t epitem_mask_set(const struct epitem *i)
{
	return epset_ready(item_inner(i)) ? (EPOLLIN | EPOLLRDNORM) & i->events : 0;
}

bool epset_ready(struct epset *e)
{
	while (!list_empty(&e->ready)) {
		struct epitem *i = container_of(e->ready.next, struct epitem, ready);

		if (epitem_mask(i) != 0)
			return true;
		list_del(&i->ready);
	}
	return false;
}

/* ---- coming and going ---- */

static struct epitem **items_of(const struct eptarget *t)
{
	return t->s != NULL ? &t->s->items : &t->e->outer;
}

void epitem_free(struct epitem *i)
{
	struct epitem **p = is_set(i) ? &item_inner(i)->outer : &client.sock[i->target].items;

	while (*p != i)
		p = &(*p)->next;
	*p = i->next;
	list_del(&i->ready);
	list_del(&i->of_set);
	i->next = items_free;
	items_free = i;
}

void epitem_drop(struct epitem *i)
{
	struct csock *s = i->events & EPOLLEXCLUSIVE ? &client.sock[i->target] : NULL;

	epitem_free(i);
	if (likely(s == NULL))
		return;
	/* It may be the one that was told: then another has to be. */
	epitem_notify(s->items, csock_mask(s));
	shared_exclusive(s);
}

void epitem_forget(struct csock *s)
{
	while (s->items != NULL)
		epitem_free(s->items);
}

/* How many levels of sets are in e; above NESTS_MAX: too many, or `of` among them. */
static unsigned levels_below(const struct epset *e, const struct epset *of, unsigned left)
{
	unsigned most = 0;

	if (e == of || left == 0)
		return NESTS_MAX + 1;
	for (const struct list *l = e->items.next; l != &e->items; l = l->next) {
		const struct epitem *i = container_of(l, struct epitem, of_set);
		unsigned n = is_set(i) ? 1 + levels_below(item_inner(i), of, left - 1) : 0;

		most = n > most ? n : most;
	}
	return most;
}

static unsigned levels_above(const struct epset *e, unsigned left)
{
	unsigned most = 0;

	if (left == 0)
		return NESTS_MAX + 1;
	for (const struct epitem *i = e->outer; i != NULL; i = i->next) {
		unsigned n = 1 + levels_above(set_at(i->set), left - 1);

		most = n > most ? n : most;
	}
	return most;
}

/* epoll_ctl(2), ELOOP: it would hold itself, or too many levels. */
static int nest_check(const struct epset *e, const struct epset *in)
{
	unsigned n = 1 + levels_below(in, e, NESTS_MAX + 1) + levels_above(e, NESTS_MAX + 1);

	return n > NESTS_MAX ? -ELOOP : 0;
}

static struct epitem *item_find(const struct epset *e, const struct eptarget *t)
{
	struct epitem *i = *items_of(t);

	while (i != NULL && (i->set != e->row || i->fd != t->fd))
		i = i->next;
	return i;
}

/* What is so already counts as news. */
static void item_ask(struct epitem *i, const struct epoll_event *ev)
{
	i->events = ev->events | ALWAYS;
	i->data = ev->data.u64;
	if (epitem_mask(i) != 0)
		item_ready(i);
}

static int add_check(const struct epset *e, const struct eptarget *t, uint32_t events)
{
	if ((events & EPOLLEXCLUSIVE) && (t->s == NULL || (events & ~(uint32_t)EXCLUSIVE_OK) != 0))
		return -EINVAL;
	if (item_find(e, t) != NULL)
		return -EEXIST;
	return t->s == NULL ? nest_check(e, t->e) : 0;
}

static int item_add(struct epset *e, const struct eptarget *t, const struct epoll_event *ev)
{
	int r = add_check(e, t, ev->events);
	struct epitem *i;

	if (r < 0)
		return r;
	if (t->s != NULL)
		csock_wanted(t->s);
	i = item_alloc();
	if (i == NULL)
		return -ENOMEM;
	list_add_tail(&e->items, &i->of_set);
	i->set = e->row;
	i->target = t->s != NULL ? csock_row(t->s) : t->e->row | EPITEM_SET;
	i->fd = t->fd;
	i->next = *items_of(t);
	*items_of(t) = i;
	item_ask(i, ev);
	if (t->s != NULL)
		shared_exclusive(t->s);
	return 0;
}

int epitem_ctl(struct epset *e, int op, const struct eptarget *t, const struct epoll_event *ev)
{
	struct epitem *i;

	if (op == EPOLL_CTL_ADD)
		return item_add(e, t, ev);
	i = item_find(e, t);
	if (op == EPOLL_CTL_DEL) {
		if (i == NULL)
			return -ENOENT;
		epitem_drop(i);
		return 0;
	}
	if (ev->events & EPOLLEXCLUSIVE)
		return -EINVAL;
	if (i == NULL)
		return -ENOENT;
	if (i->events & EPOLLEXCLUSIVE)
		return -EINVAL;
	item_ask(i, ev);
	return 0;
}
