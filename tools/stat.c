/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack stat: counters, summed over the cores; ports; why packets were dropped. With -i again and
 * again, with what was added each second.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "zstack.h"

/* Everything as one object {name: value}; sentences of the drop reasons beside. */
struct sample {
	double at_s;
	json_t *counters, *gauges, *ports, *drops, *texts;
};

static void add(json_t *sum, const char *name, int64_t value)
{
	json_object_set_new(sum, name, json_integer(number_of(sum, name) + value));
}

static void add_all(json_t *sum, json_t *from, const char *prefix)
{
	const char *name;
	json_t *value;
	char full[96];

	json_object_foreach(from, name, value)
	{
		snprintf(full, sizeof(full), "%s%s", prefix, name);
		add(sum, full, json_integer_value(value));
	}
}

static void take(void *arg, json_t *o)
{
	struct sample *s = arg;
	const char *name;
	json_t *value;
	char prefix[64];

	if (json_object_get(o, "port") != NULL) {
		snprintf(prefix, sizeof(prefix), "%.60s_", text_of(o, "name"));
		add_all(s->ports, json_object_get(o, "counters"), prefix);
		return;
	}
	add_all(s->counters, json_object_get(o, "counters"), "");
	add_all(s->counters, json_object_get(o, "service"), "service_");
	add_all(s->gauges, json_object_get(o, "gauges"),
		json_object_get(o, "service") != NULL ? "service_" : "");
	json_object_foreach(json_object_get(o, "drops"), name, value)
	{
		add(s->drops, name, number_of(value, "value"));
		json_object_set(s->texts, name, json_object_get(value, "text"));
	}
}

static void sample_free(struct sample *s)
{
	json_decref(s->counters);
	json_decref(s->gauges);
	json_decref(s->ports);
	json_decref(s->drops);
	json_decref(s->texts);
	*s = (struct sample){0};
}

static int sample(struct tool *t, struct sample *s)
{
	*s = (struct sample){.at_s = now_s(),
			     .counters = json_object(),
			     .gauges = json_object(),
			     .ports = json_object(),
			     .drops = json_object(),
			     .texts = json_object()};
	return ask(t, json_pack("{s:s}", "do", "counters"), take, s);
}

/* before NULL: no rates. */
static void print_part(const char *title, json_t *now, json_t *before, double passed, bool zeros,
		       json_t *texts)
{
	const char *name;
	json_t *value;
	bool head = false;

	json_object_foreach(now, name, value)
	{
		int64_t n = json_integer_value(value);
		int64_t more = before != NULL ? n - number_of(before, name) : n;

		if (!zeros && (before != NULL ? more == 0 : n == 0))
			continue;
		if (!head)
			printf("%s\n", title);
		head = true;
		printf("  %-36s %16lld", name, (long long)n);
		if (before != NULL)
			printf(" %14.1f/s", (double)more / passed);
		if (texts != NULL)
			printf("  %s", text_of(texts, name));
		putchar('\n');
	}
}

static json_t *rates(json_t *now, json_t *before, double passed)
{
	json_t *out = json_object(), *value;
	const char *name;

	json_object_foreach(now, name, value)
	{
		double more = (double)(json_integer_value(value) - number_of(before, name));

		json_object_set_new(out, name, json_real(round(more / passed * 10) / 10));
	}
	return out;
}

static void print(struct tool *t, const struct sample *now, const struct sample *was, bool zeros)
{
	bool first = was->counters == NULL;
	double passed = now->at_s - was->at_s;
	json_t *o;

	if (!t->json) {
		print_part("counters", now->counters, was->counters, passed, zeros, NULL);
		print_part("now", now->gauges, NULL, 0, zeros, NULL);
		print_part("ports", now->ports, was->ports, passed, zeros, NULL);
		print_part("dropped", now->drops, was->drops, passed, zeros, now->texts);
		return;
	}
	o = json_pack("{s:O, s:O, s:O, s:O}", "counters", now->counters, "gauges", now->gauges,
		      "ports", now->ports, "drops", now->drops);
	if (!first) {
		json_object_set_new(o, "seconds", json_real(passed));
		json_object_set_new(o, "counter_rates",
				    rates(now->counters, was->counters, passed));
		json_object_set_new(o, "port_rates", rates(now->ports, was->ports, passed));
		json_object_set_new(o, "drop_rates", rates(now->drops, was->drops, passed));
	}
	print_json(o);
	json_decref(o);
}

int cmd_stat(struct tool *t, int argc, char **argv)
{
	struct sample was = {0}, now;
	double every = 0;
	long n = 0;
	bool zeros = false;
	int c, rc = 0;

	while ((c = getopt(argc, argv, "zi:n:")) != -1) {
		if (c == 'z')
			zeros = true;
		else if (c == 'i' ? !seconds(optarg, &every)
				  : c != 'n' || !count_of(optarg, 1000000000, &n))
			return usage("stat: -z, -i SECONDS and -n COUNT");
	}
	if (optind != argc)
		return usage("stat: %s: what is that", argv[optind]);
	for (long i = 0; rc == 0 && (i == 0 || (every > 0 && (n == 0 || i < n))); i++) {
		if (i > 0)
			wait_s(every);
		rc = sample(t, &now);
		if (rc == 0) {
			if (i > 0 && !t->json)
				putchar('\n');
			print(t, &now, &was, zeros);
		}
		sample_free(&was);
		was = now;
	}
	sample_free(&was);
	return rc < 0 ? 1 : 0;
}
