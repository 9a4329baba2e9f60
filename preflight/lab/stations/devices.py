"""Faults of the tunnel's device itself: missing, down, of the wrong size, or another than in its file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.lab import faults
from preflight.lab.axes.setup import Setup
from preflight.lab.blueprint import Blueprint
from preflight.lab.part import Part
from preflight.lab.processes import program, run
from preflight.lab.stations import outside, proofs, words
from preflight.lab.stations.fault import Fault, NotThereError
from preflight.lab.stations.making import once
from preflight.lab.truth import Deciding, Healer, Place, Truth
from preflight.lab.wg_quick import quick_file
from preflight.model.overlay import IPV6_EXTRA_BYTES

if TYPE_CHECKING:
    from preflight.lab.network import Network

_SENDER, _RECEIVER = Place("packet", "tunnel", "sender"), Place("packet", "tunnel", "receiver")
_BELOW_IPV6 = 1200
_SMALLER = 1285


def _only_kernel(setup: Setup) -> str | None:
    if setup.routes == "per-peer":
        return "a's other tunnels are there"
    return None if setup.product in ("wireguard", "vxlan") else "the daemon ends with its device"


def _one_tunnel(setup: Setup) -> str | None:
    return "a's other tunnels are up" if setup.routes == "per-peer" else None


def _missing_is(setup: Setup) -> Truth:
    """Only a file of wg-quick says how the tunnel is made, and only root reads it."""
    has_file = outside.plan_of(setup).quick("a") and setup.user == "root"
    return Truth("overlay.absent", "node", place=_SENDER, heals="command" if has_file else "nothing")


def _down_is(setup: Setup) -> Truth:
    """A device loses its IPv6 addresses when it goes down: without a file only what made it knows them."""
    known = setup.families != "ipv6" or outside.plan_of(setup).quick("a")
    return Truth("overlay.down", "node", place=_SENDER, heals="command" if known else "nothing")


def _below_ipv6_is(setup: Setup) -> Truth:
    """Without a file only the peers know the address that an overlay of IPv6 alone has lost."""
    deciding = Deciding("mtu_bytes", _BELOW_IPV6)
    known = setup.families != "ipv6" or outside.plan_of(setup).quick("a")
    heals: Healer = "command" if known else "nothing"
    return Truth("overlay.mtu-too-small", "node", place=_SENDER, deciding=deciding, heals=heals)


def _below_ipv6_excluded(setup: Setup) -> str | None:
    if setup.families == "ipv4":
        return "IPv4 needs no more"
    # Linux takes the addresses off, and a knows b by its IPv4 address.
    hidden = (
        setup.product == "openvpn"
        or (setup.product == "wireguard" and setup.user == "ordinary")
        # What fits under the tunnel is in another namespace, so that its size is nothing strange.
        or (setup.product == "vxlan" and setup.namespace == "container")
    )
    return "nothing that a may read shows any more that there was IPv6" if hidden and setup.families == "both" else None


def _without_ipv6(network: "Network") -> None:
    """Linux takes IPv6 off a device whose MTU is below IPv6's minimum."""
    shown = run(network.command("a", program("ip"), "-6", "address", "show", "dev", network.tunnel_to("a", "b")))
    if network.plan.address("a", 6) in shown:
        raise NotThereError("a's tunnel has its IPv6 address")


def _down_there_is(setup: Setup) -> Truth:
    # b's report does not get out either. The daemons of Nebula and OpenVPN go on answering for a device that is down.
    return Truth(words.UNREACHABLE, "b", "round-trip", heals="command", where="peer")


def _own_daemon(setup: Setup) -> str | None:
    if setup.product in ("nebula", "openvpn"):
        return None
    return "with its device down this tunnel closes its port: a fault of the station socket-outer"


def _smaller_there_is(setup: Setup) -> Truth:
    deciding = Deciding("mtu_bytes", _SMALLER)
    return Truth("mtu.reduced", "b", "reverse", deciding=deciding, heals="command", where="peer", warns=True)


def _smaller_excluded(setup: Setup) -> str | None:
    if not setup.keyed:
        return "b measures what it can send only for an asker with its key"
    if outside.plan_of(setup).tunnel_mtu - _SMALLER <= IPV6_EXTRA_BYTES:
        return "the two ends of a tunnel rightly differ by as much as IPv4 and IPv6 under it do"
    return None


def _smaller_is_there(network: "Network") -> None:
    device = network.tunnel_to("b", "a")
    found = int(run(network.command("b", program("cat"), f"/sys/class/net/{device}/mtu")))
    if found != _SMALLER:
        raise NotThereError(f"the MTU of b's tunnel is {found}")


