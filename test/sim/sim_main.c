/* SPDX-License-Identifier: BSD-3-Clause
 *
 * sim [--seed N | --seeds A-B] [--scenario NAME] [-v] [--list]
 *
 * Runs scenarios from seeds, each once; the first seed of each twice, to see that the same seed
 * gives the same packets. -v prints every packet.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

struct sim sim;
static uint64_t current_seed;

void sim_fail(const char *format, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "sim: at %.6f s: ", (double)(sim.now - sim.began) / 1e9);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fprintf(stderr, "\nrepeat: sim --scenario %s --seed %lu -v\n", sim.s->name,
		(unsigned long)current_seed);
	exit(1);
}

bool sim_chance(uint64_t of_million)
{
	return rand_below(&sim.rand, 1000000) < of_million;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Virtual time goes to the next thing that happens. */
static void step(void)
{
	uint64_t next = least(least(link_due(), app_due()), least(host_due(0), host_due(1)));

	if (next == UINT64_MAX)
		sim_fail("nothing will happen any more; %u of %u flows are over", sim.over,
			 sim.s->flows);
	if (next > sim.now)
		sim.now = next;
	for (unsigned i = 0; i < 2; i++)
		tcp_begin(sim.host[i].t, sim.now);
	link_run();
	app_run();
	host_run(0);
	host_run(1);
}

static void until_flows_end(void)
{
	uint64_t stuck = 0, last = 0;

	while (sim.over < sim.s->flows) {
		step();
		if (sim.now - sim.began > sim.s->limit_ns)
			sim_fail("not over: %u of %u flows, %lu bytes", sim.over, sim.s->flows,
				 (unsigned long)sim.bytes);
		stuck = sim.now == last ? stuck + 1 : 0;
		last = sim.now;
		if (stuck > 100000)
			sim_fail("time stands still");
	}
}

/* TIME-WAIT and what is left in the links come to their end; then nothing is held. */
static void until_quiet(void)
{
	uint64_t end = sim.now + 1000 * SEC;

	lab_fail(0, 0);
	while (!host_empty(0) || !host_empty(1) || sim.n_frames > 0) {
		step();
		if (sim.now > end)
			sim_fail("connections stay for ever");
	}
	if (lab_in_use() != 0)
		sim_fail("%u buffers are missing", lab_in_use());
}

static void check_flow(const struct flow *f)
{
	for (unsigned side = 0; side < 2; side++) {
		const struct app *a = &f->app[side];

		if (!a->failed && !f->app[1 - side].failed &&
		    (a->sent != a->plan->send || a->rcvd != a->peer_send))
			sim_fail("flow %lu side %u: sent %lu of %lu, received %lu of %lu",
				 (unsigned long)(f - sim.flow), side, (unsigned long)a->sent,
				 (unsigned long)a->plan->send, (unsigned long)a->rcvd,
				 (unsigned long)a->peer_send);
	}
}

static void check_goodput(void)
{
	double s = (double)(sim.now - sim.began) / 1e9;
	double goodput = (double)sim.bytes / s;

	printf("%-20s seed %-6lu %9lu bytes in %8.3f s: %9.0f kB/s; %lu packets, %lu lost\n",
	       sim.s->name, (unsigned long)current_seed, (unsigned long)sim.bytes, s, goodput / 1e3,
	       (unsigned long)sim.delivered, (unsigned long)sim.lost);
	if (goodput < (double)sim.s->goodput_min)
		sim_fail("goodput of %.0f bytes/s is below %lu", goodput,
			 (unsigned long)sim.s->goodput_min);
}

/* Returns the trace's hash. */
static uint64_t run(const struct scenario *s, uint64_t seed, bool verbose, bool again)
{
	memset(&sim, 0, sizeof(sim));
	sim.s = s;
	sim.verbose = verbose;
	current_seed = seed;
	rand_init(&sim.rand, seed);
	memcpy(sim.link, s->link, sizeof(sim.link));
	sim.v6 = seed & 1;
	/* The clock moves initial sequence numbers: anywhere on the circle (H14). */
	sim.now = sim.began = SEC + rand_below(&sim.rand, 20000 * SEC);
	host_start(0, seed);
	host_start(1, seed + 7);
	lab_fail(s->fail_of_65536, seed);
	app_start_more();
	until_flows_end();
	for (unsigned i = 0; i < sim.started; i++)
		check_flow(&sim.flow[i]);
	if (!again)
		check_goodput();
	until_quiet();
	tcp_destroy(sim.host[0].t);
	tcp_destroy(sim.host[1].t);
	link_clear();
	return sim.trace;
}

static void run_seeds(const struct scenario *s, uint64_t first, uint64_t last, bool verbose)
{
	for (uint64_t seed = first; seed <= last; seed++) {
		uint64_t hash = run(s, seed, verbose, false);

		if (seed == first && !verbose && run(s, seed, false, true) != hash)
			sim_fail("the same seed gave other packets");
	}
}

static int usage(void)
{
	fprintf(stderr, "usage: sim [--seed N | --seeds A-B] [--scenario NAME] [-v] [--list]\n");
	return 2;
}

int main(int argc, char **argv)
{
	uint64_t first = 1, last = 1;
	const char *only = NULL;
	bool verbose = false;
	unsigned ran = 0;

	for (int i = 1; i < argc; i++) {
		char *dash;

		if (strcmp(argv[i], "-v") == 0) {
			verbose = true;
		} else if (strcmp(argv[i], "--list") == 0) {
			for (unsigned k = 0; k < n_scenarios; k++)
				printf("%s\n", scenarios[k].name);
			return 0;
		} else if (i + 1 < argc && strcmp(argv[i], "--scenario") == 0) {
			only = argv[++i];
		} else if (i + 1 < argc && strncmp(argv[i], "--seed", 6) == 0) {
			first = last = strtoull(argv[++i], &dash, 10);
			if (*dash == '-')
				last = strtoull(dash + 1, NULL, 10);
		} else {
			return usage();
		}
	}
	lab_start(16383, 8191, 16383);
	for (unsigned k = 0; k < n_scenarios; k++) {
		if (only != NULL && strcmp(only, scenarios[k].name) != 0)
			continue;
		run_seeds(&scenarios[k], first, last, verbose);
		ran++;
	}
	if (ran == 0)
		fprintf(stderr, "sim: no such scenario: %s\n", only);
	return ran == 0;
}
