"""The options of a node, all of which `tailscale up` wants again wherever one is given; pure."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

from preflight.overlay.json_types import table, text, texts

_PLAIN = re.compile(r"[A-Za-z0-9._:@/-]{1,253}")
"""What a shell takes as it is."""
_RULES = {0: "off", 1: "nodivert"}


def options(preferences: Mapping[str, Any]) -> tuple[str, ...]:
    """The options that this node has, in addition to its control server; none where it never had any.

    What a shell would not take as it is, and an exit node that is known by its number alone, are left out: then the
    command says itself what is missing.
    """
    if not text(preferences.get("ControlURL")):
        return ()
    return tuple(f"--{name}{value}" for name, read in _OPTIONS.items() if (value := read(preferences)) is not None)


def _when(key: str, wanted: bool, value: str = "") -> Callable[[Mapping[str, Any]], str | None]:
    return lambda preferences: value if preferences.get(key) is wanted else None


def _said(key: str) -> Callable[[Mapping[str, Any]], str | None]:
    return lambda preferences: _value(text(preferences.get(key)))


def _value(said: str) -> str | None:
    return f"={said}" if _PLAIN.fullmatch(said) else None


def _listed(key: str) -> Callable[[Mapping[str, Any]], str | None]:
    """Values behind one name, if all are plain."""

    def read(preferences: Mapping[str, Any]) -> str | None:
        words = texts(preferences.get(key))
        return f"={','.join(words)}" if words and all(map(_PLAIN.fullmatch, words)) else None

    return read


def _announced(preferences: Mapping[str, Any]) -> str | None:
    subnets = [each for each in texts(preferences.get("AdvertiseRoutes")) if ip_network(each, strict=False).prefixlen]
    return f"={','.join(subnets)}" if subnets else None


def _exit(preferences: Mapping[str, Any]) -> str | None:
    whole = [each for each in texts(preferences.get("AdvertiseRoutes")) if not ip_network(each, strict=False).prefixlen]
    return "" if whole else None


def _rules(preferences: Mapping[str, Any]) -> str | None:
    mode = _RULES.get(preferences.get("NetfilterMode", 2))
    return f"={mode}" if mode is not None else None


def _connects(preferences: Mapping[str, Any]) -> str | None:
    return "" if table(preferences.get("AppConnector") or None).get("Advertise") is True else None


_OPTIONS: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    "accept-dns": _when("CorpDNS", False, "=false"),
    "accept-routes": _when("RouteAll", True),
    "advertise-connector": _connects,
    "advertise-exit-node": _exit,
    "advertise-routes": _announced,
    "advertise-tags": _listed("AdvertiseTags"),
    "exit-node": _said("ExitNodeIP"),
    "exit-node-allow-lan-access": _when("ExitNodeAllowLANAccess", True),
    "hostname": _said("Hostname"),
    "netfilter-mode": _rules,
    "operator": _said("OperatorUser"),
    "report-posture": _when("PostureChecking", True),
    "shields-up": _when("ShieldsUp", True),
    "snat-subnet-routes": _when("NoSNAT", True, "=false"),
    "ssh": _when("RunSSH", True),
    "stateful-filtering": _when("NoStatefulFiltering", False),
    "webclient": _when("RunWebClient", True),
}
