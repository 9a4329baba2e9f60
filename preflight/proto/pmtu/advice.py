"""Which MTU to give a tunnel, from what passes through it: pure. All sizes are IP packets in bytes.

WireGuard pads to blocks (its paper, section 5.4.6), but never beyond the device's MTU. So the largest packet that
passes while that MTU is too big is not the MTU to set: over an underlay of 1380 it is 1312 as long as the MTU is 1420,
but with an MTU of 1320 all its packets pass.
"""

from dataclasses import dataclass

from preflight.model.fix import LinkMtu, LinkMtuByAddress
from preflight.model.overlay import IPV6_EXTRA_BYTES, OverlayState
from preflight.model.remedy import Remedies, heal

BLOCK_BYTES = {"wireguard": 16, "tailscale": 16}
"""Products whose payload is padded, and to what."""


_FRAGMENTING = {"openvpn": 1500}
"""Products that promise this size by default and count on fragments of their own packets; `mssfix` keeps TCP whole."""


@dataclass(frozen=True, slots=True)
class Tunnel:
    """How packets of `mtu` bytes at most are carried: `overhead` is all that the tunnel adds before and after them."""

    mtu: int
    overhead: int
    block: int = 1

    def outer_bytes(self, inner: int) -> int:
        """Size of the underlay packet that carries a packet of `inner` bytes."""
        return self.overhead + max(inner, min(-(-inner // self.block) * self.block, self.mtu))

    def largest_whole(self, underlay_mtu: int) -> int:
        """The largest packet that an underlay of this MTU carries in one piece."""
        room = underlay_mtu - self.overhead
        return self.mtu if room >= self.mtu else room - room % self.block

    def outer_bounds(self, passed: int) -> tuple[int, int]:
        """The smallest and largest underlay MTU under which `passed` is the largest packet that gets through whole."""
        return self.outer_bytes(passed), self.outer_bytes(passed + 1) - 1


def tunnel_of(state: OverlayState, endpoint: str | None) -> Tunnel | None:
    """How a tunnel carries packets to an endpoint, an address; None where its product does not show that."""
    if endpoint is None or state.overhead_bytes is None or state.mtu is None:
        return None
    overhead = state.overhead_bytes + (IPV6_EXTRA_BYTES if ":" in endpoint else 0)
    return Tunnel(state.mtu, overhead, BLOCK_BYTES.get(state.product, 1))


def advise_mtu(passed: int, tunnel: Tunnel | None, underlay_mtu: int = 0) -> int:
    """The MTU to set where at most `passed` bytes get through.

    underlay_mtu: what the kernel or an answer from the other end says about the underlay, 0 = nothing. It counts only
    if it explains exactly this limit; otherwise, and for an unknown tunnel, only the size that passed is proven safe.
    """
    if tunnel is None or underlay_mtu == 0 or tunnel.largest_whole(underlay_mtu) != passed:
        return passed
    return min(tunnel.mtu, underlay_mtu - tunnel.overhead)


_LASTING = {
    "wireguard": "MTU = {mtu} under [Interface]",
    "nebula": "tun: {{mtu: {mtu}}} in /etc/nebula/config.yml",
    "zerotier": '{{"mtu": {mtu}}} for the network, at its controller',
}


def counts_on_fragments(product: str | None, promised: int) -> bool:
    """Whether a tunnel with such an MTU sends its largest packets in fragments on any usual underlay, by its product's
    own choice: then its owner knows that.
    """
    least = _FRAGMENTING.get(product or "")
    return least is not None and promised >= least


def set_mtu_there(name: str, address: str, mtu: int, product: str | None = None) -> Remedies:
    """Another MTU at the peer `name`, for the interface that has its overlay address."""
    return heal(
        lambda: LinkMtuByAddress(address=address, mtu_bytes=mtu), where="peer", host=name, lasting=lasting(product, mtu)
    )


def set_mtu_here(interface: str | None, mtu: int, product: str | None = None) -> Remedies:
    """Another MTU for an interface of this node."""
    return heal(lambda: LinkMtu(interface=interface or "", mtu_bytes=mtu), lasting=lasting(product, mtu))


def lasting(product: str | None, mtu: int) -> str | None:
    """What makes an MTU survive a restart; None where it is not known."""
    known = _LASTING.get(product or "")
    return known.format(mtu=mtu) if known else None
