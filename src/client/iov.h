/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A position in the program's array of buffers.
 */
#ifndef ZS_CLIENT_IOV_H
#define ZS_CLIENT_IOV_H

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#define IOV_COUNT_MAX 1024 /* as the kernel's UIO_MAXIOV */

struct iov_it {
	const struct iovec *v;
	size_t at;   /* bytes of *v that are done */
	size_t left; /* bytes from here to the end of the array */
};

/* -EINVAL: too many buffers, or more bytes than a result can say. */
static inline int iov_start(struct iov_it *it, const struct iovec *v, size_t n)
{
	size_t total = 0;

	if (n > IOV_COUNT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (v[i].iov_len > (size_t)SSIZE_MAX - total)
			return -EINVAL;
		total += v[i].iov_len;
	}
	*it = (struct iov_it){.v = v, .left = total};
	return 0;
}

/* The next piece, at most max bytes, not across two buffers. NULL when nothing is left. */
static inline void *iov_piece(struct iov_it *it, size_t max, size_t *len)
{
	if (it->left == 0 || max == 0)
		return NULL;
	while (it->v->iov_len == it->at) {
		it->v++;
		it->at = 0;
	}
	size_t n = it->v->iov_len - it->at;
	void *p = (char *)it->v->iov_base + it->at;

	n = n < max ? n : max;
	it->at += n;
	it->left -= n;
	*len = n;
	return p;
}

/* Copies n bytes, which must be left, from the array. */
static inline void iov_get(struct iov_it *it, uint8_t *to, size_t n)
{
	size_t k;
	void *p;

	while ((p = iov_piece(it, n, &k)) != NULL) {
		memcpy(to, p, k);
		to += k;
		n -= k;
	}
}

/* Copies at most n bytes into the array; returns how many found room. */
static inline size_t iov_put(struct iov_it *it, const uint8_t *from, size_t n)
{
	size_t done = 0, k;
	void *p;

	while ((p = iov_piece(it, n - done, &k)) != NULL) {
		memcpy(p, from + done, k);
		done += k;
	}
	return done;
}

#endif
