/* SPDX-License-Identifier: BSD-3-Clause
 *
 * zstackd: one stack for many programs. Opens what the configuration says, serves until it is told
 * to end, and leaves nothing behind.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "svc/notify.h"
#include "svc/service.h"

static bool asks_for_version(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--version") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	char text[512] = "";
	struct svc_err err = {text, sizeof(text)};
	struct service *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return EXIT_FAILURE;
	if (asks_for_version(argc, argv)) {
		puts("zstackd " ZS_VERSION);
		free(s);
		return EXIT_SUCCESS;
	}
	s->argc = argc;
	s->argv = argv;
	rc = conf_parse(argc, argv, &s->cfg, &err);
	if (rc == 0) {
		rc = service_open(s, &err);
		if (rc == 0) {
			svc_log("ready at %s", s->cfg.socket);
			svc_notify("READY=1");
			service_run(s);
			svc_notify("STOPPING=1");
		}
		service_close(s);
	}
	if (rc < 0)
		svc_log("%s", text[0] != '\0' ? text : strerror(-rc));
	conf_free(&s->cfg);
	free(s);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
