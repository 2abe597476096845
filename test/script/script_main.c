/* SPDX-License-Identifier: BSD-3-Clause
 *
 * script FILE [TEST [VARIANT]]: runs the tests of a file in all variants, or one of them with its
 * record. Exit code 1 when one fails; the record of the first failed variant of each is shown.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "script.h"
#include "script_line.h"

#define LINES_MAX 4096

static struct line lines[LINES_MAX];
static unsigned n_lines;
static const char *file_name, *test_name;
static char record[1 << 17];
static size_t recorded;
static jmp_buf failed;
static bool running;
static unsigned variant_no;
static unsigned leaked; /* by runs that failed */

static void record_v(const char *format, va_list ap)
{
	int n = vsnprintf(record + recorded, sizeof(record) - recorded, format, ap);

	recorded += (size_t)n;
	if (recorded > sizeof(record) - 1024)
		recorded = 0; /* the end is what matters */
}

void note(const char *format, ...)
{
	va_list ap;
	int n = snprintf(record + recorded, sizeof(record) - recorded, "%10.6f  ",
			 (double)run.now / 1e9);

	recorded += (size_t)n;
	va_start(ap, format);
	record_v(format, ap);
	va_end(ap);
	record[recorded++] = '\n';
	record[recorded] = '\0';
}

static void show_record(void)
{
	printf("%s%s:%u: %s, variant %u: %s\n", record, file_name, run.line ? run.line->no : 0,
	       test_name, variant_no, run.line ? run.line->text : "");
	fflush(stdout);
}

void fail(const char *format, ...)
{
	va_list ap;

	show_record();
	printf("  failed: ");
	va_start(ap, format);
	vprintf(format, ap);
	va_end(ap);
	printf("\n\n");
	fflush(stdout);
	if (!running)
		exit(1);
	longjmp(failed, 1);
}

static void on_abort(int sig)
{
	show_record();
	_exit(1);
}

/* ---- files ---- */

static uint64_t seconds(const char *s, size_t n)
{
	char text[32], *end;
	double v;

	snprintf(text, sizeof(text), "%.*s", (int)n, s);
	v = strtod(text, &end);
	if (n == 0 || *end != '\0' || v < 0)
		fail("not a time: %s", s);
	return (uint64_t)(v * 1e9 + 0.5);
}

/* +T: at that time (a segment: give or take a millisecond); +LO..HI: in between. */
static void time_of(struct line *l, const char *word)
{
	const char *dots = strstr(word, "..");

	l->timed = true;
	l->lo = seconds(word + 1, dots ? (size_t)(dots - word) - 1 : strlen(word + 1));
	l->hi = dots ? seconds(dots + 2, strlen(dots + 2)) : l->lo;
	if (dots == NULL && (strcmp(l->tok[1], ">") == 0 || strcmp(l->tok[1], "?>") == 0)) {
		l->lo -= l->lo > MS ? MS : 0;
		l->hi += MS;
	}
}

void line_split(struct line *l)
{
	char *save = NULL;

	snprintf(l->words, sizeof(l->words), "%s", l->text);
	l->words[strcspn(l->words, "#\n")] = '\0';
	for (char *w = strtok_r(l->words, " \t,", &save); w != NULL;
	     w = strtok_r(NULL, " \t,", &save)) {
		if (l->n == TOKENS_MAX - 1)
			fail("too many words");
		l->tok[l->n++] = w;
	}
	if (l->n > 1 && l->tok[0][0] == '+') {
		time_of(l, l->tok[0]);
		memmove(l->tok, l->tok + 1, --l->n * sizeof(l->tok[0]));
	}
}

static void read_file(const char *name)
{
	FILE *f = fopen(name, "r");
	char text[256];

	if (f == NULL) {
		fprintf(stderr, "script: can't read %s\n", name);
		exit(1);
	}
	for (unsigned no = 1; fgets(text, sizeof(text), f) != NULL; no++) {
		struct line *l = &lines[n_lines];

		*l = (struct line){.no = no};
		snprintf(l->text, sizeof(l->text), "%.*s", (int)strcspn(text, "\n"), text);
		run.line = l;
		line_split(l);
		if (l->n > 0 && ++n_lines == LINES_MAX)
			fail("file too long");
	}
	fclose(f);
}

/* ---- variants ---- */

static const uint32_t numbers[][2] = {
	{1000000, 2000000},
	{0x7fffffff - 700, 0xffffffff - 700}, /* both halves of the circle, inside the stream */
	{0xffffffff - 700, 0x7fffffff - 700},
	{0xffffffff, 0xffffffff}, /* the SYN is the last number */
	{0xfffffffe, 0x7ffffffe},
};
#define VARIANTS (array_size(numbers) * 8)

static struct variant variant_at(unsigned i)
{
	unsigned n = i / 8;

	return (struct variant){.v6 = i & 1,
				.active = i & 2,
				.cut = i & 4 ? 33 : 4000,
				.offload = i & 4,
				.iss = numbers[n][0],
				.irs = numbers[n][1]};
}

