/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A connection. Input is parsed where it was received, one request after the other; answers are
 * buffers in a short queue, offered to the socket until it takes no more. A request is parsed only
 * when the queue has room for its answer: a client that does not read is not served either.
 *
 *	receive ─► in ─► request ─► out[] ─► send          file ─► out[]
 *
 * Content that is not cached is limited by what is on its way (cookies of zs_send_zc() tell what
 * has arrived). A connection may have a quarter of what is left of the memory for all of them: one
 * reader gets much, hundreds that read nothing take ever less, and some is left for whoever comes
 * next. The last resort is one small piece for each.
 */
#include "http.h"

#define STREAM_BYTES	  (32u << 20) /* of content on its way, of all connections */
#define STREAM_CONN_BYTES (4u << 20)  /* of one */
#define STREAM_PIECE_MIN  4096u
#define REQUESTS_A_TURN	  64	     /* then it is the others' turn */
#define DRAIN_BYTES	  (1u << 20) /* read after an error, so that the answer survives */

struct conn {
	int fd;
	struct request request;
	bool due;     /* the request is complete and has no answer yet */
	bool closing; /* nothing is to be read after what is in `out` and `file` */
	bool broken;  /* the connection is gone */
	bool again;   /* is in the list of those to be run again */
	uint8_t out_first, out_end;
	uint32_t in_flight; /* bytes of `file` that the peer has not acknowledged, or are in out */
	uint32_t out_streamed; /* bit i: out[i] is such content */
	uint32_t drained;      /* bytes thrown away after an error; 0: there was none */
	uint32_t second;       /* of the last activity */
	struct zs_buf in;      /* what is left to parse; handle 0: none */
	struct zs_buf out[OUT_MAX];
	struct file *file; /* being sent, from pos on */
	uint64_t pos;
	struct conn *newer, *older; /* by last activity */
	struct conn *again_next;
};

static struct conn *newest, *oldest, *again_list;
static unsigned count;
static uint64_t stream_bytes;

unsigned conns_count(void)
{
	return count;
}

static void list_link(struct conn *c)
{
	c->newer = NULL;
	c->older = newest;
	*(newest != NULL ? &newest->newer : &oldest) = c;
	newest = c;
}

static void list_unlink(struct conn *c)
{
	*(c->newer != NULL ? &c->newer->older : &newest) = c->older;
	*(c->older != NULL ? &c->older->newer : &oldest) = c->newer;
}

struct conn *conn_create(int set, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct epoll_event e = {
		.events = EPOLLIN | EPOLLOUT | EPOLLWRBAND | EPOLLET,
		.data.ptr = c,
	};

	if (c == NULL || zs_epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0) {
		free(c);
		zs_close(fd);
		return NULL;
	}
	c->fd = fd;
	c->second = response_second();
	request_init(&c->request);
	list_link(c);
	count++;
	return c;
}

static void run_again(struct conn *c)
{
	if (c->again)
		return;
	c->again = true;
	c->again_next = again_list;
	again_list = c;
}

static void forget_again(struct conn *c)
{
	struct conn **p = &again_list;

	if (!c->again)
		return;
	while (*p != c)
		p = &(*p)->again_next;
	*p = c->again_next;
}

static void end_file(struct conn *c)
{
	if (c->file == NULL)
		return;
	file_put(c->file);
	c->file = NULL;
}

static void destroy(struct conn *c)
{
	end_file(c);
	forget_again(c);
	list_unlink(c);
	stream_bytes -= c->in_flight;
	zs_buf_release(&c->in, 1);
	zs_buf_release(c->out + c->out_first, c->out_end - c->out_first);
	request_fini(&c->request);
	zs_close(c->fd);
	count--;
	free(c);
}

/* ---- answers ---- */

/* Learns what has arrived: a cookie is the length of a piece. */
static void collect(struct conn *c)
{
	uint64_t done[64];
	int n;

	while (c->in_flight > 0 && (n = zs_sent_zc(c->fd, done, 64)) > 0)
		for (int i = 0; i < n; i++) {
			c->in_flight -= (uint32_t)done[i];
			stream_bytes -= done[i];
		}
}

static void push(struct conn *c, struct zs_buf b, bool streamed)
{
	c->out_streamed &= ~(1u << c->out_end);
	c->out_streamed |= (uint32_t)streamed << c->out_end;
	c->out[c->out_end++] = b;
}

