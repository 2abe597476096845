/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack capture: frames as they pass the service's ports. The service sends pcapng; with -w it
 * goes to a file as it is, else each frame becomes a line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "chan/attach.h"
#include "zstack.h"

#define BLOCK_STATS  5u
#define BLOCK_PACKET 6u
#define BLOCK_MAX    (1u << 20)

static uint32_t word(const char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* An enhanced packet block, at least 32 bytes long. */
static void print_packet(const struct tool *t, const char *b, uint32_t len)
{
	uint64_t ns = (uint64_t)word(b + 12) << 32 | word(b + 16);
	uint32_t kept = word(b + 20), whole = word(b + 24), options = 28 + ((kept + 3) & ~3u);
	time_t s = (time_t)(ns / 1000000000u);
	bool out;
	char clock[16];
	struct tm tm;
	json_t *o;

	if (kept > len - 32)
		return;
	out = options + 8 <= len && (word(b + options) & 0xffff) == 2 &&
	      (word(b + options + 4) & 3) == 2;
	o = frame_json((const uint8_t *)b + 28, kept);
	if (t->json) {
		json_object_set_new(o, "time_ns", json_integer((json_int_t)ns));
		json_object_set_new(o, "port", json_integer(word(b + 8)));
		json_object_set_new(o, "out", json_boolean(out));
		json_object_set_new(o, "length", json_integer(whole));
		print_json(o);
	} else {
		localtime_r(&s, &tm);
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
		printf("%s.%06u %s %-5s %s > %s %s length %u\n", clock,
		       (unsigned)(ns % 1000000000u / 1000), out ? "Out" : "In ",
		       text_of(o, "proto"), text_of(o, "src"), text_of(o, "dst"),
		       text_of(o, "info"), whole);
	}
	json_decref(o);
}

/* The whole blocks at the beginning; how many bytes they were, -1: that is no pcapng. */
static ssize_t blocks(const struct tool *t, const char *b, size_t len)
{
	size_t at = 0;

	while (len - at >= 12) {
		uint32_t type = word(b + at), n = word(b + at + 4);

		if (n < 12 || n % 4 != 0 || n > BLOCK_MAX)
			return -1;
		if (n > len - at)
			break;
		if (type == BLOCK_PACKET && n >= 32)
			print_packet(t, b + at, n);
		else if (type == BLOCK_STATS && n >= 32)
			fprintf(stderr, "zstack: %u frames were lost so far\n", word(b + at + 24));
		at += n;
	}
	return (ssize_t)at;
}

static int lines(struct tool *t)
{
	char *b = malloc(2 * BLOCK_MAX);
	size_t len = 0;
	ssize_t n = 0, used;

	while (b != NULL && !interrupted && (n = ask_bytes(t, b + len)) > 0) {
		len += (size_t)n;
		used = blocks(t, b, len);
		if (used < 0) {
			fprintf(stderr, "zstack: what zstackd sends is no pcapng\n");
			n = -1;
			break;
		}
		memmove(b, b + used, len - (size_t)used);
		len -= (size_t)used;
		fflush(stdout);
	}
	free(b);
	return b == NULL ? -1 : (int)n;
}

static int to_file(struct tool *t, const char *path)
{
	FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	char b[ATTACH_PIECE_MAX];
	ssize_t n = 0;
	bool bad;

	if (f == NULL) {
		fprintf(stderr, "zstack: -w %s: %s\n", path, strerror(errno));
		return -1;
	}
	while (!interrupted && (n = ask_bytes(t, b)) > 0)
		if (fwrite(b, 1, (size_t)n, f) != (size_t)n || fflush(f) != 0)
			break;
	bad = ferror(f) != 0;
	bad |= fclose(f) != 0;
	if (bad)
		fprintf(stderr, "zstack: -w %s: %s\n", path, strerror(errno));
	return bad || n < 0 ? -1 : 0;
}

/* Words that the service understands; what it doesn't it says. */
static int filter(json_t *request, int argc, char **argv)
{
	long port;

	for (int i = 0; i < argc; i++) {
		bool host = strcmp(argv[i], "host") == 0;

		if (!host && strcmp(argv[i], "port") != 0) {
			json_object_set_new(request, "proto", json_string(argv[i]));
			continue;
		}
		if (argv[i + 1] == NULL)
			return usage("capture: %s: its value is missing", argv[i]);
		i++;
		if (host)
			json_object_set_new(request, "host", json_string(argv[i]));
		else if (count_of(argv[i], 65535, &port))
			json_object_set_new(request, "port", json_integer(port));
		else
			return usage("capture: port %s: give a port number", argv[i]);
	}
	return 0;
}

int cmd_capture(struct tool *t, int argc, char **argv)
{
	json_t *request = json_pack("{s:s}", "do", "capture");
	const char *path = NULL;
	long count = 0, snap = 0;
	int c, rc = 0;

	while ((c = getopt(argc, argv, "w:c:s:")) != -1) {
		if (c == 'w')
			path = optarg;
		else if (c == 'c' ? !count_of(optarg, 1000000000, &count)
				  : c != 's' || !count_of(optarg, 65535, &snap))
			rc = usage("capture: -w FILE|-, -c COUNT, -s BYTES");
	}
	json_object_set_new(request, "count", json_integer(count));
	json_object_set_new(request, "snap", json_integer(snap));
	if (rc == 0)
		rc = filter(request, argc - optind, argv + optind);
	if (rc != 0) {
		json_decref(request);
		return rc;
	}
	catch_interrupt();
	if (ask_begin(t, request) < 0)
		return 1;
	rc = path != NULL ? to_file(t, path) : lines(t);
	return rc < 0 && !interrupted ? 1 : 0;
}
