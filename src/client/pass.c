/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See pass.h. What goes over the control connection is asked and answered under the client's lock,
 * so that no event names a socket that is not known yet.
 *
 * Not done: options that the service has been told are not told to another service again, if it is
 * replaced, by a program that got the socket so.
 */
#include <time.h>
#include <unistd.h>

#include "chan/attach.h"
#include "client/image.h"
#include "client/pass.h"

#define FED_MAX	    32768 /* more than the service puts there */
#define REDEEMS_MAX 1000  /* with a millisecond between them while another one is at it */

_Static_assert(sizeof(struct sock_image) <= ATTACH_IMAGE_MAX, "it fits");

_Static_assert(offsetof(struct attach_pass, id) == offsetof(struct attach_ends, id) &&
		       offsetof(struct attach_pass, res) == offsetof(struct attach_ends, res),
	       "they begin alike");

static int answered(struct attach_msg *m)
{
	if (m->pass.res == 0)
		return 0;
	attach_close_fds(m);
	return m->pass.res < 0 && m->pass.res > -4096 ? m->pass.res : -EPROTO;
}

int pass_ask(enum attach_type type, void *what, size_t len, const int *fd, enum attach_type answer,
	     struct attach_msg *m)
{
	static uint32_t id;
	struct attached *a = &client.transport.service;
	int rc;

	id++;
	memcpy((char *)what + offsetof(struct attach_pass, id), &id, sizeof(id));
	rc = attach_send(a->sock, type, what, len, fd, fd != NULL);
	while (rc == 0) {
		rc = attach_answer(a, m);
		if (rc == 0 && m->head.type == answer && m->pass.id == id)
			return answered(m);
		if (rc == 0)
			attach_close_fds(m);
	}
	return rc;
}

/* What it is to the receiver. */
static void image_of(struct sock_image *image, struct csock *s)
{
	csock_key_make(s);
	image_write(image, s);
	image->n_opts = 0;
	image->shut &= (uint8_t)~SHUT_RD_BIT; /* it comes again, behind what is unread */
}

/* ---- a connection: by the channel ---- */

static void say_kept(struct csock *s)
{
	uint32_t serial = s->serial;
	struct chan_sqe *q = cmd_slot(csock_core(s));

	if (q == NULL || s->serial != serial)
		return; /* the service is gone; or it is closed, which says the same */
	cmd_of(q, s, TOKEN_NOBODY);
	cmd_push(csock_core(s), CHAN_OP_KEPT);
}

static int keep(struct csock *s, uint64_t name)
{
	struct chan_sqe cmd = {.op = CHAN_OP_KEEP, .len = sizeof(struct sock_image)};
	struct sock_image image;
	struct chan_cqe e;
	struct buf_ref at;
	struct zs_buf b;
	int rc = block_new(csock_core(s), sizeof(image), &b);

	if (rc == 0)
		rc = buf_find(&b, &at);
	if (rc < 0)
		return rc;
	image_of(&image, s);
	memcpy(b.data, &image, sizeof(image));
	memcpy(cmd.data, &name, sizeof(name));
	cmd.off = at.off;
	rc = cmd_call(csock_core(s), s, &cmd, &e);
	buf_put(&at);
	return rc;
}

/* The end, or -errno: it is as it was. */
static int send_conn(struct csock *s)
{
	uint64_t name;
	int fd = end_take(&name), rc;

	if (fd < 0)
		return fd;
	cork_settle(s);
	rc = keep(s, name);
	if (rc >= 0) {
		client_drain();
		fork_shared(s);
		say_kept(s);
	}
	/* What is unread could not be given back. */
	if (rc >= 0 && s->state != CSOCK_BROKEN)
		return fd;
	close(fd);
	return rc < 0 ? rc : -ENOBUFS;
}

static bool is_conn(const struct csock *s, const struct pass_with *with)
{
	return s->type == SOCK_STREAM && s->state == CSOCK_CONNECTED && s->group == NULL &&
	       with->fd < 0 && !with->blocks;
}

