"""What a product knows of the NAT before this node, and of whether its UDP gets out, as plain data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnNat:
    """Each is None where the product does not know it. by: who says so.

    udp: its UDP gets out and answers come back. hard: the NAT gives each destination another port. translated: there is
    a NAT at all. port_mapping: the router maps a port when it is asked (UPnP, NAT-PMP, PCP). punches: the product sends
    packets that open a way in this NAT; file: where that is set. forced: the setting by which it sends nothing by UDP.
    barred: networks to whose addresses it is set to use no path.
    """

    by: str
    udp: bool | None = None
    hard: bool | None = None
    translated: bool | None = None
    port_mapping: bool | None = None
    punches: bool | None = None
    file: str | None = None
    forced: str | None = None
    barred: tuple[str, ...] = ()
