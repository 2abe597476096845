/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A socket that the keeper holds (keeper.c), and how it is served to who has not got the library
 * (stranger.c).
 */
#ifndef ZS_SVC_KEPT_H
#define ZS_SVC_KEPT_H

#include "svc/service.h"

enum kept_state {
	KEPT_NAMED,  /* the stack has it by its name, or there is nothing yet (named.c) */
	KEPT_NEW,    /* nobody has looked at it yet: mostly it is gone before */
	KEPT_NONE,   /* a stranger can't be served with it */
	KEPT_WAITS,  /* for something to feed, or a word of a stranger */
	KEPT_FED,    /* bytes lie in the pair, and unread in the socket as well */
	KEPT_SERVED, /* a stranger has it: the pair carries the stream */
};

struct kept {
	struct list link;
	struct source end; /* our end has something to say */
	int fd, twin;	   /* ours; what the sender added, -1 */
	uint64_t cookie;   /* of the end that travels */
	uid_t uid;
	uint64_t name;		       /* NAMED; 0: sid and image say what is kept */
	uint32_t sid[EMBED_CORES_MAX]; /* of the keeper */
	uint32_t n_image, note;
	uint8_t image[ATTACH_IMAGE_MAX];

	enum kept_state state;
	struct list turn;   /* NEW: of those to be looked at; else of those with something to do */
	int64_t look_ns;    /* NEW: when */
	unsigned core;	    /* from WAITS on: whose stream it is */
	uint32_t fed;	    /* FED: bytes; SERVED: to be consumed in the socket */
	uint64_t redeemer;  /* FED: the application that takes them out again, 0: none */
	uint32_t out_again; /* … so many by now */
	/* SERVED */
	uint32_t room; /* that may be sent */
	uint8_t *left; /* n_left bytes from left + at, that the pair had no room for, or NULL */
	uint32_t at, n_left;
	bool in_end, out_end; /* the end was passed on, to the stranger; was read from it */
	bool discards;	      /* it reads no more */
	bool hung_up, unread; /* it has no descriptor any more; and had not read everything */
};

/* ---- keeper.c ---- */
/* There is a keeper: 0, -errno. */
int keeper_get(struct service *s) must_check;
/* May another one of that user be kept? */
bool kept_room(const struct service *s, uid_t uid);
/* The end that travels, or -errno. */
int kept_open(struct service *s, struct kept *k) must_check;
/* Nothing is held for it any more. */
void kept_free(struct service *s, struct kept *k);
/* Gives up the hold, with a reset if so. */
void kept_end(struct service *s, struct kept *k, bool reset);

/* ---- named.c ---- */
/* The stacks keep nothing under its name. */
void named_end(struct service *s, struct kept *k);
/* What is kept under its name has none from here on. False: nothing is. */
bool named_claim(struct service *s, struct kept *k);
/* Its end has something to say, which is for a stranger's ears. False: nothing is kept, or the last
 * copy was closed. */
bool named_heard(struct service *s, struct kept *k, uint32_t events);
/* The stack keeps something. */
void named_news(struct service *s);
/* As strangers_tick(). */
int64_t named_tick(struct service *s);

/* ---- stranger.c ---- */
/* When there is a keeper; and before it goes. */
int strangers_open(struct service *s) must_check;
void strangers_close(struct service *s);
/* It has been made. */
void stranger_begin(struct service *s, struct kept *k);
/* It goes. */
void stranger_forget(struct service *s, struct kept *k);
/* Our end has something to say. May end it. */
void stranger_heard(struct service *s, struct kept *k, uint32_t events);
/* An application brings the end, fd, out of which it has taken n bytes, again. 0: it is to have the
 * socket; -EAGAIN: it has to take out what is in there, first; -EBUSY: another one does;
 * -EALREADY: a stranger has it. */
int stranger_yields(struct service *s, struct kept *k, const struct app *a, int fd,
		    uint32_t n) must_check;

#endif
