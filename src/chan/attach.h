/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The control connection between an application and the service: a UNIX socket of type
 * SOCK_SEQPACKET, one message for each packet. All that is slow goes over it; the data path is the
 * channels that it hands over.
 *
 *	application             service
 *	HELLO             -->   who is it (SO_PEERCRED), may it, what does it get
 *	                  <--   WELCOME + descriptors, or REFUSED and the end
 *	maps everything
 *	MAPPED            -->   seals the memory, takes the channels into service
 *	                  <--   READY
 *	GRANT             -->   may this user (SCM_CREDENTIALS, or the maker of the voucher that
 *	                        comes with it) bind that port? 0: choose one
 *	                  <--   GRANTED
 *	FORK              -->   makes an application for a child, attached at once, so that
 *	                  <--   WELCOME with the child's descriptors and one more, its control
 *	                        connection, or REFUSED: the parent shares sockets with it
 *	                        before it is there; the child says MAPPED on its own
 *	DROP              -->   the child has closed a socket before it said MAPPED
 *	PASS              -->   keeps a socket, while a descriptor is on its way to
 *	                  <--   PASSED another program, which hands it in
 *	REDEEM            -->   and gets the socket
 *	                  <--   REDEEMED
 *	ENDS              -->   some descriptors for connections that are to be passed, which go
 *	                  <--   ENDS_ARE over the channel (CHAN_OP_KEEP)
 *	                  <--   LINK: memory that it shares with another program (link.h)
 *	LINKED            -->   mapped, or not wanted; when both have said so it is used
 *	                  <--   LINK_END: the other is gone
 *	LINK_FREE         -->   nothing of the other's memory is held, or named, any more
 *	LINK_BAD          -->   the other does what it may not
 *	REGION            -->   memory of a third program, which a neighbour passes on
 *	                  <--   REGION_IS
 *	BYE               -->   closes its sockets in order
 *
 * The connection's end alone tells nobody that the other is gone: the service watches the process
 * (pidfd) and its mappings, the application the service's process.
 *
 * A program whose service is gone attaches to the next one as to the first, but HELLO carries
 * the descriptors of its arenas, sealed as its last service sealed them; the service takes them,
 * if they are what it would have made itself, or refuses the program.
 *
 * A program that closed all descriptors, as many do when they go into the background, still has
 * its mappings. It says RESUME on a new connection: the kernel's word for which process that is
 * makes it the control connection, and WELCOME brings the descriptors again, of which those to
 * map are not needed.
 *
 * Descriptors of WELCOME: the packet region if pkt_bytes is not 0; then for each core the rings,
 * the arena, what the application sleeps on (one end of a pipe, see bell.c), the bell of the
 * stack.
 *
 * Like everything that crosses: read once, checked, then used, on both sides.
 */
#ifndef ZS_CHAN_ATTACH_H
#define ZS_CHAN_ATTACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/assert.h"

/* Since Linux 6.5; of either an older kernel says ENOPROTOOPT. */
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
#ifndef SCM_PIDFD
#define SCM_PIDFD 4
#endif

#define ATTACH_MAGIC   0x415a4b53u /* this and the version stay where they are for ever */
#define ATTACH_VERSION 6
#define ATTACH_PATH    "/run/zstack/zstackd.sock"
#define ATTACH_FDS_MAX (3 + 4 * 16)
#define ATTACH_MSG_MAX 512

enum attach_type {
	ATTACH_HELLO = 1,
	ATTACH_WELCOME,
	ATTACH_REFUSED,
	ATTACH_MAPPED,
	ATTACH_READY,
	ATTACH_GRANT,
	ATTACH_GRANTED,
	ATTACH_BYE,
	ATTACH_FORK,   /* a child is about to be made: WELCOME brings what is to be its own */
	ATTACH_ADMIN,  /* instead of HELLO: a request of the tool, a JSON text behind the head */
	ATTACH_ANSWER, /* a piece of the answer, see svc/admin.h; an empty one ends it */
	ATTACH_RESUME, /* instead of HELLO: see above */
	ATTACH_PASS,   /* keep a socket for whoever comes with the descriptor that PASSED brings */
	ATTACH_PASSED,
	ATTACH_REDEEM, /* with that descriptor: the socket is this application's, too */
	ATTACH_REDEEMED,
	ATTACH_LINK,
	ATTACH_LINKED,
	ATTACH_LINK_END,
	ATTACH_LINK_BAD,
	ATTACH_REGION,
	ATTACH_REGION_IS,
	ATTACH_DROP,
	ATTACH_LINK_FREE,
	ATTACH_ENDS, /* descriptors that may travel, before there is anything to keep */
	ATTACH_ENDS_ARE,
};

struct attach_head {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
};

#define ATTACH_PIECE_MAX 16384 /* of an ANSWER, behind its head */

struct attach_piece {
	struct attach_head head;
	char bytes[ATTACH_PIECE_MAX];
};

#define ATTACH_NO_LINKS 1u /* no memory shared with other programs */
#define ATTACH_VOUCHER	2u /* the last descriptor is one (chan/voucher.h) */

struct attach_hello {
	struct attach_head head;
	/* Wanted on each core, at most; 0 = the service's default. Who attaches again has tables of
	 * these sizes. */
	uint32_t max_sockets, max_loans, max_tokens;
	uint32_t flags;	      /* ATTACH_NO_LINKS, ATTACH_VOUCHER */
	uint64_t arena_bytes; /* wanted for each core; 0 = the service's default */
	char program[64];     /* for people */
};

/* The kernel has the stack's addresses, too: port 0 is to be asked for like others. */
#define ATTACH_F_SHARED 1u

