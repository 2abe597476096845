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
	json_t *shared; /* array: what several hold, each once */
};

static const char *const states[] = {"CLOSED",	    "LISTEN",	  "SYN-SENT",	"SYN-RECEIVED",
				     "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
				     "CLOSING",	    "LAST-ACK",	  "TIME-WAIT",	"CONNECTED",
				     "UNCONNECTED"};
#define STATES (sizeof(states) / sizeof(states[0]))

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

/* Of those who hold it one is enough. */
static bool program_wanted(const struct ss *s, const json_t *o)
{
	const json_t *users = json_object_get(o, "users");

	for (size_t i = 0; i < json_array_size(users); i++)
		if (is(s->program, text_of(json_array_get(users, i), "program")))
			return true;
	return is(s->program, text_of(o, "program"));
}

static bool wanted(const struct ss *s, const json_t *o)
{
	const char *local = text_of(o, "local"), *peer = text_of(o, "peer");
	int64_t lport = number_of(o, "local_port"), pport = number_of(o, "peer_port");

	if (!kind_wanted(s, o))
		return false;
	if (s->state != NULL && strcasecmp(s->state, text_of(o, "state")) != 0)
		return false;
	if (!program_wanted(s, o) || !is(s->src, local) || !is(s->dst, peer))
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

/* In the manner of ss -p, if there are several. */
static void print_users(const json_t *o)
{
	const json_t *users = json_object_get(o, "users");

	if (json_array_size(users) < 2) {
		if (json_object_get(o, "program") != NULL)
			printf(" %s,pid=%lld", text_of(o, "program"),
			       (long long)number_of(o, "pid"));
		return;
	}
	for (size_t i = 0; i < json_array_size(users); i++)
		printf("%s(\"%s\",pid=%lld)", i == 0 ? " users:(" : ",",
		       text_of(json_array_get(users, i), "program"),
		       (long long)number_of(json_array_get(users, i), "pid"));
	putchar(')');
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
	print_users(o);
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

/* ---- what several hold ---- */

static json_t *first_of(const struct ss *s, const json_t *o)
{
	for (size_t i = 0; i < json_array_size(s->shared); i++) {
		json_t *first = json_array_get(s->shared, i);

		if (number_of(first, "shared") == number_of(o, "shared") &&
		    number_of(first, "core") == number_of(o, "core"))
			return first;
	}
	return NULL;
}

/* Who holds it on its way to another program has no name. */
static void user_add(json_t *first, const json_t *o)
{
	static const char *const keys[] = {"app", "program", "pid", "user"};
	json_t *user;

	if (json_object_get(o, "program") == NULL)
		return;
	user = json_object();
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_object_set(user, keys[i], json_object_get(o, keys[i]));
		if (json_object_get(first, keys[i]) == NULL)
			json_object_set(first, keys[i], json_object_get(o, keys[i]));
	}
	json_array_append_new(json_object_get(first, "users"), user);
}

/* The service tells of each holder; a socket is one row, behind those that have one. */
static void take_socket(void *arg, json_t *o)
{
	struct ss *s = arg;
	json_t *first;

	if (number_of(o, "shared") == 0) {
		print_socket(s, o);
		return;
	}
	first = first_of(s, o);
	if (first == NULL) {
		json_object_set_new(o, "users", json_array());
		json_array_append(s->shared, o);
		first = o;
	}
	user_add(first, o);
}

static void print_shared(struct ss *s)
{
	for (size_t i = 0; i < json_array_size(s->shared); i++)
		print_socket(s, json_array_get(s->shared, i));
	json_decref(s->shared);
}

/* ---- the command ---- */

static int check_state(const char *name)
{
	char list[256] = "";

	for (size_t i = 0; i < STATES; i++) {
		if (strcasecmp(name, states[i]) == 0)
			return 0;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s",
			 i > 0 ? ", " : "", states[i]);
	}
	return usage("ss state %s: there is no such state; there are %s", name, list);
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
	return s->state != NULL ? check_state(s->state) : 0;
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
	s.shared = json_array();
	rc = ask(t, json_pack("{s:s, s:b}", "do", "sockets", "info", s.info), take_socket, &s);
	print_shared(&s);
	return rc < 0 ? 1 : 0;
}
