/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The channel between one application and one stack core: shared memory with four single-producer
 * single-consumer rings. The same layout in one process and between two. Everything is an offset;
 * each side reads what the other can write once, validates the copy, then uses it (H32).
 *
 *	sq    application → stack   commands, 64 bytes
 *	cq    stack → application   events and results, 64 bytes; a socket that finds it full waits
 *	                            on a list inside the stack, so it can't overflow
 *	ret   application → stack   received buffers given back: 4-byte loans
 *	done  stack → application   sent buffers given back: 4-byte tokens; as large as the number
 *	                            of tokens, so it can't overflow
 *
 * No index tells of what is produced: the first word of each entry carries a mark, the parity of
 * its lap round the ring, and is written last. So news costs one cache line to move between two
 * CPUs, the one that has them, and the consumer polls that line. How far a ring has been read is an
 * index, which its producer looks at once a lap.
 *
 *	┌ header ┬ indices, leases ┬ sq ┬ cq ┬ ret ┬ done ┬ scratch ┐                 rings region
 *	┌ application's payload arena ──────────────────────────────────┐   arena region
 */
#ifndef ZS_CHAN_CHAN_H
#define ZS_CHAN_CHAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chan/ring.h"

#define CHAN_MAGIC   0x4b54535aU /* "ZSTK" */
#define CHAN_VERSION 11

/* ---- names ---- */

/* A socket: index into the application's table in the service, and a generation. 0 is never valid.
 */
#define SID_INDEX_BITS 21
static inline uint32_t sid_index(uint32_t sid)
{
	return sid & ((1u << SID_INDEX_BITS) - 1);
}

/* A received buffer lent to the application: index into its loan table, and a generation (H33), in
 * 31 bits: the highest is a ring's (CHAN_MARK). */
#define LOAN_INDEX_BITS 19
#define LOAN_NONE	0u
static inline uint32_t loan_index(uint32_t loan)
{
	return loan & ((1u << LOAN_INDEX_BITS) - 1);
}

/* Regions a handle can name. */
enum chan_region {
	CHAN_REGION_ARENA = 0, /* the application's own payload memory */
	CHAN_REGION_PKT = 1,   /* 1 + pool index: packet regions of the domain, read-only */
	CHAN_REGION_MAX = 16,
	/* In DGRAM alone: in the arena of application off >> 32, to which there is a link, at the
	 * lower half of off. (What is sent out of such an arena is named in the same way.) */
	CHAN_REGION_NEIGHBOUR = 0xffff,
};

/* ---- commands ----
 *
 * Order. Every command but those that say so (SOCKET, DUMP, NOP…) names a socket and carries its
 * ticket: 0 for the first command of a sid, then one more each. They are executed in ticket order,
 * whatever their order in sq (at most CHAN_TICKETS_AHEAD early); a ticket is used up by a command
 * that fails, too.
 *
 * Results. Every command has exactly one RESULT (token echoed in `loan`, sid of the socket, res = 0
 * or -errno), but SEND, SEND_LOAN, SENDTO, RCVBUF_MORE and KEPT, which have none. A command that
 * makes no sense (unknown op, sid that is not there: -EBADF, ticket, offset…) is answered with its
 * error and counted.
 *
 * Room. The stack takes no command while cq has no place for its results: who waits for room in sq
 * must drain cq meanwhile. It may sleep on commands or events that lack room only while cq is more
 * than half full: who drains it rings the stack's bell each time that half a ring was taken
 * (chan_pop). The same holds the other way: who finds no room in sq may sleep only while it is more
 * than half full.
 *
 * Trifles. Tokens in done matter to few: who waits for room to send, a buffer, or the end of a
 * send. An application that has nobody of these sleeps without being rung for tokens alone
 * (BELL_ARMED_NO_TRIFLES) and takes them when it is awake for something else.
 *
 * How much may be sent. Each socket has a limit in bytes: aux of SOCKET's result, res of ACCEPT,
 * then aux of WRITABLE whenever it changes. The client counts, for each socket, the bytes of its
 * sends whose tokens have not come back in `done`; it may send while that is below the limit (so
 * the last send may pass it). The stack trusts nobody: who sends regardless uses up its own tokens.
 * A token comes back when its bytes are acknowledged (TCP) or gone (UDP) and no driver holds them,
 * and when the send failed. So writability needs no event of its own.
 *
 * Failed sends. The token comes back in `done` (if it was the client's to use), and an ERROR event
 * without CHAN_CQ_FATAL says why (TCP: once for each connection state, -EPIPE, -ENOTCONN…).
 *
 * Kept by the client alone, never asked of the service: O_NONBLOCK, SO_ERROR (fed by ERROR events),
 * SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT, MSG_PEEK, the urgent byte (URG), what shutdown(SHUT_RD)
 * discards. */
