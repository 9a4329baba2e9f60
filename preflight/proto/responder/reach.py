"""What an inquiry proves about each direction of a path; what nothing proves stays unknown."""

from enum import Enum

from preflight.model.host_port import bracketed, join_host_port
from preflight.model.path import AskResult, HelloReport
from preflight.model.peer import RESPONDER_PORT

HELLO_AFTER_S = 1.0
"""A hello that comes this long after this node's first packet left its sender after that packet had arrived or was
lost: no round trip is longer. An earlier hello may have crossed the packet."""


class Way(Enum):
    """The state of one direction."""

    OPEN = "open"
    DEAD = "dead"
    DROPPED_HERE = "dropped here"
    UNKNOWN = "unknown"


def forward_way(asked: AskResult) -> Way:
    """What reached the peer: by its own report, or because it sends to a port that it can only know from our packets.

    A responder whose receive queue overflowed has not seen all that reached its host.
    """
    report = asked.report
    if report is not None:
        if report.received or report.elsewhere or report.refused:
            return Way.OPEN
        return Way.UNKNOWN if report.overflowed else Way.DEAD
    if asked.on_interface:
        return Way.OPEN
    return forward_by_hello(asked.hello)


def forward_by_hello(hello: HelloReport | None) -> Way:
    """What reached the peer, by its hellos.

    A hello from before our first packet says nothing; nor does silence of a responder that had not yet started.
    """
    if hello is None or hello.after_s <= 0:
        return Way.UNKNOWN
    if hello.heard_since:
        return Way.OPEN
    certain = hello.listened_before and hello.after_s >= HELLO_AFTER_S and not hello.heard.overflowed
    return Way.DEAD if certain else Way.UNKNOWN


def reverse_way(asked: AskResult) -> Way:
    """What reached this node.

    Dead only when the peer says that it sent, or that its system refused to; dropped here only if packets came in and
    none reached the socket.
    """
    if asked.probes_received:
        return Way.OPEN
    if asked.on_interface and not asked.reached_socket:
        return Way.DROPPED_HERE
    if asked.report is not None and (asked.report.sent or asked.report.send_errors):
        return Way.DEAD
    return Way.OPEN if asked.hello is not None and asked.hello.after_s > 0 else Way.UNKNOWN


def start_responder(name: str, address: str, port: int, *, asker: str | None = None, keyed: bool = False) -> str:
    """The line to paste at the peer called `name`: a responder on its address that serves `asker`.

    keyed: this node signs its packets, and a responder with another key, or without one, would not help.
    """
    place = bracketed(address) if port == RESPONDER_PORT else join_host_port(address, port)
    allow = f" --allow {asker}" if asker else ""
    key, whose = (" --key-file KEY-FILE", ", with this node's key") if keyed else ("", "")
    return f"preflight responder --bind {place}{allow}{key}   # on {name}{whose}"


def who_floods(name: str, port: int) -> str:
    """The line to paste at the peer called `name` that shows who overloads its responder."""
    count = "awk '{print $5}' | sort | uniq -c | sort -n | tail"
    return f"tcpdump -ni any -Q in -c 1000 'udp dst port {port}' | {count}   # on {name}"
