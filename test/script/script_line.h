/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A line of a script and its words.
 */
#ifndef ZS_SCRIPT_LINE_H
#define ZS_SCRIPT_LINE_H

#include <stdarg.h>

#include "script.h"

/* Cuts l->text into words; the time in front becomes lo and hi. Comments and commas are blanks. */
void line_split(struct line *l);

#endif
