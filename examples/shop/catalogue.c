/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the shop sells: GET /items, GET /items/ID.
 */
#include <stdio.h>
#include <string.h>

#include "service.h"

static const struct {
	const char *name, *about;
} items[] = {
	{"anvil", "drop forged, 20 kg"}, {"bellows", "goat leather, two valves"},
	{"chisel", "for cold steel"},	 {"drill", "hand driven, with three bits"},
	{"easel", "beech, folds flat"},	 {"file", "second cut, half round"},
	{"gimlet", "6 mm, ash handle"},	 {"hammer", "straight peen, 1.5 kg"},
};
#define ITEMS (sizeof(items) / sizeof(items[0]))

static void add_item(struct text *out, unsigned i)
{
	text_addf(out, "{\"id\":%u,\"name\":\"%s\",\"about\":\"%s\"}", i + 1, items[i].name,
		  items[i].about);
}

static int list(struct text *out)
{
	text_add(out, "[", 1);
	for (unsigned i = 0; i < ITEMS; i++) {
		if (i > 0)
			text_add(out, ",", 1);
		add_item(out, i);
	}
	text_add(out, "]", 1);
	return 200;
}

static int answer(const struct request *r, struct text *out)
{
	unsigned id;
	int end = 0;

	if (strcmp(r->method, "GET") != 0)
		return refuse(out, 405, "only GET");
	if (strcmp(r->path, "/items") == 0)
		return list(out);
	if (sscanf(r->path, "/items/%u%n", &id, &end) != 1 || r->path[end] != '\0' || id < 1 ||
	    id > ITEMS)
		return refuse(out, 404, "no such item");
	add_item(out, id - 1);
	return 200;
}

int main(void)
{
	return serve("catalogue", answer);
}