enum chan_op {
	/* A fence: result 0. sid 0, no ticket. */
	CHAN_OP_NOP,
	/* arg[0..2] = domain (AF_INET, AF_INET6), type (SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, no
	 * flags), protocol or 0. Result: sid, aux = send limit. sid 0, no ticket. SOCK_SEQPACKET:
	 * as SOCK_STREAM, but what is sent goes by a link or not at all. */
	CHAN_OP_SOCKET,
	/* addr (any = wildcard), port (0 = choose). Result: aux = port. */
	CHAN_OP_BIND,
	/* arg[0] = backlog, see chan_backlog(); again: changes it. An unbound socket gets a port.
	 * See CHAN_EV_ACCEPT. */
	CHAN_OP_LISTEN,
	/* addr, port. TCP: result when established or failed; UDP at once, and port 0 with addr any
	 * dissolves the peer. Result has addr, port = peer, laddr, lport = local. */
	CHAN_OP_CONNECT,
	/* off, len in the arena (0 < len <= CHAN_SEND_MAX), token, flags CHAN_SEND_*. The bytes
	 * must not change until the token is back. UDP: a datagram, or a piece, for the connected
	 * peer. off >> 32 != 0: in the arena, of the same core, of that application, to which there
	 * is a link, or was, as long as LINK_FREE was not said. */
	CHAN_OP_SEND,
	/* loan, off and len relative to the lent bytes: sends what was received as it is. Token as
	 * for SEND. The loan stays held until it is returned in ret, which may be at once. UDP:
	 * when port is not 0, addr and port as in SENDTO. */
	CHAN_OP_SEND_LOAN,
	/* UDP: as SEND, with addr and port. CHAN_SEND_PART: more pieces follow, each with a token
	 * of its own; the one without it ends the datagram, and its addr counts. len may be 0 (also
	 * in SEND to a UDP socket): the token comes back too. */
	CHAN_OP_SENDTO,
	/* arg[0] = SHUT_RD, SHUT_WR, SHUT_RDWR. WR sends FIN after what was sent. */
	CHAN_OP_SHUTDOWN,
	/* arg[0] = linger: -1 close in the background, 0 reset, else seconds to wait for the last
	 * acknowledgement (the result comes then). arg[1] = 1: the client threw announced data away
	 * unread: TCP resets (RFC 2525 §2.17). The result is the last event of the sid; a CONNECT
	 * still open is answered -ECONNABORTED before. Loans and tokens live on and are returned as
	 * ever. Before a listener the client closes what it announced and nobody took. */
	CHAN_OP_CLOSE,
	/* opt.level, opt.name, opt.value, len = length of value. CHAN_OPT_QUIET: no result comes,
	 * whatever it would be. */
	CHAN_OP_SETOPT,
	/* opt.level, opt.name; result: res = length, value in data[]. TCP_INFO: into the scratch
	 * area at off, at most len bytes, res = length written. */
	CHAN_OP_GETOPT,
	/* arg[0] = 0 local, 1 peer: result has addr, port. */
	CHAN_OP_NAME,
	/* Of a listener: arg[0] announced connections were taken by accept(). May be sent late (see
	 * CHAN_EV_ACCEPT), rather not one by one. No meaning for others: ret tells what was read.
	 */
	CHAN_OP_RCVBUF_MORE,
	/* Text dump into the scratch area at off, len: arg[0] = CHAN_DUMP_*, arg[1] = cursor, first
	 * 0. Result: bytes written, whole lines; aux = next cursor, 0 at the end. sid 0, no ticket.
	 */
	CHAN_OP_DUMP,
	/* Before fork: arg[0] = number of the child's application, which the service made for this
	 * one. From here on the socket has another holder there, and is shared: DATA, FIN, ACCEPT
	 * and datagrams are not pushed but asked for. Result: aux = the sid there. -EBUSY: it
	 * connects, or lingers. */
	CHAN_OP_SHARE,
	/* Of a shared connection, after SHARE or UNACCEPT: loan was not read to its end, off =
	 * bytes of it that were. In the stream's order. The loan is given back by this. LOAN_NONE:
	 * the bytes came over a link, and lie at off, len in the arena, arg[0] = 1: and follow what
	 * is still to come before the link (no LINK_RX was told). CHAN_UNREAD_MAX of a socket that
	 * is shared. -ENOBUFS: more, or the service is short of memory.
	 * UDP: of a datagram, which waits in front of all others then; so the last one first. loan, or
	 * LOAN_NONE: it is empty; port, off, data = DGRAM's port, aux, addr and laddr;
	 * CHAN_SEND_PART: more pieces of it follow. -ENOBUFS: it is lost. */
	CHAN_OP_UNREAD,
	/* Of a shared socket: DATA events with at most arg[0] bytes, or one datagram (DGRAM), then
	 * the result: bytes, 0 at the end of the stream, -EAGAIN; aux = 1: there is more. arg[1] =
	 * 1: only looks (CHAN_CQ_COPY). What is lent is charged to no window. Instead of
	 * bytes a LEASE may come, and -EAGAIN. */
	CHAN_OP_READ,
	/* Of a shared listener. An ACCEPT event, then result 0; or -EAGAIN. aux as READ's. */
	CHAN_OP_ACCEPT,
	/* The stack's addresses into the scratch area at off, at most len bytes: struct chan_addr
	 * each. Result: how many there are; aux: CHAN_ROUTE_*. sid 0, no ticket. */
	CHAN_OP_ADDRS,
	/* Of a connection that was announced and nobody took; arg[0] = its listener, which is
	 * shared. No news of it come after the result. Then UNREAD for each loan, and CLOSE, which
	 * gives it to the next that accepts. */
	CHAN_OP_UNACCEPT,
	/* Same-node streams (docs/design/013). arg[0] = a link that was offered, arg[1], arg[2] =
	 * what the stream is called there, off = the link's cut: the socket can receive over the
	 * link; the other end is told. Until it is shared. */
	CHAN_OP_LINK_TAKE,
	/* From here on what the socket sends goes over link arg[0]; 0: by sends again. The other
	 * end is told when it has been given all that was sent before. */
	CHAN_OP_LINK_SWITCH,
	/* addr, port: 0, if a program listens there for TCP to which a same-node stream could be;
	 * -ECONNREFUSED: none. sid 0, no ticket. */
	CHAN_OP_LISTENS,
	/* Of a shared socket: arg[0] = 1: who waits for it here wants to be told only if no other
	 * holder of that mind is asleep that could be (EPOLLEXCLUSIVE); 0: it is told always. */
	CHAN_OP_EXCLUSIVE,
	/* A same-node stream that went on without a service becomes a connection of this one: of a
	 * socket that neither listens nor connects. data = its addresses, own and peer's, port =
	 * own port, len = peer's; off, loan = the link's secret. As CONNECT, but it waits for the
	 * other end, which comes by itself; CLOSE drops it. -EADDRNOTAVAIL, -EADDRINUSE: there can
	 * be no such connection here; -EACCES: this program may not have the port. */
	CHAN_OP_REVIVE,
	/* UDP: data = a group and a source, IPv4 mapped; flags = enum chan_source; port = the
	 * interface, from 1; or 0, and len = its address of IPv4, or 0: choose. Errors as
	 * Linux's of IP_ADD_SOURCE_MEMBERSHIP and its kin. */
	CHAN_OP_SOURCE,
	/* A socket that another application of this user has bound to this port with the key `off`:
	 * this one holds it, too. arg[0], arg[1] = domain, type. Result: sid, aux = send limit;
	 * -ENOENT. sid 0, no ticket. */
	CHAN_OP_JOIN,
	/* UDP: all sources of a group at once. data = the group, and behind it the interface's
	 * address of IPv4, or 0; port as SOURCE's; flags = enum chan_filter. Set: len bytes of
	 * addresses, 16 each, at off in the arena. READ: into the scratch area at off, at most len;
	 * result: how many there are; aux: which of the two it is. Errors as Linux's of
	 * IP_MSFILTER. */
	CHAN_OP_FILTER,
	/* Of a socket that has a port and is no connection: who knows the key `off` may JOIN it from
	 * here on, so it is shared. 0, also if it has this key already; -EEXIST: another has. */
	CHAN_OP_OFFER,
	/* Of a connection that is about to go to another program: it is kept under a name that the
	 * service has issued (ENDS, attach.h), in data, with what the sender knows of it: len bytes
	 * at off in the arena, CHAN_KEPT_IMAGE_MAX at most. From here on it is shared, as by SHARE,
	 * but nobody reads before KEPT. -ENOENT: no such name; -EEXIST: one is kept under it. */
	CHAN_OP_KEEP,
	/* After KEEP: all that was unread here was given back. */
	CHAN_OP_KEPT,
	/* This application holds what is kept under the name in data, too. What the sender knew is
	 * written into the scratch area at off, at most len bytes: res. Result: sid, aux = send
	 * limit; -ENOENT: nothing is. sid 0, no ticket. */
	CHAN_OP_REDEEM,
	CHAN_OP_MAX,
};

