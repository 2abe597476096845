/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Intrusive doubly-linked rings. The head is a node like the others; a node that is on no list
 * points to itself, so list_del() can be called twice and list_linked() is a question that always
 * has an answer. A node must be initialized before its first use.
 */
#ifndef ZS_BASE_LIST_H
#define ZS_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/assert.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *head)
{
	return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
	return node->next != node;
}

/* Between two neighbours. */
static inline void list_insert(struct list *prev, struct list *node, struct list *next)
{
	ASSERT(!list_linked(node));
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

static inline void list_add_head(struct list *head, struct list *node)
{
	list_insert(head, node, head->next);
}

static inline void list_add_tail(struct list *head, struct list *node)
{
	list_insert(head->prev, node, head);
}

static inline void list_del(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, unlinked, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *first = head->next;

	if (first == head)
		return NULL;
	list_del(first);
	return first;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define LIST_EACH(node, head)                                                                      \
	for (struct list *node = (head)->next; node != (head); node = node->next)

/* The body may unlink or free the node, but not the one after it. */
#define LIST_EACH_SAFE(node, head)                                                                 \
	for (struct list *node = (head)->next, *node##_next = node->next; node != (head);          \
	     node = node##_next, node##_next = node->next)

#endif
