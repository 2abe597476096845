/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Why a packet was dropped: the reason, the name of its counter and its sentence stand in one
 * table. Every discarded packet has exactly one reason (DESIGN §3.13).
 */
#ifndef ZS_PKT_DROP_H
#define ZS_PKT_DROP_H

#include <stdint.h>

/* X(symbol, counter name, sentence). Add a row: nothing else is to be changed. */
#define DROP_REASONS(X)                                                                            \
	X(NONE, "none", "not dropped")                                                             \
	X(ETH_SHORT, "eth_short", "frame shorter than an Ethernet header")                         \
	X(ETH_NOT_OURS, "eth_not_ours",                                                            \
	  "destination MAC is neither ours nor a group we listen to")                              \
	X(ETH_TYPE, "eth_type", "EtherType that no protocol here takes")                           \
	X(ETH_VLAN, "eth_vlan", "VLAN tag that this port does not have")                           \
	X(ETH_TRUNCATED, "eth_truncated",                                                          \
	  "frame was cut by the port: peer sends larger than its buffers")                         \
	X(ARP_BAD, "arp_bad", "malformed ARP")                                                     \
	X(ARP_NOT_OURS, "arp_not_ours", "ARP for somebody else")                                   \
	X(ND_BAD, "nd_bad", "malformed neighbour discovery message")                               \
	X(ND_NOT_OURS, "nd_not_ours", "neighbour discovery for somebody else")                     \
	X(REDIRECT, "redirect", "redirect by a router: not followed, routes are configured")       \
	X(EVENT_FULL, "event_full", "more news of routers than the stack took note of")            \
	X(NEIGH_TABLE_FULL, "neigh_table_full", "neighbour table full")                            \
	X(NEIGH_QUEUE_FULL, "neigh_queue_full", "too many packets wait for one neighbour")         \
	X(NEIGH_UNREACHABLE, "neigh_unreachable", "neighbour does not answer")                     \
	X(IP_SHORT, "ip_short", "shorter than its IP header says")                                 \
	X(IP_VERSION, "ip_version", "IP version does not match the EtherType")                     \
	X(IP_HDR_LEN, "ip_hdr_len", "bad IP header length")                                        \
	X(IP_CSUM, "ip_csum", "bad IPv4 header checksum")                                          \
	X(IP_OPTIONS, "ip_options", "bad or refused IP options")                                   \
	X(IP_SOURCE, "ip_source", "source address that no host may send from")                     \
	X(IP_NOT_OURS, "ip_not_ours", "destination address is not ours")                           \
	X(IP_PROTO, "ip_proto", "upper protocol that nobody here takes")                           \
	X(IP_EXT_HDR, "ip_ext_hdr", "malformed, repeated or too many IPv6 extension headers")      \
	X(IP_NO_ROUTE, "ip_no_route", "no route to the destination")                               \
	X(IP_NO_SOURCE, "ip_no_source", "no address of ours to send from")                         \
	X(IP_TOO_BIG, "ip_too_big", "larger than the path MTU and may not be fragmented")          \
	X(FRAG_BAD, "frag_bad", "malformed fragment")                                              \
	X(FRAG_OVERLAP, "frag_overlap", "overlapping fragments: the datagram is discarded")        \
	X(FRAG_LIMIT, "frag_limit", "too many fragments or datagrams in reassembly")               \
	X(FRAG_TIMEOUT, "frag_timeout", "reassembly timed out")                                    \
	X(ICMP_SHORT, "icmp_short", "ICMP message too short")                                      \
	X(ICMP_CSUM, "icmp_csum", "bad ICMP checksum")                                             \
	X(ICMP_TYPE, "icmp_type", "ICMP type that is not answered")                                \
	X(ICMP_RATE, "icmp_rate", "ICMP rate limit")                                               \
	X(GROUP_BAD, "group_bad", "malformed IGMP or MLD message")                                 \
	X(GROUP_NOT_OURS, "group_not_ours", "IGMP or MLD message that is for routers")             \
	X(ICMP_UNMATCHED, "icmp_unmatched", "ICMP error that matches no flow of ours")             \
	X(UDP_SHORT, "udp_short", "UDP length wrong")                                              \
	X(UDP_CSUM, "udp_csum", "bad UDP checksum")                                                \
	X(UDP_NO_PORT, "udp_no_port", "no UDP socket at that port")                                \
	X(UDP_QUEUE_FULL, "udp_queue_full", "UDP socket's receive buffer is full")                 \
	X(TCP_SHORT, "tcp_short", "shorter than its TCP header says")                              \
	X(TCP_CSUM, "tcp_csum", "bad TCP checksum")                                                \
	X(TCP_BAD_OPT, "tcp_bad_opt", "malformed TCP options")                                     \
	X(TCP_BAD_FLAGS, "tcp_bad_flags", "impossible combination of TCP flags")                   \
	X(TCP_NO_CONN, "tcp_no_conn", "no connection and no listener")                             \
	X(TCP_WINDOW, "tcp_window", "segment outside the receive window")                          \
	X(TCP_PAWS, "tcp_paws", "timestamp too old (PAWS)")                                        \
	X(TCP_BAD_ACK, "tcp_bad_ack", "acknowledges what was never sent")                          \
	X(TCP_NO_ACK, "tcp_no_ack", "segment without ACK in a synchronized state")                 \
	X(TCP_RST, "tcp_rst", "RST that was acted on")                                             \
	X(TCP_RST_BLIND, "tcp_rst_blind", "RST or SYN answered by a challenge ACK")                \
	X(TCP_DUP, "tcp_dup", "data that was already received")                                    \
	X(TCP_PURE_ACK, "tcp_pure_ack", "carried no data: consumed, not lost")                     \
	X(TCP_RCVQ_FULL, "tcp_rcvq_full", "receive buffer is full")                                \
	X(TCP_OOO_LIMIT, "tcp_ooo_limit", "out-of-order queue is full")                            \
	X(TCP_CLOSED, "tcp_closed", "data after the application closed")                           \
	X(TCP_SYN_LIMIT, "tcp_syn_limit", "SYN dropped: backlog full")                             \
	X(TCP_ACCEPT_FULL, "tcp_accept_full", "accept queue full")                                 \
	X(TCP_BAD_COOKIE, "tcp_bad_cookie", "ACK with an invalid SYN cookie")                      \
	X(NO_MBUF, "no_mbuf", "no buffer left")                                                    \
	X(NO_MEMORY, "no_memory", "no memory for a connection or record")                          \
	X(TX_FULL, "tx_full", "port did not take the packet")                                      \
	X(TX_DOWN, "tx_down", "port is down or gone")                                              \
	X(TX_LINEARIZE, "tx_linearize", "too large to linearize for this port")                    \
	X(KERNEL_FULL, "kernel_full",                                                              \
	  "the kernel's side of a shared port had its part of the time")                           \
	X(KERNEL_DOWN, "kernel_down", "the kernel's interface of a shared port is down or gone")   \
	X(WRONG_CORE_FULL, "wrong_core_full", "ring to the owning core is full")                   \
	X(SHUTDOWN, "shutdown", "stack is closing")

enum drop_reason {
#define X(sym, name, text) DROP_##sym,
	DROP_REASONS(X)
#undef X
		DROP_MAX
};

/* One per stack core: written by that core only, read by anyone. */
struct drop_counters {
	uint64_t n[DROP_MAX];
};

const char *drop_name(enum drop_reason r);
const char *drop_text(enum drop_reason r);

#endif
