/* SPDX-License-Identifier: BSD-3-Clause
 *
 * See service.h. Messages have a length or are chunked, as http-parser reads them; what is sent has
 * a length. No TLS, no queries, no percent-escapes: the shop has none.
 */
#include "service.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <http_parser.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG	  512
#define CHUNK	  16384
#define PEERS_MAX 8 /* services that one asks */

/* ---- text ---- */

static void text_reserve(struct text *t, size_t more)
{
	if (t->len + more < t->room)
		return;
	t->room = (t->len + more + 1) * 2;
	t->at = realloc(t->at, t->room);
	if (t->at == NULL)
		abort();
}

void text_add(struct text *t, const char *from, size_t len)
{
	text_reserve(t, len);
	memcpy(t->at + t->len, from, len);
	t->len += len;
	t->at[t->len] = '\0';
}

void text_addf(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	text_reserve(t, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(t->at + t->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	t->len += (size_t)n;
}

void text_free(struct text *t)
{
	free(t->at);
	*t = (struct text){0};
}

int refuse(struct text *out, int status, const char *why)
{
	out->len = 0;
	text_addf(out, "{\"error\":\"%s\"}", why);
	return status;
}

/* ---- addresses ---- */

/* From SHOP_NAME. False, having said what is wrong. */
static bool address_of(const char *name, struct sockaddr_in *out)
{
	char variable[32] = "SHOP_", host[INET_ADDRSTRLEN];
	const char *at, *colon;

	for (size_t i = 0; name[i] != '\0' && i < sizeof(variable) - 6; i++)
		variable[5 + i] = (char)toupper((unsigned char)name[i]);
	at = getenv(variable);
	colon = at != NULL ? strchr(at, ':') : NULL;
	*out = (struct sockaddr_in){.sin_family = AF_INET};
	if (colon != NULL && (size_t)(colon - at) < sizeof(host)) {
		memcpy(host, at, (size_t)(colon - at));
		host[colon - at] = '\0';
		out->sin_port = htons((uint16_t)atoi(colon + 1));
		if (inet_pton(AF_INET, host, &out->sin_addr) == 1)
			return true;
	}
	fprintf(stderr, "%s is to be ADDRESS:PORT, and is %s\n", variable, at ? at : "not set");
	return false;
}

static void send_at_once(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
}

static bool send_all(int fd, const struct text *t)
{
	size_t sent = 0;

	while (sent < t->len) {
		ssize_t n = send(fd, t->at + sent, t->len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return false;
		sent += n > 0 ? (size_t)n : 0;
	}
	return true;
}

/* ---- messages ---- */

/* One that arrives in pieces, and what of the next is there already. */
struct message {
	http_parser parser;
	struct request got; /* of an answer: the body alone */
	bool too_long, complete;
	struct text unread;
};

static int on_url(http_parser *p, const char *at, size_t len)
{
	struct message *m = p->data;
	size_t have = strlen(m->got.path);

	m->too_long = have + len > PATH_MAX_LEN;
	if (m->too_long)
		return -1;
	memcpy(m->got.path + have, at, len);
	m->got.path[have + len] = '\0';
	return 0;
}

static int on_body(http_parser *p, const char *at, size_t len)
{
	struct message *m = p->data;

	m->too_long = m->got.body.len + len > BODY_MAX;
	if (m->too_long)
		return -1;
	text_add(&m->got.body, at, len);
	return 0;
}

static int on_complete(http_parser *p)
{
	((struct message *)p->data)->complete = true;
	http_parser_pause(p, 1);
	return 0;
}

static const http_parser_settings settings = {
	.on_url = on_url,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

static void message_init(struct message *m, enum http_parser_type type)
{
	*m = (struct message){.complete = false};
	http_parser_init(&m->parser, type);
	m->parser.data = m;
}

static void message_fini(struct message *m)
{
	text_free(&m->got.body);
	text_free(&m->unread);
}

/* Parses what is unread. False: it makes no sense. */
static bool message_parse(struct message *m)
{
	size_t used = http_parser_execute(&m->parser, &settings, m->unread.at, m->unread.len);

	memmove(m->unread.at, m->unread.at + used, m->unread.len - used);
	m->unread.len -= used;
	return m->complete || HTTP_PARSER_ERRNO(&m->parser) == HPE_OK;
}

/* The next whole message. False: there is none. */
static bool message_read(struct message *m, int fd)
{
	char buf[CHUNK];
	ssize_t n;

	m->complete = false;
	m->got.path[0] = '\0';
	m->got.body.len = 0;
	text_add(&m->got.body, "", 0);
	http_parser_pause(&m->parser, 0);
	while (m->unread.len == 0 || message_parse(m)) {
		if (m->complete)
			return true;
		n = recv(fd, buf, sizeof(buf), 0);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		text_add(&m->unread, buf, n > 0 ? (size_t)n : 0);
	}
	return false;
}

/* ---- serving ---- */

static handler *answer;

static const char *reason(int status)
{
	switch (status) {
#define REASON(num, name, string)                                                                  \
	case num:                                                                                  \
		return #string;
		HTTP_STATUS_MAP(REASON)
#undef REASON
	}
	return "";
}

static void add_answer(struct text *out, int status, const struct text *body, bool keep)
{
	text_addf(out,
		  "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s"
		  "\r\n",
		  status, reason(status), body->len, keep ? "" : "Connection: close\r\n");
	text_add(out, body->at, body->len);
}

static void *connection(void *arg)
{
	struct text body = {0}, out = {0};
	int fd = (int)(intptr_t)arg;
	struct message m;
	bool keep = true;

	message_init(&m, HTTP_REQUEST);
	while (keep && message_read(&m, fd)) {
		int status;

		keep = http_should_keep_alive(&m.parser) != 0;
		m.got.method = http_method_str(m.parser.method);
		body.len = out.len = 0;
		status = answer(&m.got, &body);
		add_answer(&out, status, &body, keep);
		keep = send_all(fd, &out) && keep;
	}
	if (m.too_long) {
		out.len = 0;
		add_answer(&out, refuse(&body, 413, "too long"), &body, false);
		send_all(fd, &out);
	}
	close(fd);
	message_fini(&m);
	text_free(&body);
	text_free(&out);
	return NULL;
}

static int listener(const char *name)
{
	struct sockaddr_in at;
	int fd;

	if (!address_of(name, &at))
		return -1;
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fd, BACKLOG) == 0) {
		printf("%s listens at %s:%u\n", name, inet_ntoa(at.sin_addr), ntohs(at.sin_port));
		fflush(stdout);
		return fd;
	}
	fprintf(stderr, "%s: %s:%u: %s\n", name, inet_ntoa(at.sin_addr), ntohs(at.sin_port),
		strerror(errno));
	return -1;
}

int serve(const char *name, handler *h)
{
	int from = listener(name), fd;
	pthread_t thread;

	answer = h;
	while (from >= 0) {
		fd = accept4(from, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE)
				usleep(10000);
			continue;
		}
		send_at_once(fd);
		if (pthread_create(&thread, NULL, connection, (void *)(intptr_t)fd) != 0)
			close(fd);
		else
			pthread_detach(thread);
	}
	return 1;
}

/* ---- asking ---- */

/* This thread's connection to one service. */
struct peer {
	const char *name;
	int fd;	   /* -1: none */
	bool used; /* a request was answered over it: its end may be just the other's rest */
	struct text question;
	struct message m;
};

static pthread_key_t peers_key;
static pthread_once_t peers_once = PTHREAD_ONCE_INIT;

static void hang_up(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	message_fini(&p->m);
}

static void peers_free(void *arg)
{
	struct peer *p = arg;

	for (unsigned i = 0; i < PEERS_MAX && p[i].name != NULL; i++) {
		hang_up(&p[i]);
		text_free(&p[i].question);
	}
	free(p);
}

static void peers_init(void)
{
	pthread_key_create(&peers_key, peers_free);
}

static struct peer *peer_of(const char *name)
{
	struct peer *p;

	pthread_once(&peers_once, peers_init);
	p = pthread_getspecific(peers_key);
	if (p == NULL) {
		p = calloc(PEERS_MAX, sizeof(*p));
		if (p == NULL)
			abort();
		pthread_setspecific(peers_key, p);
	}
	while (p->name != NULL && strcmp(p->name, name) != 0)
		p++;
	if (p->name == NULL)
		*p = (struct peer){.name = name, .fd = -1};
	return p;
}

static bool dial(struct peer *p)
{
	struct sockaddr_in to;

	if (!address_of(p->name, &to))
		return false;
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	p->used = false;
	message_init(&p->m, HTTP_RESPONSE);
	send_at_once(p->fd);
	if (connect(p->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return true;
	hang_up(p);
	return false;
}

static void put(struct peer *p)
{
	if ((p->fd >= 0 || dial(p)) && !send_all(p->fd, &p->question) && !p->used)
		hang_up(p);
}

void ask_begin(const char *name, const char *method, const char *path, const struct text *body)
{
	struct peer *p = peer_of(name);

	p->question.len = 0;
	text_addf(&p->question, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, name);
	if (body != NULL)
		text_addf(&p->question, "Content-Type: application/json\r\nContent-Length: %zu\r\n",
			  body->len);
	text_add(&p->question, "\r\n", 2);
	if (body != NULL)
		text_add(&p->question, body->at, body->len);
	put(p);
}

int ask_end(const char *name, struct text *out)
{
	struct peer *p = peer_of(name);
	bool there = p->fd >= 0 && message_read(&p->m, p->fd);

	/* A connection that was silent may have been closed while we asked. */
	if (!there && p->fd >= 0 && p->used && p->m.parser.nread == 0) {
		hang_up(p);
		put(p);
		there = p->fd >= 0 && message_read(&p->m, p->fd);
	}
	if (!there) {
		hang_up(p);
		return refuse(out, 502, "a service does not answer");
	}
	p->used = true;
	text_add(out, p->m.got.body.at, p->m.got.body.len);
	if (!http_should_keep_alive(&p->m.parser)) {
		int status = p->m.parser.status_code;

		hang_up(p);
		return status;
	}
	return p->m.parser.status_code;
}
