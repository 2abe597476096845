/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Configuration: keys, arguments, environment, and the sentences about what is wrong.
 */
#include "fake.h"

static struct zs_config *c;

static int setup(void **state)
{
	c = zs_config_new();
	fake.n_cores = 1;
	unsetenv("ZSTACK_CONFIG");
	return c == NULL;
}

static int teardown(void **state)
{
	zs_stop();
	zs_config_free(c);
	unsetenv("ZSTACK_CONFIG");
	return 0;
}

static void unknown_keys_and_values_are_named(void **state)
{
	assert_string_equal(zs_config_error(c), "");
	assert_int_equal(zs_config_set(c, "vdevs", "x"), -ENOENT);
	assert_string_equal(zs_config_error(c), "vdevs: no such option");
	assert_int_equal(zs_config_set(c, "mtu", "9k"), -EINVAL);
	assert_string_equal(zs_config_error(c), "--mtu 9k: give a number from 68 to 65535");
	assert_int_equal(zs_config_set(c, "mtu", "-5"), -EINVAL);
	assert_int_equal(zs_config_set(c, "mtu", ""), -EINVAL);
	assert_int_equal(zs_config_set(c, "mtu", "99999999999999999999999"), -EINVAL);
	assert_int_equal(zs_config_set(c, "mode", "fast"), -EINVAL);
	assert_int_equal(zs_config_set(c, "addr", ""), -EINVAL);
	for (int i = 0; i < 64; i++)
		assert_int_equal(zs_config_set(c, "addr", "10.0.0.1/8"), 0);
	assert_int_equal(zs_config_set(c, "addr", "10.0.0.1/8"), -EINVAL);
	zs_config_free(NULL);
}

static void values_reach_the_stack(void **state)
{
	assert_int_equal(zs_config_set(c, "vdev", "a"), 0);
	assert_int_equal(zs_config_set(c, "vdev", "b"), 0);
	assert_int_equal(zs_config_set(c, "mtu", "1500"), 0);
	assert_int_equal(zs_config_set(c, "mtu", "9000"), 0);
	assert_int_equal(zs_config_set(c, "no-huge", NULL), 0);
	assert_int_equal(zs_config_set(c, "congestion", "newreno"), 0);
	assert_int_equal(zs_config_set(c, "buffers", "3"), 0);
	assert_int_equal(zs_start(c), 0);
	assert_string_equal(fake.cfg.vdevs[0], "a");
	assert_string_equal(fake.cfg.vdevs[1], "b");
	assert_null(fake.cfg.vdevs[2]);
	assert_null(fake.cfg.pci[0]);
	assert_int_equal(fake.cfg.mtu, 9000);
	assert_true(fake.cfg.no_huge);
	assert_false(fake.cfg.threaded);
	assert_string_equal(fake.cfg.congestion, "newreno");
	assert_null(fake.cfg.capture);
	assert_int_equal(fake.cfg.geometry.arena_bytes, 3 << 20);
	assert_int_equal(fake.cfg.max_sockets, 65536);
}

static void several_cores_want_threads(void **state)
{
	assert_int_equal(zs_config_set(c, "vdev", "net_fake0"), 0);
	assert_int_equal(zs_config_set(c, "cores", "0,1"), 0);
	assert_int_equal(zs_start(c), 0);
	assert_true(fake.cfg.threaded);
}

static void arguments_are_taken_out_in_order(void **state)
{
	char *argv[] = {(char *)"prog",	     (char *)"-v",	(char *)"--vdev",
			(char *)"x",	     (char *)"file",	(char *)"--mtu=1400",
			(char *)"--no-huge", (char *)"--other", (char *)"--",
			(char *)"--vdev",    (char *)"y",	NULL};
	int argc = 11;

	assert_int_equal(zs_config_args(c, &argc, argv), 0);
	assert_int_equal(argc, 7);
	assert_string_equal(argv[1], "-v");
	assert_string_equal(argv[2], "file");
	assert_string_equal(argv[3], "--other");
	assert_string_equal(argv[4], "--");
	assert_string_equal(argv[6], "y");
	assert_null(argv[7]);
	assert_int_equal(zs_start(c), 0);
	assert_string_equal(fake.cfg.vdevs[0], "x");
	assert_null(fake.cfg.vdevs[1]);
	assert_int_equal(fake.cfg.mtu, 1400);
}

static void missing_value_is_named(void **state)
{
	char *argv[] = {(char *)"prog", (char *)"--gateway", NULL};
	int argc = 2;

	assert_int_equal(zs_config_args(c, &argc, argv), -EINVAL);
	assert_string_equal(zs_config_error(c), "--gateway: its value is missing");
}

static void environment_fills_what_is_not_set(void **state)
{
	setenv("ZSTACK_CONFIG", "vdev=net_null0;addr=10.0.0.1/8;addr=fd00::1/64;mtu=1400;;no-huge",
	       1);
	assert_int_equal(zs_config_set(c, "mtu", "9000"), 0);
	assert_int_equal(zs_start(c), 0);
	assert_string_equal(fake.cfg.vdevs[0], "net_null0");
	assert_string_equal(fake.cfg.addrs[1], "fd00::1/64");
	assert_int_equal(fake.cfg.mtu, 9000);
	assert_true(fake.cfg.no_huge);
}

static void environment_that_is_wrong_is_named(void **state)
{
	setenv("ZSTACK_CONFIG", "vedv=x", 1);
	assert_int_equal(zs_start(c), -EINVAL);
	assert_string_equal(zs_config_error(c), "ZSTACK_CONFIG: vedv: no such option");
	assert_int_equal(zs_start(NULL), -EINVAL);
}

static void usage_names_every_option(void **state)
{
	static const char *const key[] = {"vdev",	 "port",    "addr",    "gateway",
					  "mode",	 "cores",   "mtu",     "mem",
					  "buffers",	 "no-huge", "capture", "congestion",
					  "max-sockets", "spin",    "linger"};

	for (unsigned i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
		char option[32];

		snprintf(option, sizeof(option), "  --%s ", key[i]);
		assert_non_null(strstr(zs_config_usage(), option));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		T(unknown_keys_and_values_are_named),
		T(values_reach_the_stack),
		T(several_cores_want_threads),
		T(arguments_are_taken_out_in_order),
		T(missing_value_is_named),
		T(environment_fills_what_is_not_set),
		T(environment_that_is_wrong_is_named),
		T(usage_names_every_option),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