/* Names of what is kept, never 0 or all ones: where it stands, and a secret. */
#define CHAN_KEPT_PLACES    4096u
#define CHAN_KEPT_IMAGE_MAX 256u
static inline uint32_t chan_kept_place(uint64_t name)
{
	return (uint32_t)name & (CHAN_KEPT_PLACES - 1);
}

#define CHAN_TICKETS_AHEAD 64
#define CHAN_SEND_MAX	   (64u << 10) /* bytes of one send: the arena's largest block */
#define CHAN_UNREAD_MAX	   (1u << 20)  /* more than a link carries unread of one stream */

enum {
	CHAN_SEND_MORE = 1 << 0,   /* TCP: do not push a partial segment yet */
	CHAN_SEND_OOB = 1 << 1,	   /* TCP: the last byte is urgent */
	CHAN_SEND_COPIED = 1 << 2, /* from a copying call */
	CHAN_SEND_PART = 1 << 3,   /* datagram: further pieces follow */
	CHAN_SEND_FROM = 1 << 4,   /* datagram: from[] is valid */
	CHAN_SEND_IP = 1 << 5,	   /* datagram of SEND or SENDTO: loan has CHAN_IP_* */
};

/* What one datagram's header says that the socket's others don't. */
#define CHAN_IP_TTL	  (1u << 16) /* hop limit: in the lowest byte, 0 = the socket's */
#define CHAN_IP_TOS	  (1u << 17) /* traffic class: in the next one */
#define CHAN_IP_TTL_SHIFT 0
#define CHAN_IP_TOS_SHIFT 8

