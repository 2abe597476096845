/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack ping: echo requests from the service's stack, not from this machine's kernel.
 */
#include <stdio.h>
#include <unistd.h>

#include "zstack.h"

#define BYTES_MAX 512 /* what the service takes */

struct ping {
	struct tool *t;
	const char *to;
	long sent, received;
	double min, max, sum;
};

static void answer(void *arg, json_t *o)
{
	struct ping *p = arg;
	bool lost = json_is_true(json_object_get(o, "timeout"));
	double ms = json_real_value(json_object_get(o, "rtt_us")) / 1e3;

	if (!lost) {
		p->min = p->received == 0 || ms < p->min ? ms : p->min;
		p->max = ms > p->max ? ms : p->max;
		p->sum += ms;
		p->received++;
	}
	if (p->t->json)
		print_json(o);
	else if (lost)
		printf("no answer from %s: seq=%lld\n", p->to, (long long)number_of(o, "seq"));
	else
		printf("%lld bytes from %s: seq=%lld ttl=%lld time=%.3f ms\n",
		       (long long)number_of(o, "bytes"), p->to, (long long)number_of(o, "seq"),
		       (long long)number_of(o, "ttl"), ms);
}

static int run(struct ping *p, long count, double every, long bytes, double wait)
{
	int rc = 0;

	while (rc == 0 && !interrupted && (count == 0 || p->sent < count)) {
		json_t *request;

		if (p->sent > 0)
			wait_s(every);
		if (interrupted)
			break;
		p->sent++;
		request = json_pack("{s:s, s:s, s:I, s:I, s:I}", "do", "ping", "to", p->to, "seq",
				    (json_int_t)(p->sent & 0xffff), "bytes", (json_int_t)bytes,
				    "wait_ms", (json_int_t)(wait * 1e3));
		rc = ask(p->t, request, answer, p);
	}
	return rc;
}

int cmd_ping(struct tool *t, int argc, char **argv)
{
	struct ping p = {.t = t};
	long count = 0, bytes = 56;
	double every = 1, wait = 1;
	int c, rc;

	while ((c = getopt(argc, argv, "c:i:s:W:")) != -1) {
		if (c == 's' && !count_of(optarg, BYTES_MAX, &bytes))
			return usage("ping -s %s: give a number of bytes from 1 to %d", optarg,
				     BYTES_MAX);
		if (c == 'c'   ? !count_of(optarg, 1000000000, &count)
		    : c == 'i' ? !seconds(optarg, &every)
			       : c != 's' && (c != 'W' || !seconds(optarg, &wait)))
			return usage("ping: -c COUNT, -i SECONDS, -s BYTES (at most %d), -W "
				     "SECONDS",
				     BYTES_MAX);
	}
	if (optind != argc - 1)
		return usage("ping: give one IP address");
	p.to = argv[optind];
	t->takes_s = wait;
	catch_interrupt();
	rc = run(&p, count, every, bytes, wait);
	if ((rc == 0 || interrupted) && !t->json)
		printf("%ld sent, %ld received; rtt min/avg/max %.3f/%.3f/%.3f ms\n", p.sent,
		       p.received, p.min, p.received > 0 ? p.sum / (double)p.received : 0, p.max);
	return (rc == 0 || interrupted) && p.received > 0 ? 0 : 1;
}
