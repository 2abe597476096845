/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A program as a user would write it, in C and in C++: it sees the installed tree only. Started
 * with no link to the world it must say so in one sentence.
 */
#include <stdio.h>
#include <string.h>

#include <zstack/stats.h>
#include <zstack/zc.h>
#include <zstack/zstack.h>

int main(int argc, char **argv)
{
	struct zs_config *c = zs_config_new();
	struct zs_buf b = {NULL, 0, 0, 0};
	struct zs_stats st;
	int r;

	if (c == NULL || zs_config_args(c, &argc, argv) != 0)
		return 1;
	if (zs_socket(AF_INET, SOCK_STREAM, 0) >= 0 || zs_buf_release(&b, 1) == 0 ||
	    zs_stats(&st, sizeof(st)) == 0 || zs_dump(ZS_DUMP_PORTS, stdout) == 0)
		return 2;
	r = zs_start(c);
	if (r >= 0 || strlen(zs_config_error(c)) == 0)
		return 3;
	puts(zs_config_error(c));
	zs_config_free(c);
	return 0;
}