enum { CHAN_OPT_QUIET = 1 << 0 };

/* Of this source alone, and no more; of all but this, and of this again. */
enum chan_source {
	CHAN_SOURCE_JOIN = 1,
	CHAN_SOURCE_LEAVE,
	CHAN_SOURCE_BLOCK,
	CHAN_SOURCE_UNBLOCK,
};

enum { CHAN_DUMP_SOCKETS, CHAN_DUMP_COUNTERS, CHAN_DUMP_NEIGH, CHAN_DUMP_ROUTES, CHAN_DUMP_PORTS };

/* These alone; all but these. */
enum chan_filter { CHAN_FILTER_READ, CHAN_FILTER_INCLUDE, CHAN_FILTER_EXCLUDE };
#define CHAN_FILTER_MAX 64 /* sources of one */

/* An address that packets may come to, IPv4 mapped, and the interface that has it. */
struct chan_addr {
	uint8_t addr[16];
	uint8_t prefix_len; /* of 128 */
	uint8_t ifindex;    /* the stack's: below CHAN_IFS_MAX, see kernel_if */
	uint8_t mac[6];
	uint16_t mtu;
	uint8_t flags; /* CHAN_ADDR_* */
	uint8_t pad[5];
};
_Static_assert(sizeof(struct chan_addr) == 32, "no holes");

