/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The channel between one application and one stack core: shared memory with four single-producer
 * single-consumer rings. The same layout in one process and between two. Everything is an offset; each
 * side reads what the other can write once, validates the copy, then uses it (H32).
 *
 *	sq    application → stack   commands, 64 bytes
 *	cq    stack → application   events and results, 64 bytes; a socket that finds it full waits on a
 *	                            list inside the stack and holds one place there, so it can't overflow
 *	ret   application → stack   received buffers given back: 4-byte loans
 *	done  stack → application   sent buffers given back: 4-byte tokens; as large as the number of
 *	                            tokens, so it can't overflow
 *
 *	┌ header ┬ indices (one cache line each) ┬ sq ┬ cq ┬ ret ┬ done ┐   rings region
 *	┌ application's payload arena ──────────────────────────────────┐   arena region
 */
#ifndef ZS_CHAN_CHAN_H
#define ZS_CHAN_CHAN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CHAN_MAGIC   0x4b54535aU /* "ZSTK" */
#define CHAN_VERSION 1

/* ---- names ---- */

/* A socket: index into the application's table in the service, and a generation. 0 is never valid. */
#define SID_INDEX_BITS 21
static inline uint32_t sid_index(uint32_t sid)
{
	return sid & ((1u << SID_INDEX_BITS) - 1);
}

/* A received buffer lent to the application: index into its loan table, and a generation (H33). */
#define LOAN_INDEX_BITS 20
#define LOAN_NONE       0u
static inline uint32_t loan_index(uint32_t loan)
{
	return loan & ((1u << LOAN_INDEX_BITS) - 1);
}

/* Regions a handle can name. */
enum chan_region {
	CHAN_REGION_ARENA = 0, /* the application's own payload memory */
	CHAN_REGION_PKT = 1,   /* 1 + pool index: packet regions of the domain, read-only */
	CHAN_REGION_MAX = 16,
};

/* ---- commands ---- */
enum chan_op {
	CHAN_OP_NOP,
	CHAN_OP_SOCKET,   /* domain, type, proto in arg[0..2]; result: sid */
	CHAN_OP_BIND,     /* addr, port; result 0 or -errno; aux gets the port */
	CHAN_OP_LISTEN,   /* arg[0] = backlog */
	CHAN_OP_CONNECT,  /* addr, port; result when established or refused (TCP), at once (UDP) */
	CHAN_OP_SEND,     /* off, len in the arena, token; flags CHAN_SEND_*. No result unless it fails: then
			   * the token comes back in done and the socket's ERROR event says why */
	CHAN_OP_SEND_LOAN,/* loan + (off,len relative to the lent bytes): send what was received; token as for
			   * SEND, given back when sent. The loan itself stays held until returned in ret */
	CHAN_OP_SENDTO,   /* as SEND, addr and port given: one datagram; CHAN_SEND_PART = more pieces follow */
	CHAN_OP_SHUTDOWN, /* arg[0] = SHUT_RD, SHUT_WR, SHUT_RDWR */
	CHAN_OP_CLOSE,    /* arg[0] = linger: -1 default, 0 reset, else seconds; result when done */
	CHAN_OP_SETOPT,   /* arg[0] = level, arg[1] = name, value in data[] (len bytes) */
	CHAN_OP_GETOPT,   /* result carries up to CHAN_DATA_MAX bytes; TCP_INFO in the arena at off */
	CHAN_OP_NAME,     /* arg[0] = 0 local, 1 peer: result has addr, port */
	CHAN_OP_RCVBUF_MORE, /* socket's reader consumed: arg[0] bytes (window and autotuning hint) */
	CHAN_OP_DUMP,     /* text dump into the arena at off, len: arg[0] = what (CHAN_DUMP_*), arg[1] cursor;
			   * result: bytes written; aux = next cursor, 0 at the end */
	CHAN_OP_MAX,
};

enum {
	CHAN_SEND_MORE = 1 << 0,
	CHAN_SEND_OOB = 1 << 1,
	CHAN_SEND_COPIED = 1 << 2, /* from a copying call */
	CHAN_SEND_PART = 1 << 3,   /* datagram: further pieces follow */
};

