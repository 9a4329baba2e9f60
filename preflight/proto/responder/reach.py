"""What an inquiry proves about each direction of a path; what nothing proves stays unknown."""

from enum import Enum

from preflight.model.fix import ResponderStart
from preflight.model.path import AskResult, HelloReport
from preflight.model.remedy import Remedies, by_hand, heal, look

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

    A responder whose receive queue overflowed has not seen all that reached its host. One whose probes come has read a
    request in its mailbox, and knows the port from there: what it sends shows nothing then, even if its report is late.
    """
    report = asked.report
    if report is not None:
        if report.received or report.elsewhere or report.refused:
            return Way.OPEN
        return Way.UNKNOWN if report.overflowed else Way.DEAD
    if asked.on_interface and not asked.probes_received:
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


def start_responder(
    name: str, address: str, port: int, *, asker: str | None = None, keyed: bool = False, certain: bool = False
) -> Remedies:
    """A responder on the address of the peer called `name`, which serves `asker`.

    keyed: this node signs its packets, and a responder with another key, or without one, would not help. certain:
    nothing else has the port and no filter is in the way, so that the responder will answer.
    """
    try:
        fix = ResponderStart(address=address, port=port, allow=asker)
    except ValueError:
        return ()
    if not keyed:
        there = heal(lambda: fix, where="peer", host=name)
        return there if certain else look(*fix.lines, where="peer", host=name, root=True)
    line = f"{fix.lines[0]} --key-file KEY-FILE   # on {name}, with this node's key"
    if certain:
        return by_hand(line, where="peer", host=name, root=True)
    return look(line, where="peer", host=name, root=True)


def start_or_key(name: str, address: str, port: int, *, asker: str | None, keyed: bool, certain: bool) -> Remedies:
    """The same where the port is silent: a responder that has a key does not answer a node without one."""
    start = start_responder(name, address, port, asker=asker, keyed=keyed, certain=certain)
    if keyed or certain:
        return start
    sentence = f"If a responder runs on {name} already, it may have a key: set responder.key_file here to a copy of it."
    return (*start, *look(sentence))


def look_at_filters(place: str, question: str = "", *, here: bool = False) -> Remedies:
    """The rules that may drop packets. place: as the comment names it; a peer's own name unless it is `here`."""
    line = f"nft list ruleset | grep -nE 'hook|drop|reject'   # {place if here else f'on {place}'}"
    if here:
        return look(line, root=True)
    return look(f"{line}: {question}", where="peer", host=place, root=True)


def look_from(name: str) -> Remedies:
    """The same check at the peer called `name`."""
    line = f"preflight run reach.udp   # on {name}, towards this node: its view shows the direction"
    return look(line, where="peer", host=name)


def give_key(name: str) -> Remedies:
    """This node's key for the responder of the peer called `name`."""
    sentence = f"Give the responder of {name} this node's key file: --key-file FILE or responder.key_file."
    return by_hand(sentence, where="peer", host=name)


def serve(name: str, asker: str) -> Remedies:
    """What a responder that answers nobody here may lack."""
    sentence = f"Let the responder of {name} serve this node: --allow {asker}, or the same key file on both."
    return look(sentence, where="peer", host=name)


def who_floods(name: str, port: int) -> Remedies:
    """What shows, at the peer called `name`, who overloads its responder."""
    count = "awk '{print $5}' | sort | uniq -c | sort -n | tail"
    line = f"tcpdump -ni any -Q in -c 1000 'udp dst port {port}' | {count}"
    return look(line, where="peer", host=name, root=True)
