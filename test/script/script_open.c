/* SPDX-License-Identifier: BSD-3-Clause
 *
 * `open`: the three-way handshake as lines of the language, from the side that the variant says
 * (RFC 9293 §3.5). The round trip takes 10 ms.
 */
#include <string.h>

#include "script.h"
#include "script_line.h"

struct offer {
	bool ts, sack, ws, mss;
	unsigned mss_value, ws_value, win;
};

static struct offer offer_of(const struct line *l, unsigned i)
{
	struct offer o = {true, true, true, true, 1460, 4, 65535};

	for (; i < l->n; i++) {
		const char *t = l->tok[i];
		bool more = i + 1 < l->n;

		if (strcmp(t, "nots") == 0)
			o.ts = false;
		else if (strcmp(t, "nosack") == 0)
			o.sack = false;
		else if (strcmp(t, "nows") == 0)
			o.ws = false;
		else if (strcmp(t, "nomss") == 0)
			o.mss = false;
		else if (strcmp(t, "mss") == 0 && more)
			o.mss_value = (unsigned)number(l->tok[++i]);
		else if (strcmp(t, "ws") == 0 && more)
			o.ws_value = (unsigned)number(l->tok[++i]);
		else if (strcmp(t, "win") == 0 && more)
			o.win = (unsigned)number(l->tok[++i]);
		else if (strcmp(t, "active") != 0 && strcmp(t, "passive") != 0)
			fail("no such word of open: %s", t);
	}
	return o;
}

/* The options that the peer sends on its SYN. */
static const char *peer_options(const struct offer *o)
{
	static char text[80];
	char *p = text, *end = text + sizeof(text);

	*p = '\0';
	if (o->mss)
		p += snprintf(p, (size_t)(end - p), "mss %u ", o->mss_value);
	if (o->sack)
		p += snprintf(p, (size_t)(end - p), "sackOK ");
	if (o->ts)
		p += snprintf(p, (size_t)(end - p), "ts ");
	if (o->ws)
		snprintf(p, (size_t)(end - p), "ws %u", o->ws_value);
	return text;
}

static void do_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void do_line(const char *format, ...)
{
	const struct line *outer = run.line;
	struct line l = {.no = outer->no};
	va_list ap;

	va_start(ap, format);
	vsnprintf(l.text, sizeof(l.text), format, ap);
	va_end(ap);
	line_split(&l);
	execute(&l);
	run.line = outer;
}

static unsigned our_mss(void)
{
	return run.link.mtu - (run.v->v6 ? 60u : 40u);
}

/* What stays in the window field of the last segment of the handshake. */
static unsigned scaled(const struct offer *o)
{
	return o->ws ? o->win & ~((1u << o->ws_value) - 1) : o->win;
}

static void open_passive(const struct offer *o)
{
	if (run.listener == NULL)
		do_line("listen");
	do_line("< S 0:0 win %u < %s >", o->win, peer_options(o));
	do_line("> S. 0:0 ack 1 < mss %u %s %s %s >", our_mss(), o->sack ? "sackOK" : "",
		o->ts ? "ts" : "", o->ws ? "ws" : "");
	do_line("+0.01 < . 1:1 ack 1 win %u", scaled(o));
	do_line("accept");
}

static void open_active(const struct offer *o)
{
	do_line("connect");
	do_line("> S 0:0 < mss %u sackOK ts ws >", our_mss());
	do_line("+0.01 < S. 0:0 ack 1 win %u < %s >", o->win, peer_options(o));
	do_line("> . 1:1 ack 1");
	do_line("event connected");
	do_line("< . 1:1 ack 1 win %u", scaled(o));
}

void call_open(const struct line *l, unsigned i)
{
	struct offer o = offer_of(l, i);
	bool active = run.v->active;

	for (; i < l->n; i++) {
		if (strcmp(l->tok[i], "active") == 0)
			active = true;
		if (strcmp(l->tok[i], "passive") == 0)
			active = false;
	}
	if (active)
		open_active(&o);
	else
		open_passive(&o);
	do_line("state ESTABLISHED");
	run.p->events = 0;
}
