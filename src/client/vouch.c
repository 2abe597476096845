/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What this program was allowed as root, kept for the next service (chan/voucher.h). Children of
 * fork have it, too, and so has a program that is executed, with the sockets that it gets (exec.c).
 * Without one, as in a program that closes all descriptors, the next service goes by the user of
 * then.
 */
#include <unistd.h>

#include "chan/voucher.h"
#include "client/client_priv.h"

int vouch_make(const char *purpose)
{
	int fd = geteuid() == 0 ? voucher_make(purpose) : -1;

	return fd >= 0 ? fd_high(fd) : -1;
}

/* The number may be another file's by now. */
static int checked(int fd, const char *purpose)
{
	uint32_t maker;

	return fd >= 0 && voucher_read(fd, purpose, &maker) == 0 ? fd : -1;
}

int vouch_take(int fd, const char *purpose)
{
	return geteuid() != 0 ? checked(fd, purpose) : -1;
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

	if (!transport_asks(s->local_port))
		return;
	purpose_of(purpose, s);
	vouch_give(s, vouch_make(purpose));
}

void vouch_give(struct csock *s, int fd)
{
	struct opts *k = fd >= 0 ? csock_opts(s, s->opts != NULL ? s->opts->n : 0) : NULL;

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

int vouch_of(const struct csock *s)
{
	char purpose[VOUCHER_MAX];

	purpose_of(purpose, s);
	return s->opts != NULL ? checked(s->opts->voucher, purpose) : -1;
}

int vouch_attach(void)
{
	return checked(client.transport.rejoin.voucher, VOUCHER_ATTACH);
}

void vouch_attach_give(int fd)
{
	struct rejoin *j = &client.transport.rejoin;

	if (fd < 0)
		return;
	vouch_drop(j->voucher);
	j->voucher = fd;
}