/* ---- anything ---- */

static int send_by_control(struct csock *s, const struct pass_with *with)
{
	struct attach_pass p = {.n_image = sizeof(struct sock_image), .note = with->blocks};
	struct sock_image image;
	struct attach_msg m;
	int rc, fd;

	for (unsigned i = 0; i < csock_members(s); i++) {
		cork_settle(csock_member(s, i));
		csock_member(s, i)->child_sid = 0;
		p.sid[csock_member(s, i)->core] = csock_member(s, i)->sid;
	}
	image_of(&image, s);
	memcpy(p.image, &image, sizeof(image));
	rc = pass_ask(ATTACH_PASS, &p, sizeof(p), with->fd >= 0 ? &with->fd : NULL, ATTACH_PASSED,
		      &m);
	if (rc == 0 && m.n_fds != 1)
		rc = -EPROTO;
	if (rc < 0)
		return rc;
	fd = m.fd[0];
	client_drain();
	for (unsigned i = 0; i < csock_members(s); i++)
		fork_shared(csock_member(s, i));
	fork_fence();
	if (s->state != CSOCK_BROKEN)
		return fd;
	close(fd); /* what is unread could not be given back */
	return -ENOBUFS;
}

static int send_one(struct csock *s, const struct pass_with *with)
{
	uint32_t serial = s->serial;
	int rc = -ENOTSUP;

	if (unlikely(s->flags & CSOCK_LINKED))
		link_leave(s);
	if (s->serial != serial || s->state == CSOCK_BROKEN)
		return -ENOTCONN;
	if (is_conn(s, with))
		rc = send_conn(s);
	if (rc < 0 && s->serial == serial && s->state != CSOCK_BROKEN && !client.lost)
		rc = send_by_control(s, with);
	if (rc < 0 && s->serial == serial)
		link_stay(s);
	return rc;
}

static int may_be_sent(const struct csock *s)
{
	if (!client.transport.attached || client.lost || s->sid == 0 || csock_stays(s))
		return -ENOTCONN;
	if (csock_records(s) && s->state == CSOCK_CONNECTED)
		return -EOPNOTSUPP;
	return s->state == CSOCK_CONNECTING ? -EBUSY : s->state == CSOCK_BROKEN ? -ENOTCONN : 0;
}

int pass_send(int fd, const struct pass_with *with)
{
	struct csock *s;
	int rc = 0;

	client_lock();
	s = fd_csock(fd, &rc);
	if (s != NULL)
		rc = may_be_sent(s);
	if (rc == 0)
		rc = send_one(s, with);
	client_unlock();
	return rc;
}

/* Its name may be that of a socket that was closed, of which the last word is still to be heard:
 * what is said of the new one behind that is lost then, but it is asked. */
static struct csock *open_named(const struct sock_image *image)
{
	struct csock *s = image_open(image, NULL);

	if (s != NULL)
		return s;
	client_drain();
	s = image_open(image, NULL);
	if (s != NULL)
		s->flags |= CSOCK_HINT;
	return s;
}

/* Copies of the stream's first bytes, for who has not got the library: how many. */
static uint32_t take_out(int fd)
{
	static uint8_t bytes[FED_MAX];
	ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	return n > 0 ? (uint32_t)n : 0;
}

/* They lie in the end only until the service has been told that this is another one. */
static int redeem_by_control(int fd, struct attach_msg *m)
{
	struct timespec a_while = {.tv_nsec = 1000000};
	struct attach_pass p = {.n_image = 0};
	int rc = -EAGAIN;

	for (unsigned i = 0; (rc == -EAGAIN || rc == -EBUSY) && i < REDEEMS_MAX; i++) {
		if (rc == -EBUSY)
			nanosleep(&a_while, NULL);
		rc = pass_ask(ATTACH_REDEEM, &p, sizeof(p), &fd, ATTACH_REDEEMED, m);
		p.note = rc == -EAGAIN ? take_out(fd) : 0;
	}
	return rc;
}

