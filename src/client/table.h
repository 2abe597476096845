/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Tables of which most rows are never used. A process is charged for memory that it may write,
 * touched or not (RLIMIT_DATA; vm.overcommit_memory=2), so a table is reserved to be read, as
 * zeros, which is free, and rows are opened to be written when they come into use. Rows do not
 * move.
 */
#ifndef ZS_CLIENT_TABLE_H
#define ZS_CLIENT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

/* All rows may be written at once. NULL: no memory. */
void *table_new(uint64_t rows, size_t size);
/* None may, before table_open(). */
void *table_reserve(uint64_t rows, size_t size);
/* Of either kind; NULL: nothing happens. */
void table_free(void *table, uint64_t rows, size_t size);
/* Rows [from, to) of size bytes may be written from here on. 0, -ENOMEM. */
int table_open(void *table, size_t size, uint64_t from, uint64_t to) must_check;

#endif
