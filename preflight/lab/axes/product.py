"""What carries the overlay, and the families of the addresses in it."""

from preflight.lab.axes.axis import Axis, Value
from preflight.lab.part import planned

AXES = {
    "product": Axis(
        "What carries the overlay?",
        {
            "wireguard": Value("WireGuard, the kernel's or wireguard-go"),
            "vxlan": Value("VXLAN", (planned("VXLAN", product="vxlan", tunnel_mtu=1400),)),
            "nebula": Value("Nebula", (planned("Nebula", product="nebula", tunnel_mtu=1300),)),
            "openvpn": Value("OpenVPN", (planned("OpenVPN", product="openvpn", tunnel_mtu=1300),)),
        },
    ),
    "families": Axis(
        "Which addresses does the overlay have?",
        {
            "both": Value("IPv4 and IPv6"),
            "ipv4": Value("IPv4 only", (planned("an overlay with IPv4 only", families=(4,)),)),
            "ipv6": Value("IPv6 only", (planned("an overlay with IPv6 only", families=(6,)),)),
        },
    ),
}
