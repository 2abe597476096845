/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An HTTP/1.1 server for files (RFC 9110, 9112) on Z-Stack:
 *
 *	request.c   bytes → requests, by Debian's http-parser
 *	files.c     names → files, small ones cached in buffers that can be sent
 *	response.c  heads, errors, the page /stats
 *	conn.c      a connection: what is to be parsed, what is to be sent, and when to stop
 *	http.c      readiness and time
 *
 * One thread runs all of it; nothing here blocks.
 */
#ifndef EXAMPLES_HTTP_H
#define EXAMPLES_HTTP_H

#include <http_parser.h>

#include "../common.h"

#define BLOCK_BYTES	 ZS_BUF_MAX /* of file content: one buffer */
#define URL_MAX		 4096	    /* longer: 414 */
#define HEADER_MAX	 16384	    /* longer: 431 */
#define REQUEST_BODY_MAX 65536	    /* longer: 413; a body is read and not used */
#define OUT_MAX		 32	    /* buffers waiting for room in a socket */
#define IDLE_SECONDS	 60	    /* a connection may be silent */

/* ---- request.c ---- */

/* One request while it arrives in pieces. */
struct request {
	http_parser parser;
	char *url; /* as sent; room for url_room, grown on demand */
	uint32_t url_len, url_room;
	char field[8]; /* start of the header's name that is being read */
	uint8_t field_len;
	bool in_value, host, complete;
	uint16_t error; /* status to answer with instead, or 0 */
};

void request_init(struct request *r);
void request_fini(struct request *r);
/* Parses until the end of one request or of the data; how many bytes were used. Then r->complete or
 * r->error says whether an answer is due. */
size_t request_parse(struct request *r, const char *data, size_t len);
/* For the next request of the connection. */
void request_next(struct request *r);
/* The decoded path of the URL, without query, in out[URL_MAX + 1]; 0 or a status. */
int request_path(const struct request *r, char *out);

/* ---- files.c ---- */

/* A file that is being sent or cached. Counted references: the cache has one, each response one. */
struct file;

int files_open_root(const char *dir);
/* The file for a decoded path; NULL if there is none that may be read. */
struct file *file_get(const char *path);
/* A page made of text, which it frees in the end. */
struct file *file_of_text(char *text, size_t len);
void file_put(struct file *f);
uint64_t file_bytes(const struct file *f);
const char *file_type(const struct file *f);
/* A buffer, held for the caller, of the content at pos; shared when the file is cached, else at
 * most `most` bytes read for this call. -ENOBUFS: try later; -EIO. *shared says which. */
int file_block(struct file *f, uint64_t pos, uint32_t most, struct zs_buf *b, bool *shared);
/* A whole response (head and content) of a small file, made once a second; 0 or -EAGAIN: none. */
int file_response(struct file *f, bool keep_alive, struct zs_buf *b);

/* ---- response.c ---- */

/* Once for each second that begins. */
void response_tick(void);
/* The second that responses are dated with. */
uint32_t response_second(void);
/* Writes the head of a response: how long it is. */
int response_head(char *out, size_t room, int status, const char *type, uint64_t bytes,
		  bool keep_alive);
/* A whole response that reports an error, in a buffer held for the caller; 0 or -ENOBUFS. */
int response_error(int status, bool keep_alive, bool head_only, struct zs_buf *b);
/* The page /stats: sockets, counters, ports of the stack. NULL: no memory. */
struct file *response_stats(void);

/* ---- conn.c ---- */

struct conn;

struct conn *conn_create(int set, int fd);
/* Does all that can be done now: after each edge of readiness. The connection may be gone then. */
void conn_run(struct conn *c);
/* Connections that found no memory to send with try again. True if some are left. */
bool conns_retry(void);
/* Ends connections that were silent for IDLE_SECONDS. */
void conns_expire(void);
unsigned conns_count(void);

#endif
