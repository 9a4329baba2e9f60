"""Towards whom load may run, how much of it, and what to say where there is none; in sentences. Pure."""

from collections.abc import Container

from preflight import codes
from preflight.codes import Code
from preflight.model.load import FailedFlow
from preflight.model.peer import Peer
from preflight.model.remedy import Remedies, by_hand, look

MOST_PEERS = 3
"""With whom load runs in one run: more would be minutes of it, and the same uplink is what limits most of them."""
PROBE_SHARE = 1.2
"""How much more a UDP flow sends than TCP carried: what the path carries arrives, and the rest does not."""
LEAST_MBIT = 1.0
ALL_ARRIVED = 0.98


def left_out(peer: Peer, rank: int, *, metered: bool, keyed: bool, control: Container[str]) -> str | None:
    """Why no load runs with a peer; None if it may.

    rank: its place among the peers. keyed: this node has a key for its responder. control: the control plane's hosts.
    """
    if metered:
        return "the settings say that this node's traffic is metered (load.metered), so no load runs"
    if not keyed:
        return "this node has no shared key (responder.key_file), and responders take load only from those who have it"
    if peer.address in control:
        return f"{peer.target} has the control plane, and load never runs on the way to it"
    if rank >= MOST_PEERS:
        return f"load runs with {MOST_PEERS} peers in one run; name this one with --peer to have it run with this one"
    return None


def udp_mbit(tcp_mbit_s: float | None, most: float) -> float:
    """The rate of a UDP flow where TCP carried this much, megabits of payload a second."""
    return most if tcp_mbit_s is None else min(max(PROBE_SHARE * tcp_mbit_s, LEAST_MBIT), most)


def no_flow(peer: Peer, failed: FailedFlow) -> tuple[Code, str, Remedies]:
    """What is known, and what to do, where a flow did not run."""
    place = f"TCP port {peer.responder_port} of {peer.target}"
    if failed.why == "refused":
        fact = f"nothing listens on {place}, so its responder runs without --load"
        return codes.PERF_RESPONDER_LOAD_OFF, fact, _turn_on(peer)
    if failed.why == "silent":
        fact = f"nothing answers on {place} ({failed.detail}): no responder takes load there, or a filter drops it"
        shown = look(
            f"ss -lntp 'sport = :{peer.responder_port}'   # on {peer.target}: does its responder listen?",
            where="peer",
            host=peer.target,
            root=True,
        )
        return codes.PERF_RESPONDER_LOAD_OFF, fact, (*shown, *_turn_on(peer))
    if failed.why == "busy":
        fact = f"the responder of {peer.target} is busy with the load of another node; it takes one flow at a time"
        return codes.PERF_LOAD_REFUSED, fact, look("Run it again when the other run is over.")
    if failed.why == "spent":
        fact = f"the responder of {peer.target} has given away the bytes that it takes of load in an hour"
        more = "responder: {load_megabytes: 10000}   # in its settings, or wait; the budget refills all the time"
        return codes.PERF_LOAD_REFUSED, fact, look(more, where="peer", host=peer.target)
    if failed.why == "key":
        fact = f"what listens on {place} ended the talk when it saw this node's request: its key is another one"
        return codes.RUN_NEEDS_CREDENTIALS, fact, look("Give both nodes the same key (responder.key_file).")
    words = failed.detail or "no reason is known"
    return codes.RUN_NO_ANSWER, f"the {failed.kind} flow with {peer.target} gave no number: {words}", ()


def _turn_on(peer: Peer) -> Remedies:
    line = f"preflight responder --load   # on {peer.target}; or `responder: {{load: true}}` in its settings"
    return by_hand(line, where="peer", host=peer.target)