# What the device promises


def _too_large(plan: Blueprint) -> Blueprint:
    return replace(plan, tunnel_mtu=plan.link_mtu)


def _too_large_is(setup: Setup) -> Truth:
    deciding = Deciding("mtu_bytes", int(setup.link_mtu))
    return Truth("overlay.mtu-too-big", "node", deciding=deciding, heals="command")


def _too_large_excluded(setup: Setup) -> str | None:
    if setup.product not in ("wireguard", "vxlan"):
        return "the daemon sets the device's MTU from its own file"
    if setup.below != "none":
        return "a's uplink is a tunnel itself, and promises less than the links below it carry"
    return "the daemon makes a tunnel for each peer" if setup.routes == "per-peer" else None


def _promises_too_much(network: "Network") -> None:
    """Nothing is left of the uplink's packets for the tunnel's own headers."""
    uplink = outside.links(network, network.plan.outer("a"))[outside.leaving(network, "a").device]["mtu"]
    tunnel = outside.links(network, "a")[network.tunnel_to("a", "b")]["mtu"]
    if tunnel < uplink:
        raise NotThereError(f"the MTU of a's tunnel is {tunnel}, that of its uplink {uplink}")


def _older_file(network: "Network") -> None:
    """wg-quick's file has no keepalive and another MTU: it differs from what runs."""
    path = _quick_file(network)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = replace(network.plan, keepalive_s=0, tunnel_mtu=network.plan.tunnel_mtu - 20)
    path.touch(mode=0o600)
    path.write_text(quick_file(old, network.keys, "a", old.tunnels("a")[0]), encoding="ascii")


def _quick_file(network: "Network") -> Path:
    return network.names.etc("a") / "wireguard" / f"{network.tunnel_to('a', network.plan.tunnels('a')[0][0])}.conf"


def _older_file_is(setup: Setup) -> Truth:
    # Which of the two is right is its owner's to say, and nobody here can know it.
    file = Deciding("file", lambda network: f"/etc/wireguard/{_quick_file(network).name}")
    return Truth("overlay.config-drift", "node", deciding=file, warns=True)


def _older_file_excluded(setup: Setup) -> str | None:
    if setup.product != "wireguard":
        return "wg-quick has files of WireGuard only"
    return "only root reads the file" if setup.user != "root" else None


def _differs(network: "Network") -> None:
    """The running tunnel has a keepalive, and the file has none."""
    file, live = _quick_file(network), network.wg("a", "showconf", _quick_file(network).stem)
    said = file.read_text(encoding="ascii") if file.exists() else ""
    if not said or "PersistentKeepalive" in said or "PersistentKeepalive" not in live:
        raise NotThereError("wg-quick has no file of a's tunnel that differs from it")


def _fault(
    name: str,
    part: Part,
    expected: Callable[[Setup], Truth],
    proof: proofs.Proof,
    excluded: Callable[[Setup], str | None],
    *,
    place: Place = _SENDER,
    alone: bool = True,
) -> Fault:
    return Fault(
        name=f"tunnel-{name}",
        summary=part.summary,
        place=place,
        made=lambda setup: (part,),
        expected=expected,
        proof=proof,
        excluded=excluded,
        alone=alone,
    )


FAULTS = (
    _fault("missing", faults.tunnel_missing("a"), _missing_is, proofs.dies("a", "b"), _only_kernel),
    _fault("down", faults.tunnel_down("a"), _down_is, proofs.dies("a", "b"), _one_tunnel),
    _fault(
        "below-ipv6",
        once("a's tunnel has an MTU of 1200, which takes IPv6 off it", "a", f"link set $tunnel mtu {_BELOW_IPV6}"),
        _below_ipv6_is,
        _without_ipv6,
        _below_ipv6_excluded,
    ),
    _fault("down-there", faults.tunnel_down("b"), _down_there_is, proofs.dies("a", "b"), _own_daemon, place=_RECEIVER),
    _fault(
        "smaller-there",
        once("b's tunnel has a smaller MTU than a's", "b", f"link set $tunnel mtu {_SMALLER}"),
        _smaller_there_is,
        _smaller_is_there,
        _smaller_excluded,
        place=_RECEIVER,
        alone=False,
    ),
    _fault(
        "too-large",
        Part("the tunnel's MTU is that of its uplink", shape=_too_large),
        _too_large_is,
        _promises_too_much,
        _too_large_excluded,
    ),
    _fault(
        "older-file",
        Part("a's wg-quick file is older than the running tunnel", inject=_older_file),
        _older_file_is,
        _differs,
        _older_file_excluded,
        alone=False,
    ),
)
