"""What killed packets at a peer, by the facts that its responder reports: in this node's words and codes; pure.

A responder names things as they are on its own host: its way to this node is `forward` there. Only the codes below are
known here, each from its facts; a code without them says nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from preflight import codes
from preflight.codes import Code
from preflight.model.facts import DeathFacts
from preflight.model.fix import Fix
from preflight.model.observed import PeerObservation
from preflight.model.remedy import Remedies, heal, look
from preflight.proto.tunnel.policy_advice import let_udp_in
from preflight.proto.way.observation import Death, Passing


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """This node as the peer sees it.

    name: the peer's target. address: this node's own, to which the peer sends. public_key: of its tunnel. passes:
    what the peer answers although its responder is silent.
    """

    name: str
    address: str
    public_key: str | None = None
    passes: Passing | None = None


_Judge = Callable[[PeerObservation, DeathFacts, Asker], Death | None]


def death_of(each: PeerObservation, asker: Asker) -> Death | None:
    """What killed the packets; None where the peer says nothing of it that this node knows."""
    judge = _JUDGES.get(each.code or "")
    death = judge(each, each.facts or DeathFacts(), asker) if judge else None
    if death is None:
        return None
    healing = tuple(remedy for fix in each.fixes for remedy in _there(fix, asker))
    return replace(death, remedies=healing or death.remedies, certain=each.certain)


def _there(fix: Fix, asker: Asker) -> Remedies:
    return heal(lambda: fix, where="peer", host=asker.name, lasting=f"the same in the configuration of {asker.name}")


def _one_way(each: PeerObservation) -> Code:
    return codes.REACH_NO_FORWARD if each.direction == "forward" else codes.REACH_NO_REVERSE


def _what(each: PeerObservation) -> str:
    """The packets in a sentence: this node's, or the peer's own, or what carries them."""
    outer = each.station.endswith("-outer") or each.station == "wire"
    large = "large packets of " if each.packets == "large" else ""
    if each.direction == "forward":
        return f"{large}what {'the tunnel of this node' if outer else 'this node'} sends to it"
    return f"{large}what {'its tunnel' if outer else 'it'} sends to this node"


def _rule(facts: DeathFacts) -> str:
    """Which rule or chain it is, with what its owner wrote to it."""
    noted = f' ("{facts.comment}")' if facts.comment else ""
    if facts.rule_handle is None:
        return f"its chain {facts.chain}{noted}"
    return f"rule {facts.rule_handle} of its chain {facts.chain}{noted}"


_TRANSLATING = "nat "
"""The table in which iptables translates, as facts name a chain: it drops nothing."""


def _firewall(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    if facts.chain is None and facts.address is None:
        return None
    udp_only = asker.passes and not each.station.endswith("-outer")
    only = f"; {asker.passes} passes" if udp_only else ""
    translates = facts.chain is not None and facts.chain.startswith(_TRANSLATING)
    does = "sends elsewhere" if translates and each.direction == "forward" else "drops"
    by = f"the firewall of {asker.name} {does} {_what(each)}: {_rule(facts)}"
    if facts.chain is None:
        by = f"a policy of IPsec of {asker.name} drops {_what(each)}, for {facts.address}"
    return Death(
        code=codes.UDP_BLOCKED if udp_only else _one_way(each),
        message=f"{by}{only}",
        facts=_only(facts, "rule_handle", "chain", "comment", "address"),
        remedies=look(
            "nft -a list ruleset; iptables-save -c" if facts.chain else "ip xfrm policy",
            where="peer",
            host=asker.name,
            root=True,
        ),
    )


def _own_way(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    """What the peer calls its own way to this node is dead."""
    found = _why_not_sent(each, facts, asker) if each.direction == "reverse" else None
    if found is None:
        return None
    why, *names = found
    return Death(
        code=codes.REACH_NO_REVERSE,
        message=f"{asker.name} does not send to this node as it should: {why}",
        facts=_only(facts, *names),
        remedies=_look_at_route(asker),
    )


def _why_not_sent(each: PeerObservation, facts: DeathFacts, asker: Asker) -> tuple[str, ...] | None:
    """A clause, and the names of the facts that are in it."""
    what = _what(each)
    if facts.chain is not None:
        to = f" to {facts.source}" if facts.source else ""
        return f"{_rule(facts)} rewrites the source of {what}{to}", "rule_handle", "chain", "comment", "source"
    if facts.route_type == "none":
        return f"none of its routes leads to {asker.address} (route type none)", "route_type"
    if facts.route_type in ("blackhole", "unreachable", "prohibit"):
        return f"its kernel refuses {what}, by a route or a rule of type {facts.route_type}", "route_type"
    if facts.source is not None:
        return f"{what} leaves with the source {facts.source}, which is not an address of its tunnel", "source"
    if facts.gateway is not None:
        return f"its gateway {facts.gateway} does not answer, by which its tunnel sends to this node", "gateway"
    if facts.interface is not None and each.station.startswith("egress"):
        return f"the queue of its interface {facts.interface} drops {what}", "interface"
    if each.code == codes.OVERLAY_ENDPOINT_LOOP.slug:
        return (f"{what} is routed into the tunnel itself",)
    return None


def _reverse_path(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    if each.direction != "forward":
        return None
    setting = f" ({facts.sysctl})" if facts.sysctl else ""
    by = f" by {facts.interface}" if facts.interface else ""
    return Death(
        code=codes.HOST_RP_FILTER,
        message=f"the reverse-path filter of {asker.name}{setting} drops what this node sends: it comes in{by}, and "
        "no route leads back by the same interface",
        facts=_only(facts, "sysctl", "interface"),
        remedies=_look_at_route(asker),
    )


def _leak(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    if each.direction != "reverse" or facts.interface is None:
        return None
    by = f"{facts.interface} via {facts.gateway}" if facts.gateway else facts.interface
    return Death(
        code=codes.OVERLAY_ROUTE_LEAK,
        message=f"{asker.name} sends what is for this node ({asker.address}) by {by}, outside the tunnel",
        facts=_only(facts, "interface", "gateway"),
        remedies=_look_at_route(asker),
    )


def _duplicate(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    if each.direction != "reverse":
        return None
    on = f", on {facts.interface}" if facts.interface else ""
    return Death(
        code=codes.OVERLAY_DUPLICATE_ADDRESS,
        message=f"{asker.address}, this node's overlay address, is an address of {asker.name} too{on}: what is for "
        "this node never leaves it",
        facts=replace(_only(facts, "interface"), address=asker.address),
        remedies=look(f"ip address show to {asker.address}", where="peer", host=asker.name),
    )


def _owner(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    key = facts.public_key or asker.public_key
    if key is None:
        return None
    gives = "to nobody: it must be" if key == asker.public_key else f"to the key {key}: it must not be there, but"
    whose = f" ({key})" if key == asker.public_key else ""
    return Death(
        code=codes.OVERLAY_ALLOWED_IPS,
        message=f"the tunnel of {asker.name} gives this node's address {asker.address} {gives} in the allowed-ips of "
        f"this node's own key{whose}",
        facts=DeathFacts(public_key=key),
        remedies=look("wg show all allowed-ips", where="peer", host=asker.name, root=True),
    )


def _policy(each: PeerObservation, facts: DeathFacts, asker: Asker) -> Death | None:
    """Of the products whose rules can be read there, only Nebula drops what comes in."""
    if each.direction != "forward" or facts.port is None:
        return None
    only = f"; {asker.passes} passes" if asker.passes else ""
    return Death(
        code=codes.UDP_BLOCKED if asker.passes else codes.REACH_NO_FORWARD,
        message=f"the rules of {asker.name}'s Nebula (firewall.inbound) drop what this node sends: none of them lets "
        f"UDP to port {facts.port} in from {asker.address}{only}",
        facts=_only(facts, "port"),
        remedies=let_udp_in("nebula", asker.name, facts.port),
        later=True,  # the peer's own packets open the way for answers meanwhile
    )


def _look_at_route(asker: Asker) -> Remedies:
    return look(f"ip rule; ip route get {asker.address}", where="peer", host=asker.name)


def _only(facts: DeathFacts, *names: str) -> DeathFacts:
    """The facts that the sentence is about."""
    return DeathFacts(**{name: getattr(facts, name) for name in names})


_JUDGES: Mapping[str, _Judge] = {
    codes.HOST_FIREWALL_DROP.slug: _firewall,
    codes.REACH_NO_FORWARD.slug: _own_way,
    codes.HOST_GATEWAY_DEAD.slug: _own_way,
    codes.OVERLAY_ENDPOINT_LOOP.slug: _own_way,
    codes.HOST_RP_FILTER.slug: _reverse_path,
    codes.OVERLAY_ROUTE_LEAK.slug: _leak,
    codes.OVERLAY_DUPLICATE_ADDRESS.slug: _duplicate,
    codes.OVERLAY_ALLOWED_IPS.slug: _owner,
    codes.OVERLAY_POLICY_DROP.slug: _policy,
}

CODES: tuple[Code, ...] = (
    codes.REACH_NO_FORWARD,
    codes.REACH_NO_REVERSE,
    codes.UDP_BLOCKED,
    codes.HOST_RP_FILTER,
    codes.OVERLAY_ROUTE_LEAK,
    codes.OVERLAY_DUPLICATE_ADDRESS,
    codes.OVERLAY_ALLOWED_IPS,
)
"""What a peer's word can lead to: a check that takes it in may report these."""