/* Nothing can be bound to it yet: it is still to be seen whether another host has it. */
enum { CHAN_ADDR_TENTATIVE = 1 << 0 };

/* SOL_ZSTACK and what is there, as <zstack/zstack.h> numbers it. */
enum { CHAN_OPT_LEVEL = 0x5a53, CHAN_OPT_SAME_NODE = 1 };
/* No option: under this name a client remembers a SOURCE. */
enum { CHAN_OPT_SOURCE = 0x100 };

/* There is a default route of this family. */
enum { CHAN_ROUTE_V4 = 1 << 0, CHAN_ROUTE_V6 = 1 << 1 };

#define CHAN_DATA_MAX 32

struct chan_sqe {
	uint16_t port; /* host order; with flags and op the first word, chan_first() */
	uint8_t flags; /* CHAN_SEND_*, CHAN_OPT_* */
	uint8_t op;    /* enum chan_op */
	uint32_t sid;
	uint32_t ticket; /* of the socket, from 0: order of execution (DESIGN §3.10) */
	uint32_t len;
	uint64_t off;	/* in the arena; SEND, SENDTO: upper half 0, or whose */
	uint32_t token; /* sends: below the number of tokens; commands: echoed in the result */
	uint32_t loan;
	union {
		struct {
			uint8_t addr[16]; /* IPv4 mapped */
			uint32_t scope;	  /* of a link-local address: interface, from 1; 0 = any */
			/* The last bytes of the own address to send from: no two own
			 * addresses have the same. */
			uint8_t from[12];
		};
		int32_t arg[8];
		uint8_t data[CHAN_DATA_MAX];
		struct { /* SETOPT, GETOPT */
			int16_t level, name;
			uint8_t value[28];
		} opt;
	};
};
_Static_assert(sizeof(struct chan_sqe) == 64, "one cache line");

/* ---- events ----
 *
 * A socket's events come in this order: the result of CONNECT, then DATA in stream order, then FIN,
 * then a fatal ERROR (data that came before a reset stays readable). Every DATA and DGRAM lends one
 * buffer; the client returns each in ret, in any order, whether read or not: that opens the receive
 * window. */
