/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Names → files. Content is read into buffers that zs_send_zc() takes, and sent from there. Files
 * of up to CACHE_FILE_MAX stay in their buffers, which are sent to any number of clients at once;
 * of longer ones, each response reads a block at a time. Small ones are laid behind their head once
 * a second.
 *
 * The kernel resolves names, and refuses what leads out of the directory: openat2(2).
 */
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "http.h"

#define CACHE_FILE_MAX	(1u << 20)
#define CACHE_BYTES_MAX (16u << 20)
#define CACHE_BUCKETS	1024
#define SMALL_BYTES	4096 /* content up to here stands behind its head, in one buffer */

struct file {
	int fd; /* -1: text */
	uint32_t refs;
	uint64_t bytes;
	struct timespec changed;
	char *text; /* content of a page that is no file */
	const char *type;
	struct zs_buf *block; /* cached content, or NULL */
	uint32_t blocks;
	struct zs_buf whole[2]; /* head and content of a small file: connection closes, is kept */
	uint32_t whole_second;	/* when they were made */

	char *path; /* key, of a cached one; else NULL */
	uint32_t hash, checked_second;
	struct file *next;	    /* of its bucket */
	struct file *newer, *older; /* by last use */
};

static int root = -1;
static struct file *bucket[CACHE_BUCKETS];
static struct file *newest, *oldest;
static uint64_t cache_bytes;

int files_open_root(const char *dir)
{
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return root < 0 ? -errno : 0;
}

static int open_beneath(const char *path)
{
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};

	while (*path == '/')
		path++;
	return (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
}

static const char *type_of(const char *path)
{
	static const char *const table[][2] = {
		{".html", "text/html; charset=utf-8"},
		{".css", "text/css"},
		{".js", "text/javascript"},
		{".json", "application/json"},
		{".txt", "text/plain; charset=utf-8"},
		{".svg", "image/svg+xml"},
		{".png", "image/png"},
		{".jpg", "image/jpeg"},
		{".wasm", "application/wasm"},
		{".xml", "application/xml"},
	};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot != NULL && i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(dot, table[i][0]) == 0)
			return table[i][1];
	return "application/octet-stream";
}

static struct file *file_create(uint64_t bytes, const char *type)
{
	struct file *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->fd = -1;
	f->refs = 1;
	f->bytes = bytes;
	f->type = type;
	return f;
}

void file_put(struct file *f)
{
	if (--f->refs > 0)
		return;
	zs_buf_release(f->whole, 2);
	if (f->blocks > 0)
		zs_buf_release(f->block, (int)f->blocks);
	if (f->fd >= 0)
		close(f->fd);
	free(f->block);
	free(f->text);
	free(f->path);
	free(f);
}

struct file *file_of_text(char *text, size_t len)
{
	struct file *f = file_create(len, "text/plain; charset=utf-8");

	if (f != NULL)
		f->text = text;
	else
		free(text);
	return f;
}

uint64_t file_bytes(const struct file *f)
{
	return f->bytes;
}

const char *file_type(const struct file *f)
{
	return f->type;
}

/* ---- content ---- */

static int read_content(const struct file *f, uint64_t pos, void *to, uint32_t len)
{
	uint32_t done = 0;

	if (f->text != NULL) {
		memcpy(to, f->text + pos, len);
		return 0;
	}
	while (done < len) {
		ssize_t n = pread(f->fd, (char *)to + done, len - done, (off_t)(pos + done));

		if (n <= 0) /* the file became shorter: what was promised can't be kept */
			return -EIO;
		done += (uint32_t)n;
	}
	return 0;
}

/* Fills a new buffer with content. */
static int load_block(const struct file *f, uint64_t pos, uint32_t most, struct zs_buf *b)
{
	uint64_t rest = f->bytes - pos;
	uint32_t len = rest < most ? (uint32_t)rest : most;
	int e = zs_buf_alloc(-1, len, b);

	if (e < 0)
		return e;
	e = read_content(f, pos, b->data, len);
	if (e < 0)
		zs_buf_release(b, 1);
	return e;
}

int file_block(struct file *f, uint64_t pos, uint32_t most, struct zs_buf *b, bool *shared)
{
	uint32_t n = (uint32_t)(pos / BLOCK_BYTES), offset = (uint32_t)(pos % BLOCK_BYTES);

	*shared = n < f->blocks;
	if (!*shared)
		return load_block(f, pos, most, b);
	*b = f->block[n];
	b->data = (char *)b->data + offset;
	b->len -= offset;
	return zs_buf_ref(b) < 0 ? -ENOBUFS : 0; /* on its way too often: later */
}

