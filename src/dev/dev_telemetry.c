/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Commands in DPDK's telemetry (its socket, its protocol: dpdk-telemetry.py). DPDK calls back in
 * threads of its own, several at a time; here they go one after the other, and none any more once
 * dev_telemetry_stop() has returned.
 *
 * Only for who asks for it (dev_eal_cfg.telemetry): the socket is a file, with the name that every
 * process of DPDK's uses, and stays behind when the process is killed.
 */
#include <errno.h>
#include <pthread.h>
#include <rte_telemetry.h>
#include <string.h>

#include "dev/dev.h"

#define COMMANDS_MAX 8

static struct {
	pthread_mutex_t lock;
	bool stopped;
	unsigned n;
	struct {
		const char *cmd;
		dev_telemetry_fill fill;
		void *arg;
	} cmd[COMMANDS_MAX];
} telemetry = {.lock = PTHREAD_MUTEX_INITIALIZER};

void dev_telemetry_add(void *dict, const char *name, uint64_t value)
{
	/* What does not fit is left out: a dictionary has RTE_TEL_MAX_DICT_ENTRIES. */
	(void)!rte_tel_data_add_dict_u64(dict, name, value);
}

static int answer(const char *cmd, const char *params, struct rte_tel_data *out)
{
	int rc = -ENOENT;

	rte_tel_data_start_dict(out);
	pthread_mutex_lock(&telemetry.lock);
	for (unsigned i = 0; i < telemetry.n && !telemetry.stopped; i++)
		if (strcmp(telemetry.cmd[i].cmd, cmd) == 0)
			rc = telemetry.cmd[i].fill(telemetry.cmd[i].arg,
						   params != NULL ? params : "", out);
	pthread_mutex_unlock(&telemetry.lock);
	return rc;
}

int dev_telemetry_register(const char *cmd, const char *help, dev_telemetry_fill fill, void *arg)
{
	int rc = telemetry.n == COMMANDS_MAX ? -ENOSPC : 0;

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&telemetry.lock);
	telemetry.cmd[telemetry.n].cmd = cmd;
	telemetry.cmd[telemetry.n].fill = fill;
	telemetry.cmd[telemetry.n].arg = arg;
	telemetry.n++;
	pthread_mutex_unlock(&telemetry.lock);
	return rte_telemetry_register_cmd(cmd, answer, help);
}

void dev_telemetry_stop(void)
{
	pthread_mutex_lock(&telemetry.lock);
	telemetry.stopped = true;
	pthread_mutex_unlock(&telemetry.lock);
}
