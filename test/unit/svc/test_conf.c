/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstackd's command line and file: what is read, what stands where both speak, and that an error
 * names file, line and key, or the option.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "svc/service.h"

static struct service_cfg cfg;
static char text[512], path[64];
static struct svc_err err = {text, sizeof(text)};
static int file;

static int setup(void **state)
{
	memset(&cfg, 0, sizeof(cfg));
	text[0] = '\0';
	file = memfd_create("conf", MFD_CLOEXEC);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return file < 0;
}

static int teardown(void **state)
{
	conf_free(&cfg);
	close(file);
	return 0;
}

static void write_file(const char *s)
{
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(pwrite(file, s, strlen(s), 0), strlen(s));
}

/* The options are separated by blanks. */
static int parse(const char *line)
{
	char copy[1024], *argv[32] = {copy}, *at;
	int argc = 1;

	conf_free(&cfg);
	memset(&cfg, 0, sizeof(cfg));
	text[0] = '\0';
	snprintf(copy, sizeof(copy), "zstackd %s", line);
	at = copy;
	strsep(&at, " ");
	while (at != NULL && *at != '\0')
		argv[argc++] = strsep(&at, " ");
	argv[argc] = NULL;
	return conf_parse(argc, argv, &cfg, &err);
}

static int parse_file(const char *options)
{
	char line[512];

	snprintf(line, sizeof(line), "-c %s %s", path, options);
	return parse(line);
}