static void run_init(const struct variant *v)
{
	run = (struct run){.v = v, .now = SEC, .last = SEC, .take = 1000};
	run.us = v->v6 ? (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = 1}}
		       : ip_addr_v4(be32(0x0a000001));
	run.them = v->v6 ? (struct ip_addr){.b = {0x20, 1, 0x0d, 0xb8, [15] = 2}}
			 : ip_addr_v4(be32(0x0a000002));
	tcp_cfg_defaults(&run.cfg);
	run.cfg.max_conns = 64;
	run.cfg.max_syn = 16;
	memset(run.cfg.secret, 7, sizeof(run.cfg.secret));
	run.cfg.seed = 1;
	/* So that segments carry 1460 bytes in both families, less options. */
	run.link = (struct tcp_link){.mtu = v->v6 ? 1520 : 1500,
				     .tso_segs = 1,
				     .tso_bytes = 65535,
				     .l4_csum = v->offload};
	run.p = &run.peer[0];
	peer_init(run.p, 4000, v->irs);
}

/* The clock drives initial sequence numbers, one each 4 µs (RFC 9293 §3.4.1): the run starts when
 * the wanted one is due. What is due is seen by a SYN of another engine. */
static void set_clock(const struct variant *v)
{
	struct tcp_open o = {
		.key = {.laddr = run.us, .raddr = run.them, .lport = 8080, .rport = 4000},
		.link = run.link};
	struct tcp_conn *c;
	uint32_t off;

	engine_start();
	if (tcp_connect(run.t, &o, &c) != 0)
		fail("connect");
	pump();
	off = v->iss - run.p->iss;
	engine_stop();
	run.now += (uint64_t)off * 4000;
	run.last = run.now;
	recorded = 0;
	record[0] = '\0';
	peer_init(run.p, 4000, v->irs);
	memset(&run.drops, 0, sizeof(run.drops));
}

static void finish(void)
{
	run.silent_ok = true;
	for (unsigned i = 0; i < PEERS_MAX; i++)
		if (run.peer[i].conn != NULL)
			tcp_abort(run.t, run.peer[i].conn);
	if (run.t != NULL)
		pump();
	engine_stop();
	if (lab_in_use() != leaked)
		fail("%u buffers are missing", lab_in_use() - leaked);
}

static bool run_one(unsigned first, unsigned last, const struct variant *v)
{
	running = true;
	run_init(v);
	if (setjmp(failed) != 0) {
		running = false;
		run.t = NULL;
		lab_fail_at(-1);
		leaked = lab_in_use();
		return false;
	}
	set_clock(v);
	for (unsigned i = first; i < last; i++)
		execute(&lines[i]);
	if (run.n_out > 0 && !run.silent_ok)
		fail("behind the last line: > %s", seg_text(run.p, &run.out[0].s, true));
	finish();
	running = false;
	return true;
}

static bool wanted(const struct line *l, const struct variant *v)
{
	for (unsigned i = 2; i < l->n; i++) {
		const char *t = l->tok[i];

		if ((strcmp(t, "v4") == 0 && v->v6) || (strcmp(t, "v6") == 0 && !v->v6) ||
		    (strcmp(t, "active") == 0 && !v->active) ||
		    (strcmp(t, "passive") == 0 && v->active) ||
		    (strcmp(t, "whole") == 0 && v->cut < 100))
			return false;
	}
	return true;
}

/* All variants of the test whose name stands in line `first`, up to the first that fails. */
static bool run_test(unsigned first, unsigned last, const char *only)
{
	unsigned ran = 0;

	test_name = lines[first].tok[1];
	for (unsigned i = 0; i < VARIANTS; i++) {
		struct variant v = variant_at(i);

		if (only != NULL ? (unsigned)atoi(only) != i : !wanted(&lines[first], &v))
			continue;
		variant_no = i;
		if (!run_one(first + 1, last, &v))
			return false;
		if (only != NULL)
			show_record();
		ran++;
	}
	printf("ok  %s (%u variants)\n", test_name, ran);
	return true;
}

int main(int argc, char **argv)
{
	unsigned passed = 0, bad = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: script FILE [TEST [VARIANT]]\n");
		return 2;
	}
	file_name = argv[1];
	read_file(file_name);
	lab_start(4095, 1023, 4095);
	signal(SIGABRT, on_abort);
	for (unsigned i = 0; i < n_lines;) {
		unsigned end = i + 1;

		if (strcmp(lines[i].tok[0], "test") != 0 || lines[i].n < 2)
			fail("line %u: expected `test NAME`", lines[i].no);
		while (end < n_lines && strcmp(lines[end].tok[0], "test") != 0)
			end++;
		if (argc < 3 || strcmp(argv[2], lines[i].tok[1]) == 0) {
			if (run_test(i, end, argc > 3 ? argv[3] : NULL))
				passed++;
			else
				bad++;
		}
		i = end;
	}
	printf("%u passed, %u failed\n", passed, bad);
	return bad > 0 || passed == 0;
}
