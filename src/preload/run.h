/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What `zstack run` tells libzstack-preload: environment variables, which the children of the
 * program have as well. Written by tools/run.c, read by src/preload.
 *
 *	LD_PRELOAD      the library, before what stood there
 *	ZSTACK_SOCKET   --service: where zstackd answers
 *	ZSTACK_CONFIG   --embedded: what zs_config_set() takes, "KEY=VALUE;KEY=VALUE"; there are a
 *	                vdev or a port in it, then, and mode=thread
 *	ZSTACK_ADDRS    the stack's addresses when the program was started, "ADDR/LEN ADDR/LEN":
 *	                without a service they tell what would be the kernel's with one
 *	ZSTACK_TOOL     the tool itself: `zstack relay` serves programs that can't load the library
 *	ZSTACK_RUN      the rest: "KEY[=VALUE];KEY[=VALUE]", in this order of the command line:
 *
 *		verbose         one line on standard error for each decision, see below
 *		no-loopback     loopback is the kernel's alone
 *		take=RULE       }  in the order in which they are to be tried:
 *		leave=RULE      }  the first one that fits decides; none fits: the default rules
 *		no-link=RULE    connections that go by no shared memory (docs/design/013); whose
 *		                they are it does not decide
 *
 * A RULE is made of words, with one blank between two of them:
 *
 *	[tcp|udp] [bind|connect] [ADDR[/LEN]][:PORT[-PORT]]     or    gateway
 *
 *	tcp, udp        only this protocol
 *	bind, connect   only what is bound to (so listens at), only what is connected or sent to
 *	ADDR            IPv4 or IPv6, the latter in brackets if :PORT follows: 10.0.0.0/8,
 *	                10.0.0.2:80, fd00::2, [fd00::/64]:8000-8010. For bind it is the own
 *	                address, for connect the peer's; without one every address fits
 *	PORT            decimal, 0 to 65535
 *	gateway         (take alone) what is connected to, and the stack reaches by a gateway only
 *
 * "take" alone with neither word takes all; so does "leave". Rules have been checked before they
 * get here: one that makes no sense is not guessed at, but skipped, and said if verbose.
 *
 * The lines of verbose, one write each, so that those of several processes do not mix:
 *
 *	zstack: PROGRAM[PID]: tcp listen 10.0.0.2:80 (fd 6): taken
 *	zstack: PROGRAM[PID]: tcp connect 127.0.0.1:6379 (fd 7): kernel: loopback
 *	zstack: PROGRAM[PID]: tcp connect 127.0.0.1:8081 (fd 8): taken: loopback to one of ours
 *	zstack: PROGRAM[PID]: PROTOCOL bind|listen|connect|send ADDR:PORT (fd N): both
 */
#ifndef ZS_PRELOAD_RUN_H
#define ZS_PRELOAD_RUN_H

#define RUN_ENV	       "ZSTACK_RUN"
#define RUN_ENV_ADDRS  "ZSTACK_ADDRS"
#define RUN_ENV_TOOL   "ZSTACK_TOOL"
#define RUN_ENV_SOCKET "ZSTACK_SOCKET"
#define RUN_ENV_CONFIG "ZSTACK_CONFIG"
#define RUN_LIBRARY    "libzstack-preload.so"
#define RUN_RULE_MAX   120 /* characters of a RULE */
#define RUN_RULES_MAX  256 /* rules */

#endif