enum chan_ev {
	/* Of a command: token (in loan), res, aux, sid, addr or data. */
	CHAN_EV_RESULT = 1,
	/* TCP: res = payload length (> 0) at region:off, loan. CHAN_CQ_FIN: the stream ends behind
	 * these bytes, and no FIN event comes. */
	CHAN_EV_DATA,
	/* UDP: as DATA (res = 0: no loan); addr, port of the sender, laddr = destination, aux =
	 * CHAN_DGRAM_AUX. CHAN_CQ_MORE: the next piece of the same datagram follows at once. */
	CHAN_EV_DGRAM,
	/* sid = listener, aux = new socket, res = its send limit, addr, port = peer, laddr, lport =
	 * local. At most backlog of them stand announced and not yet taken (CHAN_OP_RCVBUF_MORE);
	 * the rest wait in the stack. So the client tells at the latest when it has none left. */
	CHAN_EV_ACCEPT,
	/* End of stream after all DATA. */
	CHAN_EV_FIN,
	/* res = -errno: pending socket error. CHAN_CQ_FATAL: the connection is gone, nothing
	 * follows. Not sent for a CONNECT that fails: its result says it. CHAN_CQ_QUEUED (with
	 * IP_RECVERR; TCP: while it connects): it is about what was sent to addr, port; laddr says so; aux =
	 * CHAN_ERROR_AUX, off = the MTU, or a pointer; CHAN_CQ_MORE: a QUOTE of the datagram's
	 * payload follows at once. */
	CHAN_EV_ERROR,
	/* aux = the send limit changed to so many bytes. */
	CHAN_EV_WRITABLE,
	/* aux = offset of the urgent byte from the first byte not yet announced by DATA. The byte
	 * stands in the stream; without SO_OOBINLINE the client takes it out. */
	CHAN_EV_URG,
	/* A shared socket, of which READ or ACCEPT said that there is no more: it is worth asking
	 * again. */
	CHAN_EV_READABLE,
	/* The socket is shared no more: what is unread is pushed from here on. */
	CHAN_EV_SOLE,
	/* A shared connection that nobody else reads: from here on DATA is pushed, and to be taken
	 * by the word of struct chan_shared that off names, which has this value now. READ is asked
	 * after READABLE only. off = 0: this is over; the loans that were not taken are given back
	 * unread; aux = 1: it is worth asking. */
	CHAN_EV_LEASE,
	/* The other end belongs to a program at the other side of link aux. */
	CHAN_EV_LINK_OFFER,
	/* The other end receives over link aux, where the stream is called as the lower and upper
	 * half of off say; res = the link's cut. */
	CHAN_EV_LINK_TX,
	/* In the stream's order: what follows comes over link aux, 0: by DATA. */
	CHAN_EV_LINK_RX,
	/* Behind an ERROR: res bytes in data. CHAN_CQ_MORE: and another. */
	CHAN_EV_QUOTE,
};

/* DGRAM's aux: index of the interface, TTL and TOS of the first fragment. */
#define CHAN_DGRAM_AUX(ifindex, ttl, tos)                                                          \
	((uint32_t)(ifindex) | (uint32_t)(ttl) << 16 | (uint32_t)(tos) << 24)

/* An ERROR's: who says so (SO_EE_ORIGIN_*), ICMP's type and code, TTL of the message. */
#define CHAN_ERROR_AUX(origin, type, code, ttl)                                                    \
	((uint32_t)(origin) | (uint32_t)(type) << 8 | (uint32_t)(code) << 16 |                     \
	 (uint32_t)(ttl) << 24)

enum {
	CHAN_CQ_FIN = 1 << 0,
	CHAN_CQ_MORE = 1 << 1,
	CHAN_CQ_FATAL = 1 << 2,
	CHAN_CQ_QUEUED = 1 << 3,
	CHAN_CQ_COPY = 1 << 4, /* what it is of waits on in the stack */
};

struct chan_cqe {
	uint16_t port; /* with flags and ev the first word, chan_first() */
	uint8_t flags;
	uint8_t ev; /* enum chan_ev */
	uint32_t sid;
	int32_t res;
	uint32_t aux;
	uint64_t off;
	uint16_t region;
	uint16_t lport;
	uint32_t loan; /* DATA, DGRAM */
	union {
		struct {
			uint8_t addr[16];  /* peer */
			uint8_t laddr[16]; /* local */
		};
		uint8_t data[CHAN_DATA_MAX];
	};
	/* RESULT: token is in loan */
};
_Static_assert(sizeof(struct chan_cqe) == 64, "one cache line");

/* Connections that may stand at a listener. As Linux, which cuts at net.core.somaxconn: negative is
 * as much as is usual there, 0 still takes one. */
#define CHAN_BACKLOG_USUAL 4096u
#define CHAN_BACKLOG_MAX   65535u
static inline uint32_t chan_backlog(int32_t asked)
{
	if (asked < 0)
		return CHAN_BACKLOG_USUAL;
	if (asked == 0)
		return 1;
	return (uint32_t)asked < CHAN_BACKLOG_MAX ? (uint32_t)asked : CHAN_BACKLOG_MAX;
}

