"""WireGuard keys and the configuration that `wg setconf` reads."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from preflight.lab.blueprint import Blueprint, allowed_ips
from preflight.lab.topology import underlay_address
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


def tunnel_config(
    plan: Blueprint, keys: Mapping[str, TunnelKeys], node: str, peers: Sequence[str] | None = None
) -> str:
    """A node's tunnel to some peers, or its only one, in the format of `wg setconf`."""
    peers = plan.neighbours(node) if peers is None else peers
    lines = ["[Interface]", f"PrivateKey = {keys[node].private}", f"ListenPort = {plan.listen_port(node, peers[0])}"]
    for neighbour in peers:
        endpoint = join_host_port(underlay_address(neighbour, plan.underlay), plan.listen_port(neighbour, node))
        lines += [
            "[Peer]",
            f"PublicKey = {keys[neighbour].public}",
            f"AllowedIPs = {', '.join(allowed_ips(plan, node, neighbour))}",
        ]
        if not plan.translated(neighbour):
            lines.append(f"Endpoint = {endpoint}")
        if plan.keepalive_s:
            lines.append(f"PersistentKeepalive = {plan.keepalive_s}")
    return "\n".join([*lines, ""])