static int make_whole(struct file *f, bool keep_alive)
{
	char head[512];
	int len = response_head(head, sizeof(head), 200, f->type, f->bytes, keep_alive);
	struct zs_buf b;
	int e = zs_buf_alloc(-1, (uint32_t)len + (uint32_t)f->bytes, &b);

	if (e < 0)
		return e;
	memcpy(b.data, head, (size_t)len);
	if (f->blocks > 0)
		memcpy((char *)b.data + len, f->block[0].data, f->bytes);
	f->whole[keep_alive] = b;
	return 0;
}

int file_response(struct file *f, bool keep_alive, struct zs_buf *b)
{
	if (f->path == NULL || f->bytes > SMALL_BYTES)
		return -EAGAIN;
	if (f->whole_second != response_second()) { /* the date is another one now */
		zs_buf_release(f->whole, 2);
		f->whole[0].handle = f->whole[1].handle = 0;
		f->whole_second = response_second();
	}
	if (f->whole[keep_alive].handle == 0 && make_whole(f, keep_alive) < 0)
		return -EAGAIN;
	*b = f->whole[keep_alive];
	return zs_buf_ref(b);
}

/* ---- cache ---- */

static uint32_t hash_of(const char *s)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	while (*s != '\0')
		h = (h ^ (uint8_t)*s++) * 16777619u;
	return h;
}

static void use_unlink(struct file *f)
{
	*(f->newer != NULL ? &f->newer->older : &newest) = f->older;
	*(f->older != NULL ? &f->older->newer : &oldest) = f->newer;
}

static void use_link(struct file *f)
{
	f->newer = NULL;
	f->older = newest;
	*(newest != NULL ? &newest->newer : &oldest) = f;
	newest = f;
}

static void cache_remove(struct file *f)
{
	struct file **p = &bucket[f->hash % CACHE_BUCKETS];

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	use_unlink(f);
	cache_bytes -= f->bytes;
	file_put(f);
}

/* Loads all of the file, or nothing: then it is served block by block. */
static int load_all(struct file *f)
{
	uint32_t n = (uint32_t)((f->bytes + BLOCK_BYTES - 1) / BLOCK_BYTES);

	f->block = calloc(n > 0 ? n : 1, sizeof(*f->block));
	if (f->block == NULL)
		return -ENOMEM;
	for (; f->blocks < n; f->blocks++)
		if (load_block(f, (uint64_t)f->blocks * BLOCK_BYTES, BLOCK_BYTES,
			       &f->block[f->blocks]) < 0) {
			zs_buf_release(f->block, (int)f->blocks);
			f->blocks = 0;
			return -ENOBUFS;
		}
	return 0;
}

static void cache_insert(struct file *f, const char *path, uint32_t hash)
{
	while (oldest != NULL && cache_bytes + f->bytes > CACHE_BYTES_MAX)
		cache_remove(oldest);
	if (load_all(f) < 0)
		return;
	f->path = strdup(path);
	if (f->path == NULL)
		return;
	f->hash = hash;
	f->checked_second = response_second();
	f->next = bucket[hash % CACHE_BUCKETS];
	bucket[hash % CACHE_BUCKETS] = f;
	use_link(f);
	cache_bytes += f->bytes;
	f->refs++;
	close(f->fd);
	f->fd = -1;
}

/* Is it still the file that was read? Asked once a second. */
static bool fresh(struct file *f)
{
	struct stat st;
	int fd;
	bool same;

	if (f->checked_second == response_second())
		return true;
	fd = open_beneath(f->path);
	if (fd < 0)
		return false;
	same = fstat(fd, &st) == 0 && (uint64_t)st.st_size == f->bytes &&
	       st.st_mtim.tv_sec == f->changed.tv_sec && st.st_mtim.tv_nsec == f->changed.tv_nsec;
	close(fd);
	f->checked_second = response_second();
	return same;
}

static struct file *cache_find(const char *path, uint32_t hash)
{
	struct file *f = bucket[hash % CACHE_BUCKETS];

	while (f != NULL && (f->hash != hash || strcmp(f->path, path) != 0))
		f = f->next;
	if (f == NULL)
		return NULL;
	if (!fresh(f)) {
		cache_remove(f);
		return NULL;
	}
	if (f != newest) {
		use_unlink(f);
		use_link(f);
	}
	f->refs++;
	return f;
}

struct file *file_get(const char *path)
{
	uint32_t hash = hash_of(path);
	struct file *f = cache_find(path, hash);
	struct stat st;
	int fd;

	if (f != NULL)
		return f;
	fd = open_beneath(path);
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    (f = file_create((uint64_t)st.st_size, type_of(path))) == NULL) {
		close(fd);
		return NULL;
	}
	f->fd = fd;
	f->changed = st.st_mtim;
	if (f->bytes <= CACHE_FILE_MAX)
		cache_insert(f, path, hash);
	return f;
}
