/* SPDX-License-Identifier: BSD-3-Clause
 *
 * How many of each item there are: GET /items/ID, POST /items/ID/take/N, POST /items/ID/put/N.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "service.h"

#define ITEMS 8
#define EACH  100

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int taken[ITEMS];

/* Takes n (puts back, below 0). How many are left; -1: there were too few. */
static int take(unsigned id, int n)
{
	int *t = &taken[id - 1], left = -1;

	pthread_mutex_lock(&lock);
	if (*t + n <= EACH) {
		*t += n;
		left = EACH - *t;
	}
	pthread_mutex_unlock(&lock);
	return left;
}

static int answer(const struct request *r, struct text *out)
{
	char verb[8] = "";
	unsigned id = 0, n = 0;
	int parts = sscanf(r->path, "/items/%u/%7[a-z]/%u", &id, verb, &n), left;
	bool post = strcmp(r->method, "POST") == 0;

	if (parts < 1 || id < 1 || id > ITEMS)
		return refuse(out, 404, "no such item");
	if (parts == 3 && post && n <= EACH && strcmp(verb, "take") == 0)
		left = take(id, (int)n);
	else if (parts == 3 && post && n <= EACH && strcmp(verb, "put") == 0)
		left = take(id, -(int)n);
	else if (parts == 1 && strcmp(r->method, "GET") == 0)
		left = take(id, 0);
	else
		return refuse(out, 400, "GET /items/ID, or POST /items/ID/take/N or put/N");
	if (left < 0)
		return refuse(out, 409, "sold out");
	text_addf(out, "{\"id\":%u,\"left\":%d}", id, left);
	return 200;
}

int main(void)
{
	return serve("stock", answer);
}
