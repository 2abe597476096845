/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What this program was allowed as root, kept for the next service (chan/voucher.h). Children of
 * fork have it, too. Who is executed as root makes its own of what comes along. Without one, as in a
 * program that closes all descriptors, the next service goes by the user of then.
 */
#include <unistd.h>

#include "chan/voucher.h"
#include "client/client_priv.h"

int vouch_make(const char *purpose)
{
	int fd = geteuid() == 0 ? voucher_make(purpose) : -1;

	return fd >= 0 ? fd_high(fd) : -1;
}

int vouch_take(int fd, const char *purpose)
{
	uint32_t maker;

	return fd >= 0 && geteuid() != 0 && voucher_read(fd, purpose, &maker) == 0 ? fd : -1;
}

/* Unless the number is another file's by now. */
void vouch_drop(int fd)
{
	uint32_t maker;

	if (fd >= 0 && !client.frugal && voucher_read(fd, NULL, &maker) == 0)
		close(fd);
}

static void purpose_of(char purpose[VOUCHER_MAX], const struct csock *s)
{
	voucher_for_bind(purpose, s->local, s->local_port, s->type == SOCK_DGRAM);
}

void vouch_bound(struct csock *s)
{
	char purpose[VOUCHER_MAX];
	struct opts *k;
	int fd;

	if (!transport_asks(s->local_port))
		return;
	purpose_of(purpose, s);
	fd = vouch_make(purpose);
	k = fd >= 0 ? csock_opts(s, s->opts != NULL ? s->opts->n : 0) : NULL;
	if (k != NULL)
		k->voucher = fd;
	else
		vouch_drop(fd);
}

int vouch_bind(const struct csock *s)
{
	char purpose[VOUCHER_MAX];

	purpose_of(purpose, s);
	return s->opts != NULL ? vouch_take(s->opts->voucher, purpose) : -1;
}
