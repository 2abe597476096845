/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All that is private to src/client:
 *
 *	state.h		what is remembered: sockets, channels, the service; begin here
 *	transport.h	start and end, the service, other processes
 *	waiting.h	how a thread waits
 *	channel.h	commands, events, sockets
 *	buffers.h	what is lent, allocated and in flight
 *	neighbours.h	streams to other programs of the node
 *	descriptors.h	numbers, and sets
 *	calls.h		what the calls have in common
 */
#ifndef ZS_CLIENT_CLIENT_PRIV_H
#define ZS_CLIENT_CLIENT_PRIV_H

#include "client/buffers.h"
#include "client/calls.h"
#include "client/channel.h"
#include "client/descriptors.h"
#include "client/neighbours.h"
#include "client/state.h"
#include "client/transport.h"
#include "client/waiting.h"

#endif