/* Of an entry of sq or cq; what: op or ev. */
static inline uint32_t chan_first(uint8_t what, uint8_t flags, uint16_t port)
{
	return (uint32_t)what << 24 | (uint32_t)flags << 16 | port;
}

/* ---- layout ---- */

#define CHAN_IFS_MAX 32 /* interfaces of a stack */

/* Written by the service at creation, read-only afterwards. */
struct chan_hdr {
	uint32_t magic, version;
	uint32_t sq_size, cq_size, ret_size, done_size; /* entries, powers of two */
	uint32_t max_loans, max_tokens, max_sockets, pad;
	uint64_t sq_off, cq_off, ret_off, done_off, idx_off, total_bytes;
	uint64_t arena_bytes;
	uint64_t scratch_off;
	/* What programs call each interface of the stack's, in whatever the kernel's sockets have an
	 * index: the kernel's own of what its port stands on, or of what the kernel has beside it
	 * (--share); where there is neither, as of a VLAN, and before an interface is made,
	 * CHAN_IF_OWN and its number. 0: not known. */
	uint32_t kernel_if[CHAN_IFS_MAX];
	/* The service's network namespace (netns_id()): in another one the kernel's indices mean
	 * other interfaces. 0: not known. */
	uint64_t netns;
};

/* The kernel counts from 1, and gets that far in no lifetime. */
#define CHAN_IF_OWN 0x5a530000u
static inline bool chan_if_is_own(uint32_t index)
{
	return index - CHAN_IF_OWN < CHAN_IFS_MAX;
}

/* Beside the rings, for answers that are too long for an event: the one place but the rings where
 * the stack writes. The arena it only reads, so that an arena can be handed from one service to the
 * next with all writable mappings but the application's own forbidden. */
#define CHAN_SCRATCH_BYTES (64u << 10)

/* Doorbells: the sleeper sets `armed` (bell.h), checks its rings again, sleeps on its descriptor;
 * the other side, after producing, exchanges it for 0 and writes the descriptor if it was 1. */
struct chan_bells {
	_Alignas(64) _Atomic uint32_t app_armed;
	_Alignas(64) _Atomic uint32_t stack_armed;
};

/* Leases (src/sock/sock_lease.c): what of a shared stream the application takes, bytes since the
 * LEASE event. It adds to the word by compare-and-swap before it reads them; when it finds CUT, or
 * another name, nothing more is to be taken. LEFT: it ends the lease itself, has forgotten all
 * loans of it that it has not taken to their end, and forgets those that it is still told of. */
#define CHAN_LEASES	 64
#define CHAN_LEASE_CUT	 (1ull << 63) /* by the stack */
#define CHAN_LEASE_LEFT	 (1ull << 62) /* by the application */
#define CHAN_LEASE_TAKEN ((1ull << 48) - 1)
static inline uint64_t chan_lease_name(unsigned number, uint8_t generation)
{
	return (uint64_t)number << 56 | (uint64_t)generation << 48;
}
static inline unsigned chan_lease_number(uint64_t word)
{
	return word >> 56 & (CHAN_LEASES - 1);
}
static inline bool chan_lease_same(uint64_t a, uint64_t b)
{
	return ((a ^ b) & ~(CHAN_LEASE_CUT | CHAN_LEASE_LEFT | CHAN_LEASE_TAKEN)) == 0;
}

/* Where the sockets of an unmodified program went, for people to look at (docs/design/011, 'zstack
 * apps'). Only the program writes it; what stands there is believed of that program alone. */
