"""Faults of a tunnel's session: what its two ends do not share, and addresses that belong to another end."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.lab.axes.setup import Setup
from preflight.lab.keys import TunnelKeys
from preflight.lab.part import Part
from preflight.lab.site import write_private
from preflight.lab.stations import proofs, words
from preflight.lab.stations.fault import Fault
from preflight.lab.stations.making import OTHER, device
from preflight.lab.truth import Deciding, Place, Truth, Where

if TYPE_CHECKING:
    from preflight.lab.network import Network

STRANGER = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
"""A public key that is nobody's."""
_SENDER, _RECEIVER = Place("packet", "session", "sender"), Place("packet", "session", "receiver")
_OWNER, _NEVER_UP = "overlay.allowed-ips", "overlay.no-handshake"


def _only_wireguard(setup: Setup) -> str | None:
    return None if setup.product == "wireguard" else "only WireGuard has such keys and lists of addresses"


def _only_direct(setup: Setup) -> str | None:
    return _only_wireguard(setup) or ("a and b have sessions with c only" if setup.layout == "hub" else None)


def _key_of(node: str) -> Deciding:
    return Deciding("public_key", lambda network: network.keys[node].public)


def _set_peer(network: "Network", node: str, key: str, *words: str) -> None:
    """Change a peer in a member's tunnel."""
    tunnel = device(network, node, OTHER[node])
    network.wg(node, "set", tunnel, "peer", key, *words)
    _keep_file(network, node, tunnel)


def _keep_file(network: "Network", node: str, tunnel: str) -> None:
    """Write a tunnel's peers into wg-quick's file if it came from one: a difference would be another fault."""
    if network.plan.quick(node):
        path = network.names.etc(node) / "wireguard" / f"{tunnel}.conf"
        interface = path.read_text(encoding="ascii").split("[Peer]", 1)[0]
        shown = network.wg(node, "showconf", tunnel)
        path.write_text(interface + shown[shown.index("[Peer]") :], encoding="ascii")


# Whose address it is


def _own_addresses(network: "Network", node: str) -> str:
    lengths = {4: 32, 6: 128}
    return ",".join(f"{network.plan.address(node, family)}/{lengths[family]}" for family in network.plan.families)


def _taken(node: str) -> Part:
    peer = OTHER[node]

    def inject(network: "Network") -> None:
        _set_peer(network, node, STRANGER, "allowed-ips", _own_addresses(network, peer))

    return Part(f"{node}'s tunnel gave {peer}'s address to another key", inject=inject)


def _not_allowed(node: str) -> Part:
    peer = OTHER[node]

    def inject(network: "Network") -> None:
        others = ",".join(
            f"{network.plan.address(peer, family)}0/{32 if family == 4 else 128}" for family in network.plan.families
        )
        _set_peer(network, node, network.keys[peer].public, "allowed-ips", others)

    return Part(f"{peer}'s address is missing from {node}'s allowed-ips", inject=inject)


def _not_allowed_here(setup: Setup) -> Truth:
    if setup.user != "root" and setup.product == "wireguard":
        return _silent_both_ways(setup)
    # With a default route into the tunnel, the exit owns what no other peer does.
    if setup.routes in ("default", "halves"):
        return words.here(setup, _OWNER, "session", deciding=_key_of("c"), privileged=True)
    known = _shows_whose(setup)
    truth = words.here(setup, _OWNER, "session", deciding=_key_of("b") if known else None, privileged=True)
    return truth if known or setup.user != "root" else replace(truth, heals="nothing")


def _shows_whose(setup: Setup) -> bool:
    """Whether a can know which of its peers is b: b says so, or all others own an address that a knows."""
    third = setup.control != "none" and setup.home != "peer"
    return words.observed(setup) or setup.routes == "per-peer" or (third and setup.others == "none")


def _silent_both_ways(setup: Setup) -> Truth:
    """What WireGuard sends to no peer it also takes from none."""
    return words.silence(setup, "round-trip", where="node")


def _taken_here(setup: Setup) -> Truth:
    if setup.user != "root":
        return _silent_both_ways(setup)
    return words.here(setup, _OWNER, "session", deciding=Deciding("public_key", STRANGER), privileged=True)


def _owner_there(deciding: Deciding) -> Callable[[Setup], Truth]:
    """b takes nothing from a, and sends nothing to it."""

    def truth(setup: Setup) -> Truth:
        if not words.observed(setup):
            return words.silence(setup, "round-trip")
        less = (words.UNREACHABLE, words.NO_FORWARD)
        return Truth(_OWNER, "b", place=_RECEIVER, deciding=deciding, heals="command", where="peer", vague=less)

    return truth


