"""Nebula's own firewall: what its configuration lets this node send, and what it lets come in. Pure.

A rule without a condition that can be read here counts as one that lets everything pass, so that nothing is claimed.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any, Literal

from preflight.model.kernel import IPNetwork
from preflight.model.product_policy import OutPolicy, Permit
from preflight.overlay.json_types import table, text, texts

_PROTOCOLS: tuple[Literal["udp", "tcp", "icmp"], ...] = ("udp", "tcp", "icmp")
_ANY = "any"


def out_policy(config: Mapping[str, Any], file: str) -> OutPolicy | None:
    """What may leave; None where the configuration has no such part, or one that is not understood."""
    firewall = table(config.get("firewall"))
    outbound = _permits(firewall.get("outbound"))
    return OutPolicy(file, outbound, _permits(firewall.get("inbound"))) if outbound is not None else None


def _permits(rules: Any) -> tuple[Permit, ...] | None:
    if not isinstance(rules, Sequence) or isinstance(rules, str):
        return None
    try:
        return tuple(_permit(table(rule)) for rule in rules)
    except (TypeError, ValueError):
        return None


def _permit(rule: Mapping[str, Any]) -> Permit:
    """Its conditions for the other side are alternatives: any of them is enough; of a list of groups all are wanted.

    The authority of a certificate is a condition in addition.
    """
    hosts, groups = _words(rule, "host"), [*_words(rule, "group"), *_words(rule, "groups")]
    everybody = _ANY in (*hosts, *groups)
    networks = () if everybody or not rule.get("cidr") else _networks(text(rule["cidr"]))
    names = () if everybody else (*(f"host {each}" for each in hosts), *_together("group", groups))
    authorities = tuple(f"{key} {word}" for key in ("ca_name", "ca_sha") for word in _words(rule, key))
    if authorities and (everybody or not (names or networks)):
        names = authorities
    return Permit(protocol=_protocol(rule), ports=_ports(rule), to=networks, named=names)


def _together(what: str, words: Sequence[str]) -> tuple[str, ...]:
    return (f"{what}{'s' if len(words) > 1 else ''} {' and '.join(words)}",) if words else ()


def _words(rule: Mapping[str, Any], key: str) -> list[str]:
    value = rule.get(key)
    return [value] if isinstance(value, str) else list(texts(value))


def _networks(cidr: str) -> tuple[IPNetwork, ...]:
    return () if cidr == _ANY else (ip_network(cidr, strict=False),)


def _protocol(rule: Mapping[str, Any]) -> Literal["udp", "tcp", "icmp"] | None:
    word = str(rule.get("proto", _ANY))
    return next((protocol for protocol in _PROTOCOLS if protocol == word), None)


def _ports(rule: Mapping[str, Any]) -> tuple[int, int] | None:
    """A number, a range, any, or the later fragments of packets, which have no port."""
    word = str(rule.get("port", rule.get("code", _ANY)))
    if word in (_ANY, "0"):
        return None
    if word == "fragment":
        return (-1, -1)
    first, _, last = word.partition("-")
    return int(first), int(last or first)
