/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Where it stands what is known of each number. Nearly all programs have few numbers, so a page of
 * the table is mapped when the first number of it is to be known, and a program that runs under the
 * library is not charged for what it does not use (docs/design/011, "What a process costs"). The
 * kind, which every call asks for, lies in an array by itself for all numbers that are usual.
 *
 * A page that is there stays, so that readers need no lock. Whoever makes a number known asks for
 * room first; that is a system call at most, never malloc(), which may be the program's own.
 */
#include <sys/mman.h>

#include "preload/preload.h"

#define PAGE_NUMBERS 512u
#define PAGES	     (FD_KINDS / PAGE_NUMBERS)
#define PAGE_BYTES   (PAGE_NUMBERS * sizeof(struct number))

_Atomic uint8_t fd_kinds[FD_KINDS_LOW];
static struct number *_Atomic pages[PAGES];

static struct number *page_of(unsigned fd)
{
	return atomic_load_explicit(&pages[fd / PAGE_NUMBERS], memory_order_acquire);
}

struct number *number_at(int fd)
{
	struct number *page = (unsigned)fd < FD_KINDS ? page_of((unsigned)fd) : NULL;

	return page != NULL ? &page[(unsigned)fd % PAGE_NUMBERS] : NULL;
}

const struct number *number_known(int fd)
{
	static const struct number nothing;
	const struct number *n = number_at(fd);

	return n != NULL ? n : &nothing;
}

/* Two threads may make it at once. */
static int page_make(unsigned fd)
{
	struct number *none = NULL;
	void *p =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	if (!atomic_compare_exchange_strong(&pages[fd / PAGE_NUMBERS], &none, p))
		munmap(p, PAGE_BYTES);
	return 0;
}

int number_room(int fd)
{
	int err = errno, r = 0;

	if ((unsigned)fd >= FD_KINDS)
		return -EMFILE;
	if (unlikely(page_of((unsigned)fd) == NULL))
		r = page_make((unsigned)fd);
	errno = err;
	return r;
}

enum fd_kind fd_kind_high(int fd)
{
	return atomic_load_explicit(&number_known(fd)->kind, memory_order_relaxed);
}

static _Atomic uint8_t *kind_at(int fd)
{
	if (likely((unsigned)fd < FD_KINDS_LOW))
		return &fd_kinds[fd];
	return number_at(fd) != NULL ? &number_at(fd)->kind : NULL;
}

static _Atomic int top = -1; /* no number above is special */

void fd_set_kind(int fd, enum fd_kind kind)
{
	_Atomic uint8_t *at = kind_at(fd);
	int t = atomic_load(&top);

	/* Nothing is known of it, then, nor will be. */
	if (at == NULL)
		return;
	while (kind != FD_KERNEL && fd > t && !atomic_compare_exchange_weak(&top, &t, fd))
		;
	atomic_store_explicit(at, (uint8_t)kind, memory_order_release);
}

int fd_special(int from)
{
	int t = atomic_load(&top);

	for (int fd = from; fd <= t; fd++) {
		if (fd_kind(fd) != FD_KERNEL)
			return fd;
		if (page_of((unsigned)fd) == NULL)
			fd |= (int)(PAGE_NUMBERS - 1);
	}
	return -1;
}
