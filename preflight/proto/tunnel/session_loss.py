"""What a product itself shows of a peer with whom it has no session that works; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from preflight import codes
from preflight.codes import Code
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.product_ping import ProductPing
from preflight.model.remedy import Remedies, by_hand, look
from preflight.proto.tunnel.peer_status import utc
from preflight.proto.tunnel.session_life import HEARD_S, candidates

UNANSWERED_S = 3.0
"""What was sent so long after the latest packet of a peer was not answered."""

LEAST_MISSED = 4
_LOG = look("journalctl -u nebula -n 50 | grep -iE 'handshake|certificate'   # why", root=True)
_UNTOLD = by_hand(
    "Name the lighthouse in lighthouse.hosts and static_host_map of its configuration here, or the member itself in "
    "static_host_map; then restart nebula."
)
_ITSELF = (
    *look("Is this node to be a lighthouse? If not: lighthouse.am_lighthouse: false, and hosts, in its configuration."),
    *_LOG,
)
_CERTIFICATE = "nebula-cert print -path /etc/nebula/host.crt   # notAfter, issuer"
EXIT_GONE = codes.OVERLAY_EXIT_NODE_GONE.slug
_OF_EXIT = "; it is this node's exit node, to which all goes that is for the Internet"
RENEWED_S = 125.0
"""WireGuard renews a session that is sent to and older than 120 s."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What it shows, as a sentence; and what shows more. exits: whether the peer is this node's exit node.

    places: where the product calls the peer.
    """

    code: Code
    words: str
    remedies: Remedies
    exits: bool = False
    places: tuple[str, ...] = ()


def loss(
    state: OverlayState, name: str, address: str, pings: Sequence[ProductPing], now_unix_s: float, *, missed: int = 0
) -> Loss | None:
    """From a state that was read after this run sent to the silent peer; None where it shows nothing.

    missed: how often in a row it did not have the peer just after something was sent.
    """
    if state.product == "zerotier":
        return _unheard(state, name, address, now_unix_s)
    known = state.peer_for(address)
    if (lacking := uncertified(state, address)) is not None:
        return lacking
    if state.product == "nebula" and known is None and state.lists_sessions and missed >= LEAST_MISSED:
        return _refused(name, missed)
    if known is None or known.endpoint is not None or known.expired:
        return None
    if any(ping.latency_s is not None for ping in pings):
        return None
    if state.product == "tailscale":
        exits = any(each.code == EXIT_GONE and each.peer == known.key for each in state.complaints)
        return _of_a_tailnet(known, name, now_unix_s, pinged=bool(pings), exits=exits)
    return _pending(state, known, name)


def _of_a_tailnet(
    known: OverlayPeer, name: str, now_unix_s: float, *, pinged: bool, exits: bool = False
) -> Loss | None:
    """Its control server's word, else that the relay, which is the only path left, brings nothing.

    A session through the relay may live with a policy behind it: the daemon's own pings, or a handshake that is due and
    does not come, show that it does not.
    """
    if known.online is False:
        seen = f", last seen at {utc(known.last_seen_unix_s)}" if known.last_seen_unix_s else ""
        words = f"tailscale's control server says that {name} is offline{seen}{_OF_EXIT if exits else ''}"
        shown = _look_there(name, "tailscale status", "systemctl status tailscaled")
        return Loss(codes.OVERLAY_PEER_LOST, words, shown, exits)
    if known.relay is None or not known.tx_bytes:
        return None
    age_s = now_unix_s - (known.last_handshake_unix_s or 0.0)
    if not pinged and age_s < RENEWED_S:
        return None
    ever = f"its last handshake was {age_s:.0f} s ago" if known.last_handshake_unix_s else "there never was a handshake"
    words = f"tailscale has no direct path to {name}, and nothing comes back through the relay {known.relay}; {ever}"
    return Loss(codes.OVERLAY_PEER_LOST, words, _look_there(name, "tailscale netcheck", "tailscale status"))


def _unheard(state: OverlayState, name: str, address: str, now_unix_s: float) -> Loss | None:
    """All of the members must show the same, as it is not known which of them the peer is."""
    members = candidates(state, address)
    if not members or any(member.endpoint is not None and _answers(member, now_unix_s) for member in members):
        return None
    said = "; ".join(_silence(member, now_unix_s) for member in members)
    remedies = _look_there(name, "zerotier-cli info", "systemctl status zerotier-one")
    return Loss(codes.OVERLAY_PEER_LOST, said, remedies)


def _answers(member: OverlayPeer, now_unix_s: float) -> bool:
    """Whether it was heard recently, or nothing was sent to it since then."""
    heard_unix_s, sent_unix_s = member.last_seen_unix_s or 0.0, member.last_sent_unix_s or 0.0
    return now_unix_s - heard_unix_s <= HEARD_S or sent_unix_s - heard_unix_s < UNANSWERED_S


def _silence(member: OverlayPeer, now_unix_s: float) -> str:
    if member.last_seen_unix_s is None and member.tried:
        return f"zerotier sends to {member.key} at {' and '.join(member.tried)}, and has never heard it there"
    if member.last_seen_unix_s is None:
        relays = ": a root relays what it sends there, and" if member.relayed else ", and"
        return f"zerotier has no path to {member.key}{relays} nothing comes back"
    heard_s = now_unix_s - member.last_seen_unix_s
    sent_s = now_unix_s - (member.last_sent_unix_s or 0.0)
    return f"zerotier has heard nothing of {member.key} for {heard_s:.0f} s, and sent to it {sent_s:.1f} s ago"


def _pending(state: OverlayState, known: OverlayPeer, name: str) -> Loss | None:
    """Nebula goes on with handshakes that nobody answers, and only its log says why."""
    if state.product != "nebula" or known.last_handshake_unix_s != 0.0:
        return None
    if known.refused:
        return _not_accepted(known, name)
    if not known.tried and state.asks_none is not None:
        words = (
            f"nebula has no address at which to reach {name}: {state.asks_none}, and static_host_map has none for it"
        )
        return Loss(codes.OVERLAY_NO_HANDSHAKE, words, _ITSELF if "itself" in state.asks_none else _UNTOLD)
    if not known.tried:
        words = (
            f"no lighthouse has given nebula an address at which to reach {name}: {name} does not run, or has not got "
            "that lighthouse in its lighthouse.hosts, or the lighthouse does not accept its certificate"
        )
        return Loss(codes.OVERLAY_NO_HANDSHAKE, words, _LOG)
    words = (
        f"nebula sends handshakes to {name} at {' and '.join(known.tried)} and completes none: the certificate of "
        f"{name}, or this node's, is not accepted (expired, of another authority, in a blocklist), or UDP does not get "
        f"through; {'the log there' if not state.lists_sessions else 'the log here or there'} says which"
    )
    valid = look(_CERTIFICATE, where="peer", host=name, root=True)
    return Loss(codes.OVERLAY_NO_HANDSHAKE, words, (*_LOG, *valid), places=known.tried)


def _not_accepted(known: OverlayPeer, name: str) -> Loss:
    """Its log has the reason, in its own words."""
    places = f" at {' and '.join(known.tried)}" if known.tried else ""
    words = f"nebula does not accept the handshakes of {name}{places}: {known.refused}, says its log"
    if "blocked" in known.refused:
        lever = look("grep -A 5 blocklist: /etc/nebula/config.yml   # is its fingerprint to be in pki.blocklist?")
    elif "cipher" in known.refused:
        lever = look("grep -n ^cipher: /etc/nebula/config.yml   # one for the whole network: here and there")
    elif "answers there" in known.refused:
        lever = look("Is the address of that member in static_host_map right, here and at the lighthouses?")
    else:
        lever = (*look("date -u   # is this the right time?"), *look(_CERTIFICATE, where="peer", host=name, root=True))
    return Loss(codes.OVERLAY_NO_HANDSHAKE, words, lever, places=known.tried)


def uncertified(state: OverlayState, address: str) -> Loss | None:
    """What nebula leads to a member whose certificate does not have the network: both sides drop it."""
    wanted = ip_address(address)
    having = [each for each in state.routed if each[0].version == wanted.version and wanted in each[0]]
    if not having:
        return None
    network, via = max(having, key=lambda each: each[0].prefixlen)
    member = state.peer_for(via)
    if member is None or member.behind is None or any(wanted in each for each in member.behind):
        return None
    has = f"has only {' and '.join(map(str, member.behind))}" if member.behind else "has no network"
    words = (
        f"unsafe_routes of nebula here lead {address} to {via}, whose certificate {has} behind it: nebula drops what "
        "is for another one"
    )
    sign = f"Sign the certificate of {via} again with `-subnets {network}` (`-unsafe-networks` from version 1.10 on), "
    remedies = by_hand(f"{sign}and restart nebula there.", where="product console")
    return Loss(codes.OVERLAY_POLICY_DROP, words, remedies)


def _refused(name: str, missed: int) -> Loss:
    """Nebula keeps a handshake that nobody answers for seconds, and forgets one whose answer it does not accept."""
    words = (
        f"nebula has forgotten each of {missed} handshakes with {name} within moments, as it does where it refuses the "
        f"answer: the certificate of {name} has expired, is not valid yet by this node's clock, is of an authority "
        "that this node does not trust, or is in its pki.blocklist; its log says which"
    )
    valid = look(_CERTIFICATE, where="peer", host=name, root=True)
    return Loss(codes.OVERLAY_NO_HANDSHAKE, words, (*_LOG, *valid))


def _look_there(name: str, *lines: str) -> Remedies:
    return look(*lines, where="peer", host=name, root=True)
