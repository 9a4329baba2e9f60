"""One verdict for a peer that is silent while its tunnel's data leaves: what is known of both ways. Pure."""

from collections.abc import Iterable, Sequence
from typing import Final

from preflight.model.remedy import Remedies, look
from preflight.proto.way.empty_packet import THERE
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import Station

SESSION_OUT: Final = Station("session")
"""This node's own session, from which the tunnel's packets leave."""
_WIRE_OUT, _WIRE_IN, _NETWORK = Station("wire"), Station("wire", "receiver"), Station("network", "network")
_DATA = ("data", "large")
_CALLS = ("handshake",)


def silence(peer: str, said: Sequence[Observation]) -> str:
    """What is known of a silent peer; empty unless data or calls for it were seen to leave. peer: its name."""
    forward = [each for each in said if each.direction == "forward"]
    left = _reason(forward, _WIRE_OUT, "seen")
    if not left:
        return _unanswered_calls(peer, said)
    if read := _reason(forward, THERE, "seen"):
        return (
            f"packets to {peer} get as far as its tunnel, and nothing behind that answers ({read}): its device, its "
            f"allowed-ips for this node, a filter of {peer}, or its route to this node stops them or their answers"
        )
    came = _reason([each for each in said if each.direction == "reverse"], _WIRE_IN, "blind").partition(";")[0]
    known = (came or left, _reason(forward, THERE, "blind"), _reason(forward, _NETWORK, "blind"))
    return f"{peer} is silent: {'; '.join(filter(None, known))}"


def _unanswered_calls(peer: str, said: Sequence[Observation]) -> str:
    """The same where the tunnel calls, although the product counts its last session as fresh."""
    forward = [each for each in said if each.direction == "forward"]
    lost = _reason(forward, SESSION_OUT, "blind", _CALLS)
    came = _reason([each for each in said if each.direction == "reverse"], _WIRE_IN, "blind", _CALLS).partition(";")[0]
    known = (lost, came, _reason(forward, _NETWORK, "blind"))
    return f"{peer} does not answer calls: {'; '.join(filter(None, known))}" if lost and came else ""


def look_at_silent(peer: str, said: Iterable[Observation]) -> Remedies:
    """What shows on the peer how far packets come. Only of WireGuard's tunnel is anything said at its session."""
    forward = [each for each in said if each.direction == "forward"]
    there = [each.finding for each in forward if each.station == THERE]
    if _reason(forward, SESSION_OUT, "blind", _CALLS):
        line = f"wg show all peers   # on {peer}: is the public key of this node in the list, as `wg` shows it here?"
    elif "seen" in there:
        lines = "wg show all allowed-ips; nft -a list ruleset; iptables-save -c; ip rule; ip route show table all"
        line = f"{lines}   # on {peer}: what of it stops packets of this node?"
    elif there:
        line = f"wg   # on {peer}: does what it received of this node grow?"
    else:
        line = f"nft -a list ruleset; iptables-save -c   # on {peer}: does a rule drop what this node sends?"
    return look(line, where="peer", host=peer, root=True)


def _reason(said: Iterable[Observation], station: Station, finding: str, packets: Sequence[str] = _DATA) -> str:
    fitting = (each for each in said if each.station == station and each.finding == finding and each.packets in packets)
    return next((each.reason for each in fitting if each.reason), "")
