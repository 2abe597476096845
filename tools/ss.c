/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstack ss: sockets, in the manner of ss(8). Without -a or -l: those that have a peer.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "zstack.h"

struct ss {
	struct tool *t;
	bool tcp, udp, listening, all, info, head;
	const char *state, *program, *src, *dst, *host;
	long sport, dport, port;
};

static bool is(const char *want, const char *have)
{
	return want == NULL || strcmp(want, have) == 0;
}

static bool is_number(long want, int64_t have)
{
	return want == 0 || want == have;
}

static bool kind_wanted(const struct ss *s, const json_t *o)
{
	bool udp = strcmp(text_of(o, "proto"), "udp") == 0;
	bool peer = number_of(o, "peer_port") != 0;
	bool listens = json_is_true(json_object_get(o, "listens")) || (udp && !peer);

	if ((s->tcp || s->udp) && !(udp ? s->udp : s->tcp))
		return false;
	if (s->all || s->state != NULL)
		return true;
	return s->listening ? listens : peer;
}

static bool wanted(const struct ss *s, const json_t *o)
{
	const char *local = text_of(o, "local"), *peer = text_of(o, "peer");
	int64_t lport = number_of(o, "local_port"), pport = number_of(o, "peer_port");

	if (!kind_wanted(s, o))
		return false;
	if (s->state != NULL && strcasecmp(s->state, text_of(o, "state")) != 0)
		return false;
	if (!is(s->program, text_of(o, "program")) || !is(s->src, local) || !is(s->dst, peer))
		return false;
	if (s->host != NULL && !is(s->host, local) && !is(s->host, peer))
		return false;
	return is_number(s->sport, lport) && is_number(s->dport, pport) &&
	       (is_number(s->port, lport) || is_number(s->port, pport));
}

static double us(const json_t *i, const char *key)
{
	return (double)number_of(i, key) / 1e3;
}

static void words(const json_t *i, const char *label, const char *key)
{
	if (number_of(i, key) != 0)
		printf(" %s:%lld", label, (long long)number_of(i, key));
}

static void print_info(const json_t *i)
{
	static const char *const more[][2] = {{"rcvmss", "rcv_mss"},
					      {"advmss", "advmss"},
					      {"cwnd", "cwnd_bytes"},
					      {"snd_wnd", "snd_wnd"},
					      {"rcv_wnd", "rcv_wnd"},
					      {"bytes_sent", "bytes_sent"},
					      {"bytes_acked", "bytes_acked"},
					      {"bytes_received", "bytes_received"},
					      {"bytes_retrans", "bytes_retrans"},
					      {"segs_out", "segs_out"},
					      {"segs_in", "segs_in"},
					      {"unacked", "unacked"},
					      {"sacked", "sacked"},
					      {"lost", "lost"},
					      {"retrans", "total_retrans"},
					      {"reordering", "reordering"},
					      {"notsent", "notsent_bytes"},
					      {"backoff", "backoff"},
					      {"probes", "probes"}};

	printf("\t%s%s%s%s wscale:%lld,%lld rto:%.3f rtt:%.3f/%.3f minrtt:%.3f mss:%lld pmtu:%lld",
	       text_of(i, "cc"), json_is_true(json_object_get(i, "timestamps")) ? " ts" : "",
	       json_is_true(json_object_get(i, "sack")) ? " sack" : "",
	       json_is_true(json_object_get(i, "ecn")) ? " ecn" : "",
	       (long long)number_of(i, "snd_wscale"), (long long)number_of(i, "rcv_wscale"),
	       us(i, "rto_us"), us(i, "srtt_us"), us(i, "rttvar_us"), us(i, "min_rtt_us"),
	       (long long)number_of(i, "snd_mss"), (long long)number_of(i, "pmtu"));
	for (size_t k = 0; k < sizeof(more) / sizeof(more[0]); k++)
		words(i, more[k][0], more[k][1]);
	putchar('\n');
}

static void print_socket(void *arg, json_t *o)
{
	struct ss *s = arg;
	char local[64], peer[64];

	if (!wanted(s, o))
		return;
	if (s->t->json) {
		print_json(o);
		return;
	}
	if (!s->head)
		printf("%-5s %-12s %7s %7s %-28s %-28s %s\n", "Netid", "State", "Recv-Q", "Send-Q",
		       "Local Address:Port", "Peer Address:Port", "Program");
	s->head = true;
	printf("%-5s %-12s %7lld %7lld %-28s %-28s",
	       number_of(o, "link") != 0 ? "link" : text_of(o, "proto"), text_of(o, "state"),
	       (long long)number_of(o, "recv_q"), (long long)number_of(o, "send_q"),
	       end_of(o, "local", "local_port", local), end_of(o, "peer", "peer_port", peer));
	if (json_object_get(o, "program") != NULL)
		printf(" %s,pid=%lld", text_of(o, "program"), (long long)number_of(o, "pid"));
	if (number_of(o, "link") != 0)
		printf(" link:%lld out:%lld in:%lld", (long long)number_of(o, "link"),
		       (long long)number_of(o, "link_out_bytes"),
		       (long long)number_of(o, "link_in_bytes"));
	if (json_is_true(json_object_get(o, "records")))
		fputs(" records", stdout);
	if (json_is_true(json_object_get(o, "no_link")))
		fputs(" no-link", stdout);
	putchar('\n');
	if (s->info && json_object_get(o, "info") != NULL)
		print_info(json_object_get(o, "info"));
}

static int filter(struct ss *s, int argc, char **argv)
{
	const struct {
		const char *name;
		const char **text;
		long *number;
	} words_of[] = {{"state", &s->state, NULL}, {"program", &s->program, NULL},
			{"src", &s->src, NULL},	    {"dst", &s->dst, NULL},
			{"host", &s->host, NULL},   {"sport", NULL, &s->sport},
			{"dport", NULL, &s->dport}, {"port", NULL, &s->port}};

	for (int i = 0; i < argc; i += 2) {
		size_t k = 0, n = sizeof(words_of) / sizeof(words_of[0]);

		while (k < n && strcmp(words_of[k].name, argv[i]) != 0)
			k++;
		if (k == n)
			return usage("ss: %s: a filter is made of state NAME, src IP, dst IP, host "
				     "IP, sport N, dport N, port N, program NAME",
				     argv[i]);
		if (argv[i + 1] == NULL)
			return usage("ss: %s: its value is missing", argv[i]);
		if (words_of[k].text != NULL)
			*words_of[k].text = argv[i + 1];
		else if (!count_of(argv[i + 1], 65535, words_of[k].number))
			return usage("ss: %s %s: give a port number", argv[i], argv[i + 1]);
	}
	return 0;
}

int cmd_ss(struct tool *t, int argc, char **argv)
{
	struct ss s = {.t = t};
	int c, rc;

	while ((c = getopt(argc, argv, "tulai")) != -1) {
		s.tcp |= c == 't';
		s.udp |= c == 'u';
		s.listening |= c == 'l';
		s.all |= c == 'a';
		s.info |= c == 'i';
		if (c == '?')
			return usage("ss: the options are -t -u -l -a -i");
	}
	rc = filter(&s, argc - optind, argv + optind);
	if (rc != 0)
		return rc;
	return ask(t, json_pack("{s:s, s:b}", "do", "sockets", "info", s.info), print_socket, &s) <
			       0
		       ? 1
		       : 0;
}
