/* SPDX-License-Identifier: BSD-3-Clause */
#include "pkt/drop.h"

static const struct {
	const char *name, *text;
} table[DROP_MAX] = {
#define X(sym, cname, sentence) [DROP_##sym] = {cname, sentence},
	DROP_REASONS(X)
#undef X
};

const char *drop_name(enum drop_reason r)
{
	return (unsigned)r < DROP_MAX ? table[r].name : "unknown";
}

const char *drop_text(enum drop_reason r)
{
	return (unsigned)r < DROP_MAX ? table[r].text : "unknown reason";
}
