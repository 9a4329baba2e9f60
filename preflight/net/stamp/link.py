"""The shell of a STAMP session-sender: one socket towards one peer."""

import socket
from dataclasses import replace

from preflight.model.event import Tell, silent
from preflight.model.path import StampStats
from preflight.net import udp
from preflight.net.drive import drive, hand_in
from preflight.proto.stamp.sender import SessionSender


def prepare(link: socket.socket) -> None:
    """Make a socket send with STAMP's TTL, and report by which interface an ICMP error came in."""
    udp.set_ttl(link, udp.FULL_TTL)
    udp.receive_local_address(link)


async def run_session(sender: SessionSender, link: socket.socket, tell: Tell = silent) -> None:
    """Run a whole session on a prepared socket; what has arrived when it ends counts, also if it is cancelled."""
    try:
        await drive(sender, link, tell)
    finally:
        hand_in(sender, link)


def session_stats(sender: SessionSender, link: socket.socket) -> StampStats:
    """What a session measured, its local address, and how many datagrams this node's own socket had no room for."""
    address, port = link.getsockname()[:2]
    stats = sender.stats()
    return replace(stats, drops=replace(stats.drops, here=udp.overflowed(link)), local=(address, port))