struct attach_welcome {
	struct attach_head head;
	uint32_t n_cores;
	/* Ports below this one need a GRANT before they are bound. */
	uint32_t free_ports_from;
	/* The application's number on the channel (CHAN_OP_SHARE). */
	uint32_t app;
	uint32_t flags; /* ATTACH_F_… */
	uint64_t pkt_bytes, rings_bytes, arena_bytes;
};

struct attach_refused {
	struct attach_head head;
	int32_t err; /* -errno */
	char text[256];
};

struct attach_grant {
	struct attach_head head;
	uint32_t id; /* echoed */
	uint16_t port;
	uint8_t udp; /* else TCP */
	uint8_t pad;
	uint8_t addr[16]; /* IPv4 mapped; zero: any */
};

struct attach_granted {
	struct attach_head head;
	uint32_t id;
	int32_t res;   /* 0, -EACCES, -EADDRINUSE */
	uint16_t port; /* that was asked for, or chosen */
	uint16_t pad;
};

/* PASS: the sender's names of the socket, by core; what it knows of it, which the service does not
 * read, and perhaps a descriptor that goes with it. PASSED: res, and the descriptor that is to
 * travel. REDEEM: that, and in `note` how many bytes were taken out of it. REDEEMED: res, the
 * receiver's names, what the sender knew and added; -EAGAIN: there are bytes in it for who can't
 * redeem (svc/stranger.c), which are to be taken out and thrown away first; -EBUSY: another one is
 * at it; -EALREADY: such a one has read. */
#define ATTACH_IMAGE_MAX 256

struct attach_pass {
	struct attach_head head;
	uint32_t id;	  /* echoed */
	int32_t res;	  /* 0, -errno */
	uint32_t sid[16]; /* 0: none on that core */
	uint32_t n_image; /* bytes */
	uint32_t note;	  /* goes with the image */
	uint8_t image[ATTACH_IMAGE_MAX];
};

/* ENDS: n are wanted, ATTACH_ENDS_MAX at most. ENDS_ARE: n descriptors, perhaps fewer, and the name
 * of each for CHAN_OP_KEEP; or res. Who has one of them finds its name as its SO_MAX_PACING_RATE,
 * which means nothing for a UNIX socket and shows nowhere else. */
#define ATTACH_ENDS_MAX 8u

struct attach_ends {
	struct attach_head head;
	uint32_t id; /* echoed */
	int32_t res; /* 0, -errno */
	uint32_t n, pad;
	uint64_t name[ATTACH_ENDS_MAX];
};

/* Names by core, 0: none there. */
struct attach_drop {
	struct attach_head head;
	uint32_t sid[16];
	uint64_t pad;
};

/* What the descriptor is connected to: a name of the abstract namespace begins with this. */
#define ATTACH_KEPT "zstack-kept/"
/* Descriptors: the memory; a stream socket, to sleep on and to ring the other by a byte; the
 * other's process; its arenas. */
#define ATTACH_LINK_FDS 3u
struct attach_link {
	struct attach_head head;
	uint32_t id;
	uint32_t side;
	uint32_t app; /* the other's number */
	uint32_t n_cores;
	uint64_t bytes, arena_bytes;
};

/* LINKED, LINK_END, LINK_BAD, LINK_FREE. */
struct attach_linked {
	struct attach_head head;
	uint32_t id;
	int32_t res; /* LINKED: 0 or -errno */
};

/* REGION; REGION_IS with a descriptor, or bytes 0. */
struct attach_region {
	struct attach_head head;
	uint32_t id; /* see link_region() */
	uint32_t pad;
	uint64_t bytes;
};

/* A message as it came. */
struct attach_msg {
	union {
		struct attach_head head;
		struct attach_hello hello;
		struct attach_welcome welcome;
		struct attach_refused refused;
		struct attach_grant grant;
		struct attach_granted granted;
		struct attach_pass pass;
		struct attach_link link;
		struct attach_linked linked;
		struct attach_region region;
		struct attach_drop drop;
		struct attach_ends ends;
		char bytes[ATTACH_MSG_MAX];
	};
	size_t len;
	int fd[ATTACH_FDS_MAX]; /* the receiver's to close; -1: he took it */
	unsigned n_fds;
	int pidfd; /* of who sent it, as descriptors; if the socket has SO_PASSPIDFD */
	bool has_pidfd;
	bool has_cred; /* the socket has SO_PASSCRED */
	struct {
		int32_t pid;
		uint32_t uid, gid;
	} cred;
};

/* "/run/x.sock", or "@name" in the abstract namespace. -ENAMETOOLONG. */
int attach_address(const char *path, struct sockaddr_un *to, socklen_t *len) must_check;
#define ATTACH_NAME_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) + 1)
/* A service at a path listens at this name as well, "@/run/x.sock", for programs that can't see the
 * path any more. Anybody may have taken the name before: who connects there looks whose it is
 * (SO_PEERCRED). -EINVAL: there is none for such a path, and name is "". */
int attach_name(const char *path, char name[ATTACH_NAME_MAX]) must_check;
/* Fills in the head's magic and version. 0, -EAGAIN (the receiver is slow), other -errno. */
int attach_send(int sock, enum attach_type type, void *msg, size_t len, const int *fd,
		unsigned n_fds) must_check;
/* The next message, with a sane head and a length that its type has at least. 0, -EAGAIN,
 * -ECONNRESET (the end), -EPROTO, -EPROTONOSUPPORT (another version: head is valid), -EMFILE (no
 * numbers for all its descriptors: the rest is valid). Descriptors are closed on failure. */
int attach_recv(int sock, struct attach_msg *m, int flags) must_check;
void attach_close_fds(struct attach_msg *m);
/* The next piece of an answer; the length of its bytes (0: the end), or as attach_recv; -EINTR. */
ssize_t attach_recv_piece(int sock, struct attach_piece *p) must_check;

#endif
