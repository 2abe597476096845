/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Big-endian wire integers. Each is a one-member struct, so that a forgotten swap does not compile.
 * They have alignment 1: a wire struct can lie anywhere in a packet.
 */
#ifndef ZS_BASE_BE_H
#define ZS_BASE_BE_H

#include <stdint.h>

typedef struct {
	uint16_t v;
} __attribute__((packed)) be16_t;

typedef struct {
	uint32_t v;
} __attribute__((packed)) be32_t;

typedef struct {
	uint64_t v;
} __attribute__((packed)) be64_t;

static inline be16_t be16(uint16_t host)
{
	return (be16_t){__builtin_bswap16(host)};
}

static inline be32_t be32(uint32_t host)
{
	return (be32_t){__builtin_bswap32(host)};
}

static inline be64_t be64(uint64_t host)
{
	return (be64_t){__builtin_bswap64(host)};
}

static inline uint16_t be16_host(be16_t wire)
{
	return __builtin_bswap16(wire.v);
}

static inline uint32_t be32_host(be32_t wire)
{
	return __builtin_bswap32(wire.v);
}

static inline uint64_t be64_host(be64_t wire)
{
	return __builtin_bswap64(wire.v);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "Z-Stack runs on little-endian machines");

#endif
