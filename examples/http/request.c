/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Bytes → requests. The grammar is http-parser's; here are the limits, and what RFC 9112 leaves to
 * the server: the Host header (§3.2), the forms of a target (§3.2.1, §3.2.2), percent-encoding (RFC
 * 3986 §2.1).
 */
#include <strings.h>

#include "http.h"

static struct request *of(http_parser *p)
{
	return p->data;
}

static int refuse(struct request *r, uint16_t status)
{
	if (r->error == 0)
		r->error = status;
	return -1; /* ends http_parser_execute() */
}

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct request *r = of(p);

	if (len > URL_MAX - r->url_len)
		return refuse(r, 414);
	if (r->url_len + len > r->url_room) {
		uint32_t room = r->url_len + len > 256 ? URL_MAX : 256;
		char *url = realloc(r->url, room);

		if (url == NULL)
			return refuse(r, 503);
		r->url = url;
		r->url_room = room;
	}
	memcpy(r->url + r->url_len, at, len);
	r->url_len += (uint32_t)len;
	return 0;
}

static int on_field(http_parser *p, const char *at, size_t len)
{
	struct request *r = of(p);

	if (r->in_value)
		r->field_len = 0;
	r->in_value = false;
	for (size_t i = 0; i < len && r->field_len < sizeof(r->field); i++)
		r->field[r->field_len++] = at[i];
	return 0;
}

static int on_value(http_parser *p, const char *at, size_t len)
{
	struct request *r = of(p);

	if (!r->in_value && r->field_len == 4 && strncasecmp(r->field, "host", 4) == 0)
		r->host = true;
	r->in_value = true;
	return 0;
}

static int on_headers(http_parser *p)
{
	struct request *r = of(p);
	bool http11 = p->http_major == 1 && p->http_minor >= 1;

	if (p->http_major != 1)
		return refuse(r, 505);
	if (http11 && !r->host)
		return refuse(r, 400);
	if (p->upgrade)
		return refuse(r, 405); /* CONNECT, or a protocol that we don't speak */
	if (p->content_length != UINT64_MAX && p->content_length > REQUEST_BODY_MAX)
		return refuse(r, 413);
	return 0;
}

/* Only for bodies of unknown length. */
static int on_chunk(http_parser *p)
{
	return p->content_length > REQUEST_BODY_MAX ? refuse(of(p), 413) : 0;
}

static int on_complete(http_parser *p)
{
	of(p)->complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_header_field = on_field,
	.on_header_value = on_value,
	.on_headers_complete = on_headers,
	.on_chunk_header = on_chunk,
	.on_message_complete = on_complete,
};

void request_init(struct request *r)
{
	*r = (struct request){0};
	http_parser_init(&r->parser, HTTP_REQUEST);
	http_parser_set_max_header_size(HEADER_MAX);
	r->parser.data = r;
}

void request_fini(struct request *r)
{
	free(r->url);
	r->url = NULL;
}

void request_next(struct request *r)
{
	if (r->url_room > 256) { /* a long one is rare: idle connections stay small */
		request_fini(r);
		r->url_room = 0;
	}
	r->url_len = 0;
	r->field_len = 0;
	r->in_value = r->host = r->complete = false;
	http_parser_pause(&r->parser, 0);
}

size_t request_parse(struct request *r, const char *data, size_t len)
{
	size_t used = http_parser_execute(&r->parser, &settings, data, len);
	enum http_errno e = HTTP_PARSER_ERRNO(&r->parser);

	if (e == HPE_OK || r->complete)
		return used;
	if (e == HPE_HEADER_OVERFLOW)
		refuse(r, 431);
	refuse(r, 400); /* keeps an earlier reason */
	return used;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes up to the query; 400 for a bad escape and for one of NUL. */
static int decode(const char *s, size_t len, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len && s[i] != '?' && s[i] != '#'; i++) {
		out[n] = s[i];
		if (s[i] == '%') {
			int hi = i + 2 < len ? hex(s[i + 1]) : -1;
			int lo = hi < 0 ? -1 : hex(s[i + 2]);

			if (lo < 0 || (hi | lo) == 0)
				return 400;
			out[n] = (char)(hi << 4 | lo);
			i += 2;
		}
		n++;
	}
	out[n] = '\0';
	return 0;
}

int request_path(const struct request *r, char *out)
{
	struct http_parser_url u;

	if (r->url_len > 0 && r->url[0] == '/')
		return decode(r->url, r->url_len, out);
	http_parser_url_init(&u); /* the absolute form, as proxies send it */
	if (http_parser_parse_url(r->url, r->url_len, 0, &u) != 0 || !(u.field_set & 1 << UF_PATH))
		return 400;
	return decode(r->url + u.field_data[UF_PATH].off, u.field_data[UF_PATH].len, out);
}