/* The answer to REDEEM brings it: what is said of it comes behind that. */
struct csock *redeemed(struct core *c, const struct chan_cqe *e)
{
	struct sock_image image;
	struct csock *s = NULL;

	if (csock_place(c, e->sid) < 0)
		return NULL;
	memcpy(&image, c->end.scratch, sizeof(image));
	memset(image.sid, 0, sizeof(image.sid));
	image.sid[c->id] = e->sid;
	image.first = c->id;
	image.limit = e->aux;
	image.n_opts = 0;
	/* Whatever the sender says of it. */
	if (e->res == sizeof(image) && image.type == SOCK_STREAM &&
	    (image.state == CSOCK_CONNECTED || image.state == CSOCK_BROKEN))
		s = image_open(&image, NULL);
	if (s == NULL)
		csock_refuse(c, e->sid);
	return s;
}

static int redeem_on(struct core *c, uint64_t name, struct csock **s)
{
	struct chan_sqe q = {.op = CHAN_OP_REDEEM, .len = sizeof(struct sock_image)};
	struct chan_cqe e;
	struct cmd k;
	int rc = scratch_take(c);

	if (rc < 0)
		return rc;
	memcpy(q.data, &name, sizeof(name));
	rc = cmd_begin(&k, c, NULL, &q);
	if (rc == 0) {
		k.r->redeems = true;
		rc = cmd_end(&k, &e);
		*s = k.r->s;
	}
	c->scratch_taken = false;
	return rc < 0 ? rc : *s != NULL ? 0 : -EPROTO;
}

/* On whichever core it is. */
static int redeem(uint64_t name, struct csock **s)
{
	int rc = -ENOENT;

	if (client.remaking)
		return -ENOTCONN;
	for (unsigned i = 0; i < client.n_cores && rc == -ENOENT; i++)
		rc = redeem_on(&client.core[i], name, s);
	return rc;
}

static int numbered(struct csock *s, int fd)
{
	int rc = fd_open(s, NULL, fd, 0);

	if (rc < 0) {
		group_close(s);
		return rc;
	}
	s->fd = fd;
	return 0;
}

static int receive_by_channel(int fd, uint64_t name)
{
	struct csock *s;
	int rc = redeem(name, &s);

	if (rc == -ENFILE) {
		fork_fence(); /* the places of those that are being closed */
		rc = redeem(name, &s);
	}
	return rc < 0 ? rc : numbered(s, fd);
}

static int receive_by_control(int fd, struct pass_with *with)
{
	struct sock_image image;
	struct attach_msg m;
	struct csock *s;
	int rc;

	fork_fence(); /* the results of closes are there */
	rc = redeem_by_control(fd, &m);
	if (rc < 0)
		return rc;
	with->blocks = m.pass.note != 0;
	if (m.n_fds == 1) {
		with->fd = m.fd[0];
		m.fd[0] = -1;
	}
	attach_close_fds(&m);
	memcpy(&image, m.pass.image, sizeof(image));
	memcpy(image.sid, m.pass.sid, sizeof(image.sid));
	image.n_opts = 0;
	s = m.pass.n_image == sizeof(image) ? open_named(&image) : NULL;
	if (s == NULL)
		return -EPROTO;
	return numbered(s, fd);
}

static int receive(int fd, struct pass_with *with)
{
	uint64_t name = end_name(fd);
	int rc = name != 0 ? receive_by_channel(fd, name) : -ENOENT;

	return rc == -ENOENT ? receive_by_control(fd, with) : rc;
}

int pass_receive(int fd, struct pass_with *with)
{
	int rc;

	*with = (struct pass_with){.fd = -1};
	client_lock();
	rc = client_ready();
	if (rc == 0)
		rc = client.transport.attached && !client.lost ? receive(fd, with) : -ENOTCONN;
	client_unlock();
	return rc;
}
