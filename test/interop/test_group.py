#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Groups behind a switch that snoops: a Linux bridge forwards a group only to ports that reported it."""
import time

import peer
from peer import LINUX4, LINUX6, ZS4, ZS6, Net, Program, case, check, sh

peer.start()
net = Net()
SWITCH = "switch0"
# Memberships run out after 4 s unless each of the switch's questions, one a second, is answered.
sh(f"ip link add {SWITCH} type bridge mcast_snooping 1 mcast_querier 1 mcast_query_interval 100"
   " mcast_query_response_interval 50 mcast_membership_interval 400 mcast_startup_query_interval 100"
   " mcast_mld_version 2 mcast_igmp_version 3"
   f" && ip addr flush dev {net.dev} && ip link set {net.dev} master {SWITCH} && ip link set {SWITCH} up"
   f" && ip addr add {LINUX4}/24 dev {SWITCH} && ip addr add {LINUX6}/64 dev {SWITCH} nodad")
server = Program(net, "udp_echo", "7")
SOLICITED = "ff02::1:ff00:2"


def members():
    return sh(f"bridge mdb show dev {SWITCH}")


def await_member(group, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if f"port {net.dev} grp {group} " in members():
            return
        time.sleep(0.1)
    check(False, f"{group} is not in: {members()}")


@case
def solicited_node_group_is_reported():
    """RFC 3810 §6.1: or no solicitation would come through the switch."""
    await_member(SOLICITED)


@case
def questions_of_the_switch_are_answered():
    """RFC 3810 §6.2: the membership outlives its time three times over."""
    for _ in range(12):
        time.sleep(1)
        check(f"grp {SOLICITED} " in members(), members())


@case
def neighbours_are_found_through_the_switch():
    for addr in (ZS4, ZS6):
        sh(f"ip neigh flush dev {SWITCH}")
        out = sh(f"ping -c3 -i0.05 -W2 {addr}", ok=False)
        check(" 0% packet loss" in out, out)


@case
def questions_of_the_first_version_are_answered():
    """RFC 3810 §8.2.1."""
    sh(f"ip link set {SWITCH} type bridge mcast_mld_version 1")
    time.sleep(6)
    await_member(SOLICITED)


@case
def program_ends_cleanly():
    check(server.stop() == 0, server.errors())


peer.run()
