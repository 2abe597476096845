/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

void assert_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "zstack: %s:%d: assertion failed: %s\n", file, line, what);
	abort();
}