static uint32_t clamp(uint64_t n, uint32_t least, uint32_t most)
{
	return n < least ? least : n > most ? most : (uint32_t)n;
}

/* Bytes that may be read and sent now; 0: none, and what is on its way will be heard of. */
static uint32_t may_stream(const struct conn *c)
{
	uint64_t left = stream_bytes < STREAM_BYTES ? STREAM_BYTES - stream_bytes : 0;
	uint32_t limit = clamp(left / 4, STREAM_PIECE_MIN, STREAM_CONN_BYTES);
	uint32_t piece = clamp(limit / 4, STREAM_PIECE_MIN, BLOCK_BYTES);

	return c->in_flight == 0 || c->in_flight + piece <= limit ? piece : 0;
}

/* Queues the next piece of the file. */
static bool push_content(struct conn *c)
{
	struct zs_buf b;
	bool shared;
	uint32_t most;
	int e;

	collect(c);
	most = may_stream(c);
	if (most == 0)
		return false;
	e = file_block(c->file, c->pos, most, &b, &shared);
	if (e == -ENOBUFS) {
		run_again(c);
		return false;
	}
	if (e < 0) { /* a shorter answer than promised must not look complete */
		c->broken = true;
		return false;
	}
	push(c, b, !shared);
	c->in_flight += shared ? 0 : b.len;
	stream_bytes += shared ? 0 : b.len;
	c->pos += b.len;
	if (c->pos == file_bytes(c->file))
		end_file(c);
	return true;
}

/* Head, then content by and by. Takes f. */
static int answer_in_pieces(struct conn *c, struct file *f, bool keep_alive, bool head_only)
{
	struct zs_buf b;
	int e = zs_buf_alloc(c->fd, 512, &b);

	if (e < 0) {
		file_put(f);
		return e;
	}
	b.len = (uint32_t)response_head(b.data, 512, 200, file_type(f), file_bytes(f), keep_alive);
	push(c, b, false);
	if (head_only || file_bytes(f) == 0) {
		file_put(f);
		return 0;
	}
	c->file = f;
	c->pos = 0;
	return 0;
}

static int answer_file(struct conn *c, struct file *f, bool keep_alive, bool head_only)
{
	struct zs_buf b;

	if (head_only || file_response(f, keep_alive, &b) < 0)
		return answer_in_pieces(c, f, keep_alive, head_only);
	push(c, b, false);
	file_put(f);
	return 0;
}

static int answer_error(struct conn *c, int status, bool keep_alive, bool head_only)
{
	struct zs_buf b;
	int e = response_error(status, keep_alive, head_only, &b);

	if (e == 0)
		push(c, b, false);
	return e;
}

static int answer_path(struct conn *c, bool keep_alive, bool head_only)
{
	static const char index[] = "index.html";
	char path[URL_MAX + sizeof(index)];
	int status = request_path(&c->request, path);
	size_t len = status == 0 ? strlen(path) : 0;
	struct file *f;

	if (status != 0)
		return answer_error(c, status, keep_alive, head_only);
	if (len > 0 && path[len - 1] == '/')
		memcpy(path + len, index, sizeof(index));
	f = strcmp(path, "/stats") == 0 ? response_stats() : file_get(path);
	if (f == NULL)
		return answer_error(c, 404, keep_alive, head_only);
	return answer_file(c, f, keep_alive, head_only);
}

/* Answers the request that is due, or leaves it so until there is memory. */
static void answer(struct conn *c)
{
	const http_parser *p = &c->request.parser;
	bool head_only = p->method == HTTP_HEAD;
	bool keep_alive = c->request.error == 0 && p->http_minor > 0 && http_should_keep_alive(p);
	int e;

	if (c->request.error != 0)
		e = answer_error(c, c->request.error, false, false);
	else if (p->method != HTTP_GET && !head_only)
		e = answer_error(c, 405, keep_alive, false);
	else
		e = answer_path(c, keep_alive, head_only);
	if (e < 0) {
		run_again(c);
		return;
	}
	c->due = false;
	c->closing |= !keep_alive;
	c->drained = c->request.error != 0;
	if (c->drained == 0)
		request_next(&c->request);
}

/* ---- input ---- */

