"""Further overlays next to the recorded product: a WireGuard tunnel that both nodes show, a VXLAN, and their rules."""

from collections.abc import Sequence
from dataclasses import replace

from tests.overlay.replay.world import Node, World, text_of, wait_for

NAME, PORT, MARK = "wg0", 51820, "51820"
OURS, THEIRS = "10.99.0.1", "10.99.0.2"
FULL = ("0.0.0.0/0",)


def add_wireguard(there: World, *more: str) -> None:
    """wg0 on both nodes, and a responder at its remote end. more: further networks that a sends to b."""
    keys = {node.underlay: text_of(["wg", "genkey"]) for node in (there.a, there.b)}
    for node, other, own, its in ((there.a, there.b, OURS, THEIRS), (there.b, there.a, THEIRS, OURS)):
        device = replace(node, device=NAME, addresses=(own,))
        device.start("wireguard-go", "-f", NAME)
        wait_for(device)
        allowed = [f"{its}/32", *(more if node is there.a else ())]
        _set_up(device, keys[node.underlay], text_of(["wg", "pubkey"], keys[other.underlay]), other.underlay, allowed)
        node.run("ip", "address", "add", f"{own}/24", "dev", NAME)
        node.run("ip", "link", "set", NAME, "mtu", "1420", "up")
    there.respond(THEIRS)


def _set_up(node: Node, private: str, public: str, endpoint: str, allowed: Sequence[str]) -> None:
    lines = ["[Interface]", f"PrivateKey={private}", f"ListenPort={PORT}", "[Peer]", f"PublicKey={public}"]
    lines += [f"AllowedIPs={','.join(allowed)}", f"Endpoint={endpoint}:{PORT}", ""]
    node.run("wg", "setconf", NAME, "/dev/stdin", stdin="\n".join(lines))


VXLAN_THEIRS = "10.55.0.2"


def add_vxlan(there: World) -> None:
    """vx0 on both nodes, and a responder at its remote end."""
    for node, other, own in ((there.a, there.b, "10.55.0.1"), (there.b, there.a, VXLAN_THEIRS)):
        kind = ("type", "vxlan", "id", "7", "remote", other.underlay, "dstport", "4789", "dev", "eth0")
        node.run("ip", "link", "add", "vx0", *kind)
        node.run("ip", "address", "add", f"{own}/24", "dev", "vx0")
        node.run("ip", "link", "set", "vx0", "mtu", "1370", "up")
    there.respond(VXLAN_THEIRS)


def tailscale_rules(node: Node) -> None:
    """The daemon's own on Linux: its packets have a mark and pass, and its peers' routes are in a separate table."""
    for priority, table in (("5210", "main"), ("5230", "default")):
        node.run("ip", "rule", "add", "pref", priority, "fwmark", "0x80000/0xff0000", "lookup", table)
    node.run("ip", "rule", "add", "pref", "5250", "fwmark", "0x80000/0xff0000", "unreachable")
    node.run("ip", "rule", "add", "pref", "5270", "lookup", "52")
    for line in node.run("ip", "-4", "route", "show", "dev", "tailscale0").splitlines():
        peer = line.split()[0]
        node.run("ip", "route", "del", peer, "dev", "tailscale0")
        node.run("ip", "route", "add", peer, "dev", "tailscale0", "table", "52")


def full_tunnel(node: Node, priority: int) -> None:
    """What wg-quick does for AllowedIPs with 0.0.0.0/0; its rules go to the place that the kernel gives them."""
    node.run("wg", "set", NAME, "fwmark", MARK)
    node.run("ip", "route", "replace", "default", "dev", NAME, "table", MARK)
    node.run("ip", "rule", "add", "pref", str(priority), "not", "fwmark", MARK, "lookup", MARK)
    node.run("ip", "rule", "add", "pref", str(priority - 1), "lookup", "main", "suppress_prefixlength", "0")
