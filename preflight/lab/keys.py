"""WireGuard keys and the configuration that `wg setconf` reads."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from preflight.lab.blueprint import Blueprint, allowed_ips
from preflight.lab.topology import TUNNEL_PORT, underlay_address
from preflight.model.host_port import join_host_port


@dataclass(frozen=True, slots=True)
class TunnelKeys:
    """A Curve25519 key pair in WireGuard's base64."""

    private: str = field(repr=False)
    public: str

    @classmethod
    def fresh(cls) -> "TunnelKeys":
        """A new pair."""
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        private = X25519PrivateKey.generate()
        return cls(
            base64.b64encode(private.private_bytes_raw()).decode(),
            base64.b64encode(private.public_key().public_bytes_raw()).decode(),
        )


def tunnel_config(plan: Blueprint, keys: Mapping[str, TunnelKeys], node: str) -> str:
    """A node's tunnel, in the format of `wg setconf`."""
    lines = ["[Interface]", f"PrivateKey = {keys[node].private}", f"ListenPort = {TUNNEL_PORT}"]
    for neighbour in plan.topology.neighbours(node):
        lines += [
            "[Peer]",
            f"PublicKey = {keys[neighbour].public}",
            f"AllowedIPs = {', '.join(allowed_ips(plan, node, neighbour))}",
        ]
        if not plan.translated(neighbour):
            lines.append(f"Endpoint = {join_host_port(underlay_address(neighbour, plan.underlay), TUNNEL_PORT)}")
        if plan.keepalive_s:
            lines.append(f"PersistentKeepalive = {plan.keepalive_s}")
    return "\n".join([*lines, ""])
