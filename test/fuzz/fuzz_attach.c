/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Applications of which one is honest: the others send whatever messages with whatever descriptors
 * (H32, H37), write over the memory that they share at any time (H32, H33), never read (H34), try
 * to change what they got (H35, H36), and leave in the middle of anything (H31). After each step or
 * two the honest one must get an answer to a command and its own datagram back, unharmed; in the
 * end nobody else is attached and no descriptor is left.
 */
#include "fuzz_service.h"

#define STEPS_MAX 60

static void step(struct choices *c)
{
	struct peer *p = &evil[choose8(c) % EVIL_MAX];
	struct attach_grant g = {.id = 1};
	struct attach_drop drop = {.pad = 0};
	struct attach_head head;

	switch (choose8(c) % 13) {
	case 0:
	case 1:
		if (p->sock < 0 && dial(p)) {
			say_hello(p, c);
			serve(2);
			hear(p);
		}
		break;
	case 2:
		say(p, ATTACH_MAPPED, &head, sizeof(head), NULL, 0);
		break;
	case 3:
		g.port = choose16(c);
		choose_bytes(c, g.addr, choose8(c) % 17);
		say(p, ATTACH_GRANT, &g, sizeof(g), NULL, 0);
		break;
	case 4:
		say(p, ATTACH_FORK, &head, sizeof(head), NULL, 0);
		break;
	case 5:
		say_anything(p, c);
		break;
	case 6:
		serve(2);
		hear(p);
		if (p->ready)
			leave(p);
		else
			forget(p); /* in the middle of it */
		break;
	case 7:
		scribble(p, c);
		break;
	case 8:
	case 9:
		command(p, c);
		break;
	case 10:
		if (p->writable)
			memset(p->map.arena, choose8(c), PAYLOAD);
		say_hello(p, c);
		break;
	case 11:
		for (unsigned i = 0; i < array_size(drop.sid); i++)
			drop.sid[i] = choose8(c) % 4 | (uint32_t)(choose8(c) % 2) << SID_INDEX_BITS;
		say(p, ATTACH_DROP, &drop, sizeof(drop), NULL, 0);
		break;
	default:
		serve(1 + choose8(c) % 4);
		hear(p);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	fuzz_service_open(true, false);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct choices c = {data, size};

	for (unsigned i = choose8(&c) % 3; i > 0; i--)
		attach(&evil[i]);
	for (unsigned n = 0; c.left > 0 && n < STEPS_MAX; n++) {
		step(&c);
		if (n % 4 == 0)
			honest_check();
	}
	everybody_leaves();
	return 0;
}