static void expect_error(int rc, const char *says)
{
	assert_int_equal(rc, -EINVAL);
	if (strstr(text, says) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", says, text);
}

/* In that line of the file. */
static void expect_in_line(const char *content, int line, const char *says)
{
	char where[96];

	write_file(content);
	expect_error(parse_file(""), says);
	snprintf(where, sizeof(where), "%s:%d: ", path, line);
	if (strncmp(text, where, strlen(where)) != 0)
		fail_msg("\"%s\" does not begin with \"%s\"", text, where);
}

/* What each value must be is said with the place where it stands, at the start and at reloading. */
static void impossible_address_or_gateway_names_its_line(void **state)
{
#define PORTS "[node]\nvdev = net_ring0\nvdev = net_ring1\n"
	expect_in_line(PORTS "addr = 10.0.0.2/24\naddr = 10.0.0.3\n", 5, "addr = 10.0.0.3: write");
	expect_in_line(PORTS "addr = 10.0.0.2/24@2\n", 4, "there is no port 2");
	expect_in_line(PORTS "\naddr = 10.0.0.255/24\n", 5, "no host can have this address");
	expect_in_line(PORTS "addr = 127.0.0.1/8\n", 4, "no host can have this address");
	expect_in_line(PORTS "addr = ff02::1/64\n", 4, "no host can have this address");
	expect_in_line(PORTS "addr = 10.0.0.2/24\naddr = fd00::2/64\naddr = 10.0.0.2/16@1\n", 6,
		       "addr = 10.0.0.2/16@1: is there already");
	expect_in_line(PORTS "gateway = 10.0.0.1\naddr = 10.0.1.2/24\n", 4,
		       "gateway = 10.0.0.1: no address has a prefix that it is in");
	expect_in_line(PORTS "addr = 10.0.0.2/24\ngateway = fe80::1\n", 5, "no address has");
	expect_in_line(PORTS "addr = 10.0.0.2/24\ngateway = 10.0.0.1\ngateway = 10.0.0.3\n", 6,
		       "gateway = 10.0.0.3: there is another one of its kind");
	expect_in_line(PORTS "gateway = x\n", 4, "gateway = x: write an IP address");
}

static void what_can_be_had_is_taken(void **state)
{
	write_file(PORTS "gateway = 10.0.0.1\naddr = 10.0.0.2/24\naddr = fd00::2/64@1.7\n"
			 "gateway = fe80::1\naddr = 10.9.0.0/31\n");
	assert_int_equal(parse_file(""), 0);
	assert_int_equal(cfg.addr_line[0], 5);
	assert_int_equal(cfg.gateway_line[1], 7);
}

/* The option replaces the file's list, and its places. */
static void impossible_address_of_the_command_line_is_named_so(void **state)
{
	write_file(PORTS "addr = 10.0.0.2/24\naddr = 10.0.0.3/24\n");
	expect_error(parse_file("--addr 10.0.0.2/24 --addr 10.0.0.0/24"),
		     "--addr 10.0.0.0/24: no host");
	assert_int_equal(parse_file("--addr 10.0.0.9/24"), 0);
	assert_int_equal(cfg.addr_line[0], 0);
}

/* What stands in two places may be of two hands. */
static void domain_that_is_there_twice_names_both_lines(void **state)
{
#define NODE "[node]\nvdev = net_ring0\naddr = 10.0.0.2/24\n"
	expect_in_line(NODE "[domain web]\nusers = 0\n\n [domain web] ; again\nusers = 1\n", 7,
		       "[domain web] is there already, in line 4");
	expect_in_line(NODE "[domain web]\nusers = 0\n[domain a]\nusers = 1\n[domain web]\n", 8,
		       "in line 4");
	write_file(NODE "[domain web]\nusers = 0\n[domain we]\nusers = 1\n");
	assert_int_equal(parse_file(""), 0);
	assert_int_equal(cfg.policy.n_domains, 2);
}

static void defaults_without_any_option(void **state)
{
	assert_int_equal(parse(""), 0);
	assert_string_equal(cfg.socket, ATTACH_PATH);
	assert_true(cfg.node.threaded);
	assert_int_equal(cfg.policy.n_domains, 1);
	assert_int_equal(cfg.policy.domain[0].user[0], geteuid());
}

static void options_of_the_command_line(void **state)
{
	assert_int_equal(parse("--vdev net_ring0 --vdev=net_ring1 --addr 10.0.0.2/24 --mtu 1400 "
			       "--no-huge --socket @x --allow 1001,1002 --allow * --cores 0"),
			 0);
	assert_int_equal(svc_count(cfg.node.vdevs), 2);
	assert_string_equal(cfg.node.vdevs[1], "net_ring1");
	assert_string_equal(cfg.node.addrs[0], "10.0.0.2/24");
	assert_int_equal(cfg.node.mtu, 1400);
	assert_true(cfg.node.no_huge);
	assert_string_equal(cfg.socket, "@x");
	assert_int_equal(cfg.policy.n_domains, 2);
	assert_int_equal(cfg.policy.domain[0].n_users, 2);
	assert_true(cfg.policy.domain[1].everybody);
}

static void file_says_the_same(void **state)
{
	write_file("; a remark\n[node]\nvdev = net_ring0\nvdev = net_ring1\naddr = 10.0.0.2/24\n"
		   "no-huge = yes\nmtu = 1400\nsocket = @y\n"
		   "[domain web]\nusers = 1001, 1002\nbind = 80, 443\nmemory = 16\nsockets = 100\n"
		   "programs = 3\n[domain rest]\nusers = *\n");
	assert_int_equal(parse_file(""), 0);
	assert_int_equal(svc_count(cfg.node.vdevs), 2);
	assert_true(cfg.node.no_huge);
	assert_string_equal(cfg.socket, "@y");
	assert_int_equal(cfg.policy.n_domains, 2);
	assert_string_equal(cfg.policy.domain[0].name, "web");
	assert_int_equal(cfg.policy.domain[0].n_users, 2);
	assert_int_equal(cfg.policy.domain[0].n_rules, 2);
	assert_int_equal(cfg.policy.domain[0].memory_bytes, 16u << 20);
	assert_int_equal(cfg.policy.domain[0].max_sockets, 100);
	assert_int_equal(cfg.policy.domain[0].max_programs, 3);
}

static void command_line_stands_wherever_it_says_something(void **state)
{
	write_file("[node]\nvdev = net_ring0\naddr = 10.0.0.2/24\naddr = 10.0.0.3/24\n"
		   "mtu = 1400\nno-huge = yes\n");
	assert_int_equal(parse_file("--addr 10.0.0.9/24 --mtu 1300 --no-huge=no"), 0);
	assert_int_equal(svc_count(cfg.node.addrs), 1);
	assert_string_equal(cfg.node.addrs[0], "10.0.0.9/24");
	assert_int_equal(cfg.node.mtu, 1300);
	assert_false(cfg.node.no_huge);
	assert_string_equal(cfg.node.vdevs[0], "net_ring0");
	/* The file's place on the line does not matter. */
	snprintf(text, sizeof(text), "--mtu 1300 -c %s", path);
	char line[600];

	strcpy(line, text);
	assert_int_equal(parse(line), 0);
	assert_int_equal(cfg.node.mtu, 1300);
}

static void error_in_the_file_names_file_line_and_key(void **state)
{
	expect_in_line("[node]\n\nmtu = 12x\n", 3, "mtu = 12x: give a number from 68 to 65535");
	expect_in_line("[node]\nmtu = 67\n", 2, "mtu = 67: ");
	expect_in_line("[node]\n# remark\nmtoo = 1\n", 3, "mtoo = 1: no such key");
	expect_in_line("mtu = 1400\n", 1, "in section []");
	expect_in_line("[node]\naddr = 10.0.0.2/24\n[nodes]\nmtu = 1\n", 4, "in section [nodes]");
	expect_in_line("[node]\nno-huge = maybe\n", 2, "no-huge = maybe: say yes or no");
	expect_in_line("[node]\naddr =\n", 2, "addr = : its value is missing");
	expect_in_line("[domain a]\nusers = 1001\nmemory = 0\n", 3, "memory = 0: ");
	expect_in_line("[domain a]\nusers = nosuchuser1\n", 2, "users = nosuchuser1: ");
	expect_in_line("[domain a]\nbind = 0\n", 2, "bind = 0: ");
	expect_in_line("[domain a]\ncolour = red\n", 2, "colour = red: no such key");
	expect_in_line("[domain a]\nsockets = 99999999\n", 2, "sockets = 99999999: ");
	expect_in_line("[domain a]\nprograms = many\n", 2, "programs = many: ");
}

static void error_of_syntax_names_its_line(void **state)
{
	expect_in_line("[node]\nmtu 1400\n", 2, "neither [SECTION] nor KEY = VALUE");
	expect_in_line("[node\nmtu = 1400\n", 1, "neither [SECTION] nor KEY = VALUE");
}

/* The parser of the lines has a limit of its own; no part of a longer one is taken for another. */
static void line_of_any_length_is_read_or_refused(void **state)
{
	char line[2200];
	int rc;

	for (size_t n = 150; n < 2100; n += 150) {
		snprintf(line, sizeof(line), "[node]\nvdev = %0*d\nmtu = 1400\n", (int)n, 7);
		write_file(line);
		rc = parse_file("");
		if (rc == 0) {
			assert_int_equal(strlen(cfg.node.vdevs[0]), n);
			assert_int_equal(cfg.node.mtu, 1400);
		} else {
			assert_non_null(strstr(text, ":2: longer than"));
		}
	}
}

static void first_error_is_the_one_told(void **state)
{
	expect_in_line("[node]\nmtu = a\nmtu = b\n", 2, "mtu = a");
}

static void domain_without_users_is_an_error(void **state)
{
	write_file("[domain web]\nbind = 80\n");
	expect_error(parse_file(""), "domain web has no users");
}

static void error_of_the_command_line_names_the_option(void **state)
{
	expect_error(parse("--mtu 12x"), "--mtu 12x: give a number");
	expect_error(parse("--mtu"), "--mtu: its value is missing");
	expect_error(parse("--mtu="), "--mtu : its value is missing");
	expect_error(parse("--mtoo 5"), "--mtoo: no such option");
	expect_error(parse("mtu"), "mtu: no such option");
	expect_error(parse("-x"), "-x: no such option");
	expect_error(parse("--allow nosuchuser1"), "--allow nosuchuser1: ");
	expect_error(parse("--allow"), "--allow: its value is missing");
	expect_error(parse("--no-huge=perhaps"), "--no-huge perhaps: say yes or no");
	expect_error(parse("-c"), "-c: the name of the file is missing");
	assert_int_equal(parse("-c /nonexistent/zstackd.conf"), -ENOENT);
	assert_non_null(strstr(text, "-c /nonexistent/zstackd.conf: No such file"));
}

static void lists_have_an_end(void **state)
{
	char content[4096] = "[node]\n";

	for (int i = 0; i < 65; i++)
		strcat(content, "addr = 10.0.0.2/24\n");
	expect_in_line(content, 66, "at most 64");
}

/* Names of the keys that a reload finds changed and can't apply, with commas. */
static const char *fixed_changes(const char *before, const char *after)
{
	static char out[256];
	struct service_cfg was;
	const char *key;

	assert_int_equal(parse(before), 0);
	was = cfg;
	memset(&cfg, 0, sizeof(cfg));
	assert_int_equal(parse(after), 0);
	out[0] = '\0';
	for (unsigned i = 0; (key = conf_fixed_key(i)) != NULL; i++)
		if (conf_differs(&was, &cfg, i))
			strcat(strcat(out, key), ",");
	conf_free(&was);
	return out;
}

static void what_takes_a_restart_is_named(void **state)
{
	assert_string_equal(fixed_changes("--vdev a --mtu 1500", "--vdev a --mtu 1500"), "");
	assert_string_equal(fixed_changes("--addr 10.0.0.2/24 --gateway 10.0.0.1", ""), "");
	assert_string_equal(fixed_changes("--vdev a --mtu 1500 --no-huge",
					  "--vdev a --vdev b --mtu 1400 --cores 0"),
			    "vdev,cores,mtu,no-huge,");
	assert_string_equal(fixed_changes("--vdev a --socket /x", "--vdev b --metrics [::1]:9"),
			    "vdev,metrics,socket,");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(impossible_address_or_gateway_names_its_line),
		TEST(what_can_be_had_is_taken),
		TEST(domain_that_is_there_twice_names_both_lines),
		TEST(impossible_address_of_the_command_line_is_named_so),
		TEST(defaults_without_any_option),
		TEST(options_of_the_command_line),
		TEST(file_says_the_same),
		TEST(command_line_stands_wherever_it_says_something),
		TEST(error_in_the_file_names_file_line_and_key),
		TEST(error_of_syntax_names_its_line),
		TEST(line_of_any_length_is_read_or_refused),
		TEST(first_error_is_the_one_told),
		TEST(domain_without_users_is_an_error),
		TEST(error_of_the_command_line_names_the_option),
		TEST(lists_have_an_end),
		TEST(what_takes_a_restart_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
