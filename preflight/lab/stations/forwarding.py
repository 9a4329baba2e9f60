"""Faults of the member that forwards: where a and b talk through c, inside the tunnel."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from preflight.lab import faults, probe
from preflight.lab.axes.setup import Setup
from preflight.lab.network import inside, set_sysctl
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import outside, proofs, words
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.making import iptables, once, ruleset
from preflight.lab.truth import Deciding, Place, Truth

if TYPE_CHECKING:
    from preflight.lab.network import Network

_PLACE = Place("packet", "forward", "forwarder")
_SMALLER = 1300
_CHAIN = "table inet guard { chain forward { type filter hook forward priority 0; }; }"
_CLOSED = "table inet guard { chain forward { type filter hook forward priority 0; policy drop; }; }"
_TO_B, _TO_A = "$ip saddr $a $ip daddr $b", "$ip saddr $b $ip daddr $a"


def _only_hub(setup: Setup) -> str | None:
    return None if setup.layout == "hub" else "nobody forwards between a and b"


def _address_of(node: str) -> Deciding:
    return Deciding("offender", lambda network: network.plan.address(node, network.plan.families[0]))


def _reaches_c(source: str, target: str) -> proofs.Proof:
    """What dies came to c, and does not come out at its target."""

    def prove(network: "Network") -> None:
        if not probe.passing(network, source, target, at="c", device=network.tunnel_to("c", target)):
            raise NotThereError(f"nothing from {source} to {target} comes to c")
        proofs.comes_out(source, target, no=True)(network)

    return prove


# c forwards nothing, or not this


def _not_forwarding(network: "Network") -> None:
    with inside(network.names.namespace("c")):
        set_sysctl("net/ipv4/ip_forward", 0)
        set_sysctl("net/ipv6/conf/all/forwarding", 0)


# Nobody looks at c. All its stations and both networks lie between the tap at a and the report of b.


def _both_ways(setup: Setup) -> Truth:
    return words.silence(setup, "round-trip")


def _one_way(setup: Setup) -> Truth:
    return words.silence(setup, "forward")


def _refused(setup: Setup) -> Truth:
    """c's own error names it. Nobody who observes is at c, so which of its rules it is only a person there can see."""
    less = (words.UNREACHABLE,)
    return Truth(words.NO_FORWARD, "b", "forward", place=_PLACE, deciding=_address_of("c"), where="peer", vague=less)


def _answers(setup: Setup) -> Truth:
    return words.silence(setup, "reverse")


# c forwards, and changes what it forwards


def _smaller(setup: Setup) -> Truth:
    # c says for each packet of a or b what it carries: nothing dies in silence.
    mtu = Deciding("mtu_bytes", _SMALLER)
    return Truth("mtu.reduced", "b", deciding=mtu, heals="command", where="peer", warns=True)


def _smaller_excluded(setup: Setup) -> str | None:
    largest = outside.plan_of(setup).tunnel_mtu
    return _only_hub(setup) or ("no packet of this tunnel is larger" if largest <= _SMALLER else None)


def _is_smaller(network: "Network") -> None:
    shown = run(network.command("c", program("cat"), f"/sys/class/net/{network.tunnel_to('c', 'b')}/mtu"))
    if int(shown) != _SMALLER:
        raise NotThereError(f"the MTU of c's tunnel is {int(shown)}")


def _translated(setup: Setup) -> Truth:
    # b's responder reports whom it sees; the rule is at c, where nobody observes.
    source = Deciding("source", lambda network: network.plan.address("c", network.plan.families[0]))
    return Truth("overlay.translated", "b", "forward", deciding=source, where="peer", warns=True)


def _translated_excluded(setup: Setup) -> str | None:
    return _only_hub(setup) or (None if setup.keyed else "nobody says whom b sees")


def _sees_c(network: "Network") -> None:
    rules = run(network.command("c", program("nft"), "list", "ruleset"))
    if "masquerade" not in rules:
        raise NotThereError("c translates nothing")
    proofs.arrives("a", "b")(network)


def _fault(
    name: str,
    part: Part,
    expected: Callable[[Setup], Truth],
    proof: proofs.Proof,
    excluded: Callable[[Setup], str | None] = _only_hub,
) -> Fault:
    return Fault(
        name=f"forward-{name}",
        summary=part.summary,
        place=_PLACE,
        made=lambda setup: (part,),
        expected=expected,
        proof=proof,
        excluded=excluded,
    )


_THERE, _BACK = _reaches_c("a", "b"), _reaches_c("b", "a")

FAULTS = (
    _fault("off", Part("c does not forward", inject=_not_forwarding), _both_ways, proofs.each_of(_THERE, _BACK)),
    _fault(
        "drop",
        ruleset("a rule of c drops what a sends to b", "c", _CHAIN, f"add rule inet guard forward {_TO_B} drop"),
        _one_way,
        _THERE,
    ),
    _fault(
        "policy",
        ruleset("c forwards only what a rule lets through, and none lets a and b talk", "c", _CLOSED),
        _both_ways,
        proofs.each_of(_THERE, _BACK),
    ),
    _fault(
        "legacy",
        iptables("iptables-legacy of c drops what a sends to b", "c", "legacy", "-I FORWARD -s $a -d $b -j DROP"),
        _one_way,
        _THERE,
    ),
    _fault(
        "reject",
        ruleset(
            "a rule of c rejects what a sends to b",
            "c",
            _CHAIN,
            f"add rule inet guard forward {_TO_B} reject with icmpx type admin-prohibited",
        ),
        _refused,
        _THERE,
    ),
    _fault(
        "drop-answers",
        ruleset("a rule of c drops what b answers to a", "c", _CHAIN, f"add rule inet guard forward {_TO_A} drop"),
        _answers,
        _BACK,
    ),
    _fault(
        "smaller",
        once("c's tunnel has a smaller MTU than a's and b's", "c", f"link set $tunnel mtu {_SMALLER}"),
        _smaller,
        _is_smaller,
        _smaller_excluded,
    ),
    _fault("translated", faults.translating_hub("c"), _translated, _sees_c, _translated_excluded),
)