enum chan_told {
	/* ours, because: */
	TOLD_TAKEN,	     /* the address, or its subnet, is the stack's */
	TOLD_TAKEN_RULE,     /* a rule said so */
	TOLD_TAKEN_LOOPBACK, /* a program of the service listens there */
	TOLD_ACCEPTED,	     /* it came to a listener of ours */
	/* ours and the kernel's: bound to the wildcard address, or to loopback */
	TOLD_BOTH,
	TOLD_BOTH_LOOPBACK,
	/* the kernel's, because: */
	TOLD_LOOPBACK,
	TOLD_RULE,
	TOLD_NOT_SUBNET,      /* connected to what is on no subnet of the stack's */
	TOLD_NOT_ADDRESS,     /* bound to what is no address of the stack's */
	TOLD_UNIX,	      /* AF_UNIX */
	TOLD_OTHER_KIND,      /* netlink, raw, … */
	TOLD_KERNEL_ACCEPTED, /* it came to the kernel's side of a listener that is both */
	/* nobody's, because: */
	TOLD_NO_STACK, /* the service is not there */
	TOLD_NO_ROOM,  /* of sockets, or memory */
	TOLD_MAX,
};
#define CHAN_TOLD_PLACES 16
_Static_assert(TOLD_MAX <= CHAN_TOLD_PLACES, "there is room for each");

struct chan_tally {
	_Alignas(64) _Atomic uint64_t n[CHAN_TOLD_PLACES]; /* by enum chan_told */
};

struct chan_shared {
	struct chan_idx sq, cq, ret, done;
	struct chan_bells bells;
	_Alignas(64) _Atomic uint64_t lease[CHAN_LEASES];
	struct chan_tally told;
};

/* Where one side has the memory mapped. */
struct chan_map {
	void *base;  /* chan_hdr at its start */
	void *arena; /* writable for the application */
	uint64_t arena_bytes;
	struct {
		const void *base;
		uint64_t bytes;
	} region[CHAN_REGION_MAX]; /* [0] is the arena */
	int app_bell_fd;	   /* eventfd the application sleeps on */
	int stack_bell_fd;	   /* eventfd the stack sleeps on */
};

struct chan_geometry {
	uint32_t sq_size, cq_size, ret_size, done_size, max_loans, max_tokens, max_sockets;
	uint64_t arena_bytes;
};

/* Largest ring: keeps every sum of 32-bit indices and sizes far from overflow. */
#define CHAN_RING_MAX (1u << 22)

void chan_geometry_defaults(struct chan_geometry *g);
/* -EINVAL: a ring that is no power of two or out of range, fewer places in ret or done than names
 * that may be in them, more names than their bits can carry, an arena not of whole 64 KiB spans. */
int chan_geometry_check(const struct chan_geometry *g);
/* Length of the rings region, whole pages. The geometry was checked. */
uint64_t chan_bytes(const struct chan_geometry *g);
/* Service: writes header and empties the rings in base (chan_bytes long, zeroed, 64-aligned). The
 * kernel_if and netns are the caller's to write. */
void chan_format(void *base, const struct chan_geometry *g);
/* Both sides: copies the header once, checks the copy against the mapping's size; -EPROTO,
 * -EPROTONOSUPPORT (version). Afterwards only the copy is used. */
int chan_check(const void *base, uint64_t bytes, struct chan_hdr *copy);

/* One side of the channel. */
struct chan_end {
	struct chan_ring sq, cq, ret, done;
	struct chan_shared *sh;
	uint8_t *scratch;    /* CHAN_SCRATCH_BYTES; one command at a time */
	struct chan_hdr hdr; /* private copy */
};
/* Where the application's counts are, as the service has the channel mapped. */
static inline const struct chan_tally *chan_told_of(const struct chan_map *m,
						    const struct chan_hdr *hdr)
{
	return &((const struct chan_shared *)((const char *)m->base + hdr->idx_off))->told;
}
/* One side takes its place, once, before the other moves: hdr is what chan_check() accepted. */
void chan_attach(struct chan_end *e, const struct chan_map *m, const struct chan_hdr *hdr);

/* Where len bytes at off of a region lie in this process; NULL when any of the three is wrong. They
 * come from the other side, so the comparison must not overflow: off is compared before it is used.
 */
static inline const void *chan_at(const struct chan_map *m, uint32_t region, uint64_t off,
				  uint32_t len)
{
	if (region >= CHAN_REGION_MAX || m->region[region].base == NULL)
		return NULL;
	uint64_t bytes = m->region[region].bytes;

	if (off > bytes || len > bytes - off)
		return NULL;
	return (const char *)m->region[region].base + off;
}

#endif
