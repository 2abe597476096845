/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Heads, errors and the page of what the stack is doing.
 */
#include <time.h>

#include "http.h"

static char date[64];
static uint32_t second;

void response_tick(void)
{
	time_t now = time(NULL);
	struct tm tm;

	second = (uint32_t)now;
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
}

uint32_t response_second(void)
{
	return second;
}

static const char *reason(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 414:
		return "URI Too Long";
	case 431:
		return "Request Header Fields Too Large";
	case 503:
		return "Service Unavailable";
	default:
		return "HTTP Version Not Supported";
	}
}

int response_head(char *out, size_t room, int status, const char *type, uint64_t bytes,
		  bool keep_alive)
{
	return snprintf(out, room,
			"HTTP/1.1 %d %s\r\n"
			"Date: %s\r\n"
			"Content-Type: %s\r\n"
			"Content-Length: %lu\r\n"
			"%s%s\r\n",
			status, reason(status), date, type, bytes,
			status == 405 ? "Allow: GET, HEAD\r\n" : "",
			keep_alive ? "" : "Connection: close\r\n");
}

int response_error(int status, bool keep_alive, bool head_only, struct zs_buf *b)
{
	char text[512], body[64];
	int body_len = snprintf(body, sizeof(body), "%d %s\n", status, reason(status));
	int len = response_head(text, sizeof(text), status, "text/plain", (uint64_t)body_len,
				keep_alive);
	int e;

	if (!head_only)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%s", body);
	e = zs_buf_alloc(-1, (uint32_t)len, b);
	if (e == 0)
		memcpy(b->data, text, (size_t)len);
	return e;
}

struct file *response_stats(void)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (out == NULL)
		return NULL;
	fprintf(out, "connections of this server: %u\n", conns_count());
	example_counters(out);
	zs_dump(ZS_DUMP_PORTS, out);
	zs_dump(ZS_DUMP_NEIGH, out);
	zs_dump(ZS_DUMP_SOCKETS, out);
	zs_dump(ZS_DUMP_COUNTERS, out);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return file_of_text(text, len);
}
