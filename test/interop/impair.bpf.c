/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An unreliable link, for tc's clsact hook: each packet is lost, sent twice or sent late with a
 * probability in parts per 10,000, given when this file is compiled (-DLOSS=, -DTWICE=, -DLATE=).
 * Late means another class of the device's htb queue, which is slow; peer.py makes it. A copy is
 * marked, so that it is not copied again.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#define MARK	   0x5a53
#define LATE_CLASS 0x10020 /* htb class 1:20 */

static unsigned int (*random32)(void) = (void *)BPF_FUNC_get_prandom_u32;
static long (*clone_redirect)(struct __sk_buff *skb, unsigned int ifindex,
			      unsigned long long flags) = (void *)BPF_FUNC_clone_redirect;

static int hit(unsigned int parts)
{
	return random32() % 10000 < parts;
}

__attribute__((section("tc"), used)) int impair(struct __sk_buff *skb)
{
	if (hit(LOSS))
		return TC_ACT_SHOT;
	if (skb->mark != MARK && hit(TWICE)) {
		skb->mark = MARK;
		clone_redirect(skb, skb->ifindex, 0);
	}
	skb->priority = hit(LATE) ? LATE_CLASS : 0;
	return TC_ACT_OK;
}

__attribute__((section("license"), used)) char terms[] = "BSD";