/* More to parse; false: nothing now, or never. */
static bool receive(struct conn *c)
{
	int n;

	if (c->in.len > 0)
		return true;
	zs_buf_release(&c->in, 1);
	c->in.handle = 0;
	n = zs_recv_zc(c->fd, &c->in, 1, MSG_DONTWAIT);
	if (n == 1)
		return true;
	c->in = (struct zs_buf){0};
	c->closing |= n == 0;
	c->broken |= n < 0 && n != -EAGAIN;
	return false;
}

static bool parse(struct conn *c)
{
	size_t used = request_parse(&c->request, c->in.data, c->in.len);

	c->in.data = (char *)c->in.data + used;
	c->in.len -= (uint32_t)used;
	c->due = c->request.complete || c->request.error != 0;
	return c->due;
}

/* RFC 9112 §9.6: what the client still sends is read for a while, or a reset would overtake the
 * answer. True when it is over. */
static bool drain(struct conn *c)
{
	if (c->drained == 1)
		zs_shutdown(c->fd, SHUT_WR);
	c->closing = false; /* now says that the stream has ended */
	while (receive(c) && c->drained < DRAIN_BYTES) {
		c->drained += c->in.len;
		c->in.len = 0;
	}
	return c->closing || c->broken || c->drained >= DRAIN_BYTES;
}

/* ---- the turn of a connection ---- */

/* Parses and answers while there is room for answers. */
static void fill(struct conn *c, unsigned *requests)
{
	while (c->out_end < OUT_MAX && !c->broken) {
		if (c->file != NULL) {
			if (!push_content(c))
				return;
		} else if (c->due) {
			answer(c);
			if (c->due)
				return;
		} else if (c->closing) {
			return;
		} else if (*requests == REQUESTS_A_TURN) {
			run_again(c);
			return;
		} else if (receive(c) && parse(c)) {
			(*requests)++;
		} else if (c->in.len == 0 && c->in.handle == 0) {
			return;
		}
	}
}

/* How many buffers to offer in one call: content that is counted goes piece by piece, each with a
 * cookie. */
static int offer(const struct conn *c)
{
	uint32_t streamed = c->out_streamed >> c->out_first;
	int n = c->out_end - c->out_first;

	if (streamed & 1)
		return 1;
	for (int i = 1; i < n; i++)
		if (streamed >> i & 1)
			return i;
	return n;
}

/* Sends what is queued. True if all of it was taken. */
static bool flush(struct conn *c)
{
	while (c->out_first < c->out_end) {
		bool counted = c->out_streamed >> c->out_first & 1;
		uint64_t cookie = counted ? c->out[c->out_first].len : 0;
		int n = zs_send_zc(c->fd, c->out + c->out_first, offer(c), cookie, MSG_DONTWAIT);

		if (n == -ENOBUFS)
			run_again(c);
		else if (n <= 0 && n != -EAGAIN)
			c->broken = true;
		if (n <= 0)
			return false;
		c->out_first += (uint8_t)n;
	}
	c->out_first = c->out_end = 0;
	return true;
}

static void run(struct conn *c)
{
	unsigned requests = 0;

	do {
		if (c->drained == 0 || c->out_end > 0 || c->file != NULL)
			fill(c, &requests);
	} while (c->out_end > 0 && flush(c) && !c->again);
	if (c->broken)
		destroy(c);
	else if (c->out_end == 0 && c->file == NULL && !c->due &&
		 (c->drained > 0 ? drain(c) : c->closing))
		destroy(c);
}

void conn_run(struct conn *c)
{
	if (c->second != response_second() && c->drained == 0) {
		c->second = response_second();
		list_unlink(c);
		list_link(c);
	}
	run(c);
}

bool conns_retry(void)
{
	struct conn *c = again_list, *next;

	again_list = NULL;
	for (; c != NULL; c = next) {
		next = c->again_next;
		c->again = false;
		run(c);
	}
	return again_list != NULL;
}

/* What a peer does not read would stay in our memory: it is reset. */
void conns_expire(void)
{
	const struct linger at_once = {.l_onoff = 1};
	uint32_t now = response_second();

	while (oldest != NULL && now - oldest->second > IDLE_SECONDS) {
		if (oldest->file != NULL || oldest->out_end > 0 || oldest->in_flight > 0)
			zs_setsockopt(oldest->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		destroy(oldest);
	}
}