enum { CHAN_DUMP_SOCKETS, CHAN_DUMP_COUNTERS, CHAN_DUMP_NEIGH, CHAN_DUMP_ROUTES, CHAN_DUMP_PORTS };

#define CHAN_DATA_MAX 32

struct chan_sqe {
	uint8_t op;    /* enum chan_op */
	uint8_t flags; /* CHAN_SEND_* */
	uint16_t port; /* host order */
	uint32_t sid;
	uint32_t ticket; /* of the socket; order of execution (DESIGN §3.10) */
	uint32_t len;
	uint64_t off;   /* in the arena */
	uint32_t token; /* sends: below the number of tokens; commands: echoed in the result */
	uint32_t loan;
	union {
		struct {
			uint8_t addr[16]; /* IPv4 mapped */
			uint32_t scope;
			uint32_t pad[3];
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

/* ---- events ---- */
enum chan_ev {
	CHAN_EV_RESULT = 1, /* of a command: token, res, aux, addr/data */
	CHAN_EV_DATA,       /* TCP: res = payload length at region:off, loan; FIN may follow in flags */
	CHAN_EV_DGRAM,      /* UDP: as DATA, with the sender's addr and port; CHAN_CQ_MORE: next piece follows */
	CHAN_EV_ACCEPT,     /* sid = listener, aux = new socket, addr, port = peer; local address in data2 */
	CHAN_EV_FIN,        /* end of stream after all DATA */
	CHAN_EV_CONNECTED,  /* active open is established (result of CONNECT comes too) */
	CHAN_EV_ERROR,      /* res = -errno: pending socket error; CHAN_CQ_FATAL: the connection is gone */
	CHAN_EV_WRITABLE,   /* aux = bytes of send buffer limit (it grew) */
	CHAN_EV_URG,        /* aux = offset of the urgent byte from the first byte not yet announced */
	CHAN_EV_CLOSED,     /* the service forgot the socket: sid may be reused */
};

enum {
	CHAN_CQ_FIN = 1 << 0,
	CHAN_CQ_MORE = 1 << 1,
	CHAN_CQ_FATAL = 1 << 2,
	CHAN_CQ_OOB = 1 << 3,
};

struct chan_cqe {
	uint8_t ev; /* enum chan_ev */
	uint8_t flags;
	uint16_t port;
	uint32_t sid;
	int32_t res;
	uint32_t aux;
	uint64_t off;
	uint16_t region;
	uint16_t lport;
	uint32_t loan;  /* DATA, DGRAM */
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

/* ---- layout ---- */

/* Written by the service at creation, read-only afterwards. */
struct chan_hdr {
	uint32_t magic, version;
	uint32_t sq_size, cq_size, ret_size, done_size; /* entries, powers of two */
	uint32_t max_loans, max_tokens, max_sockets, pad;
	uint64_t sq_off, cq_off, ret_off, done_off, idx_off, total_bytes;
	uint64_t arena_bytes;
};

/* One ring's two indices, each on a line of its own: free-running. */
struct chan_idx {
	_Alignas(64) _Atomic uint32_t tail; /* written by the producer */
	_Alignas(64) _Atomic uint32_t head; /* written by the consumer */
};

/* Doorbells: the sleeper sets `armed` to 1, checks its rings again, sleeps on its descriptor; the
 * other side, after producing, exchanges it for 0 and writes the descriptor if it was 1. */
struct chan_bells {
	_Alignas(64) _Atomic uint32_t app_armed;
	_Alignas(64) _Atomic uint32_t stack_armed;
};

struct chan_shared {
	struct chan_idx sq, cq, ret, done;
	struct chan_bells bells;
};

/* A side's private view of a ring: cached index of the other, own index, checked geometry. */
struct chan_ring {
	struct chan_idx *idx;
	void *slots;
	uint32_t mask;
	uint32_t own;   /* my free-running index, the truth (never read back from shared memory) */
	uint32_t other; /* last valid index read of the other side */
	uint64_t bad;   /* times the other side's index was impossible */
};

/* Where one side has the memory mapped. */
struct chan_map {
	void *base;          /* chan_hdr at its start */
	void *arena;         /* writable for the application */
	uint64_t arena_bytes;
	struct {
		const void *base;
		uint64_t bytes;
	} region[CHAN_REGION_MAX]; /* [0] is the arena */
	int app_bell_fd;     /* eventfd the application sleeps on */
	int stack_bell_fd;   /* eventfd the stack sleeps on */
};

struct chan_geometry {
	uint32_t sq_size, cq_size, ret_size, done_size, max_loans, max_tokens, max_sockets;
	uint64_t arena_bytes;
};

/* Largest ring: keeps every sum of 32-bit indices and sizes far from overflow. */
#define CHAN_RING_MAX (1u << 22)

void chan_geometry_defaults(struct chan_geometry *g);
/* -EINVAL: a ring that is no power of two or out of range, fewer places in ret or done than names that
 * may be in them, more names than their bits can carry, an arena not of whole 64 KiB spans. */
int chan_geometry_check(const struct chan_geometry *g);
/* Length of the rings region, whole pages. The geometry was checked. */
uint64_t chan_bytes(const struct chan_geometry *g);
/* Service: writes header and empties the rings in base (chan_bytes long, zeroed, 64-aligned). */
void chan_format(void *base, const struct chan_geometry *g);
/* Both sides: copies the header once, checks the copy against the mapping's size; -EPROTO,
 * -EPROTONOSUPPORT (version). Afterwards only the copy is used. */
int chan_check(const void *base, uint64_t bytes, struct chan_hdr *copy);

/* One side of the channel. */
struct chan_end {
	struct chan_ring sq, cq, ret, done;
	struct chan_shared *sh;
	struct chan_hdr hdr; /* private copy */
};
/* One side takes its place, once, before the other moves: hdr is what chan_check() accepted. */
void chan_attach(struct chan_end *e, const struct chan_map *m, const struct chan_hdr *hdr);

/* Where len bytes at off of a region lie in this process; NULL when any of the three is wrong. They
 * come from the other side, so the comparison must not overflow: off is compared before it is used. */
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

/* The rings' arithmetic. For both sides other and own are private and always at most size apart (modulo
 * 2^32); an index from shared memory is loaded once and accepted only if it keeps that true and
 * does not go backwards. So neither function ever returns more than the ring's size, whatever the
 * other side writes; a liar's index counts in `bad` and the ring stands still. For the same reason no
 * side may *assert* that ret or done has room: they do by their size, unless the other side lies. */

/* Producer: how many free slots (reads the other's index only when short). */
static inline uint32_t chan_free(struct chan_ring *r, uint32_t want)
{
	uint32_t used = r->own - r->other;

	if (r->mask + 1 - used >= want)
		return r->mask + 1 - used;
	uint32_t head = atomic_load_explicit(&r->idx->head, memory_order_acquire);

	/* Valid only if it lies between what we knew and what we produced. */
	if (r->own - head <= r->own - r->other)
		r->other = head;
	else
		r->bad++;
	return r->mask + 1 - (r->own - r->other);
}

static inline void *chan_slot(const struct chan_ring *r, uint32_t i, uint32_t size)
{
	return (char *)r->slots + (uint64_t)(i & r->mask) * size;
}

/* Consumer: one entry out of shared memory, once. The barrier forbids the compiler to read the slot
 * again when it uses the copy: the other side may have changed it after the check (H32). */
static inline void chan_copy(void *copy, const void *slot, uint32_t size)
{
	__builtin_memcpy(copy, slot, size);
	__asm__ volatile("" ::: "memory");
}

/* Producer: makes n filled slots visible. */
static inline void chan_push(struct chan_ring *r, uint32_t n)
{
	r->own += n;
	atomic_store_explicit(&r->idx->tail, r->own, memory_order_release);
}

/* Consumer: how many slots are filled, at least; 0 only after a look at the producer's index. */
static inline uint32_t chan_ready(struct chan_ring *r)
{
	uint32_t n = r->other - r->own;

	if (n != 0)
		return n;
	uint32_t tail = atomic_load_explicit(&r->idx->tail, memory_order_acquire);

	if (tail - r->own <= r->mask + 1)
		r->other = tail;
	else
		r->bad++;
	return r->other - r->own;
}

static inline void chan_pop(struct chan_ring *r, uint32_t n)
{
	r->own += n;
	atomic_store_explicit(&r->idx->head, r->own, memory_order_release);
}

#endif
