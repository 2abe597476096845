/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The one service that customers see:
 *
 *	GET  /items              the catalogue
 *	GET  /items/ID           catalogue, stock and price, asked at the same time
 *	*    /carts/USER         the cart
 *	*    /orders/…           orders
 */
#include <string.h>

#include "service.h"

static const char *const page[] = {"catalogue", "stock", "price"};

static int item(const struct request *r, struct text *out)
{
	struct text part[3] = {0};
	int status = 200;

	for (unsigned i = 0; i < 3; i++)
		ask_begin(page[i], "GET", r->path, NULL);
	for (unsigned i = 0; i < 3; i++) {
		int s = ask_end(page[i], &part[i]);

		if (status == 200 && s != 200) {
			status = s;
			text_add(out, part[i].at, part[i].len);
		}
	}
	if (status == 200)
		text_addf(out, "{\"item\":%s,\"stock\":%s,\"price\":%s}", part[0].at, part[1].at,
			  part[2].at);
	for (unsigned i = 0; i < 3; i++)
		text_free(&part[i]);
	return status;
}

static int pass_on(const char *to, const struct request *r, struct text *out)
{
	ask_begin(to, r->method, r->path, r->body.len > 0 ? &r->body : NULL);
	return ask_end(to, out);
}

static bool begins(const struct request *r, const char *with)
{
	return strncmp(r->path, with, strlen(with)) == 0;
}

static int answer(const struct request *r, struct text *out)
{
	if (begins(r, "/items/") && strchr(r->path + 7, '/') == NULL)
		return strcmp(r->method, "GET") == 0 ? item(r, out) : refuse(out, 405, "only GET");
	if (strcmp(r->path, "/items") == 0)
		return pass_on("catalogue", r, out);
	if (begins(r, "/carts/"))
		return pass_on("cart", r, out);
	if (begins(r, "/orders/"))
		return pass_on("order", r, out);
	return refuse(out, 404, "no such page");
}

int main(void)
{
	return serve("gateway", answer);
}