# What the two ends of WireGuard do not share


def _stale(node: str) -> Part:
    """A member has a key of the other one that it does not use any more; both start their sessions again."""
    peer = OTHER[node]

    def inject(network: "Network") -> None:
        network.mistake(node, peer, TunnelKeys.fresh())
        network.configure_tunnel(peer)

    return Part(f"{node} has a stale public key for {peer}", inject=inject)


def _unknown_there() -> Part:
    def inject(network: "Network") -> None:
        network.wg("b", "set", device(network, "b", "a"), "peer", network.keys["a"].public, "remove")
        network.configure_tunnel("a")

    return Part("b's tunnel has no entry for a's key", inject=inject)


def _preshared(node: str) -> Part:
    """Its configuration is set as a whole: an entry that lacks the key for a moment would bring a session up."""
    peer = OTHER[node]

    def inject(network: "Network") -> None:
        tunnel, own = device(network, node, peer), f"PublicKey = {network.keys[peer].public}\n"
        shown = network.wg(node, "showconf", tunnel)
        path = network.names.files(node) / "preshared.conf"
        write_private(path, shown.replace(own, f"{own}PresharedKey = {TunnelKeys.fresh().private}\n"))
        network.wg(node, "setconf", tunnel, str(path))
        _keep_file(network, node, tunnel)
        network.configure_tunnel(peer)

    return Part(f"{node} has a preshared key for {peer}, and {peer} has none", inject=inject)


def _never_up(setup: Setup, deciding: Deciding, where: Where) -> Truth:
    """a's initiations bring nothing back; b's observers know for which key it has an entry."""
    if setup.user != "root":
        return words.silence(setup, "round-trip")
    seen = words.observed(setup)
    return Truth(
        _NEVER_UP,
        "b",
        place=_RECEIVER if seen else None,
        deciding=deciding if seen else None,
        heals="command",
        where=where,
        vague=(words.UNREACHABLE,),
    )


def _stale_here(setup: Setup) -> Truth:
    return _never_up(setup, _key_of("b"), "node")


def _unknown_there_is(setup: Setup) -> Truth:
    """The name of b's interface, and the key that it has for a, only b can say: without its word, there is no line."""
    truth = _never_up(setup, _key_of("a"), "peer")
    return truth if words.observed(setup) else replace(truth, heals="nothing")


def _preshared_is(where: Where) -> Callable[[Setup], Truth]:
    """b's answers come to a, with 92 bytes, and a takes none: the public keys fit.

    They come to the host of a container, where nobody in it looks; b's observers may see that they help nobody.
    """

    def truth(setup: Setup) -> Truth:
        if setup.user != "root":
            return words.silence(setup, "round-trip")
        if not words.watches_outside(setup) and not words.observed(setup):
            return words.never_up(setup, where=where)
        mismatch = Deciding("mismatch", "preshared key")
        return Truth(
            "overlay.preshared-key",
            "b",
            place=_RECEIVER,
            deciding=mismatch,
            heals="command",
            where=where,
            vague=(_NEVER_UP, words.UNREACHABLE),
        )

    return truth


def _fault(
    name: str,
    part: Part,
    place: Place,
    expected: Callable[[Setup], Truth],
    excluded: Callable[[Setup], str | None] = _only_direct,
) -> Fault:
    return Fault(
        name=f"session-{name}",
        summary=part.summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proofs.each_of(proofs.dies_between_the_taps("a", "b"), proofs.comes_out("b", "a", no=True)),
        excluded=excluded,
    )


FAULTS = (
    _fault("not-allowed", _not_allowed("a"), _SENDER, _not_allowed_here),
    _fault("taken", _taken("a"), _SENDER, _taken_here, _only_wireguard),
    _fault("stale-key", _stale("a"), _RECEIVER, _stale_here),
    _fault("preshared", _preshared("a"), _RECEIVER, _preshared_is("node")),
    _fault("not-allowed-there", _not_allowed("b"), _RECEIVER, _owner_there(_key_of("a"))),
    _fault("taken-there", _taken("b"), _RECEIVER, _owner_there(Deciding("public_key", STRANGER)), _only_wireguard),
    _fault("stale-key-there", _stale("b"), _RECEIVER, _unknown_there_is),
    _fault("unknown-there", _unknown_there(), _RECEIVER, _unknown_there_is),
    _fault("preshared-there", _preshared("b"), _RECEIVER, _preshared_is("peer")),
)
