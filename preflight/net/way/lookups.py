"""Route look-ups with everything that a rule may select by: mark, user, protocol, ports, source and device.

pyroute2 0.9 silently leaves out the user, the protocol and the ports of a look-up, so its marshal is only used
with the attributes that it lacks, on a socket that asks nothing else: 0.05 ms for each question.
"""

import errno
import os
import socket
import struct
from contextlib import suppress
from ipaddress import ip_network
from typing import Any, Final

from preflight.model.flow import Flow
from preflight.model.kernel import MAIN_TABLE
from preflight.model.overlay import IPNetwork
from preflight.model.routing import Arrival, Lookup, RouteType, protocol_number

RTM_GETROUTE: Final = 26
NLM_F_REQUEST: Final = 1
RTM_F_LOOKUP_TABLE: Final = 0x1000  # without it the kernel reports every table as the main one
RTM_F_FIB_MATCH: Final = 0x2000
NLMSG_ERROR: Final = 2
ANSWER_BYTES: Final = 65536
PATIENCE_S: Final = 1.0

TYPES: dict[int, RouteType] = {
    1: "unicast",
    2: "local",
    3: "broadcast",
    6: "blackhole",
    7: "unreachable",
    8: "prohibit",
    9: "throw",
}
"""`rtm_type` of linux/rtnetlink.h."""
REFUSALS: dict[int, RouteType] = {
    errno.EINVAL: "blackhole",
    errno.EHOSTUNREACH: "unreachable",
    errno.EACCES: "prohibit",
    errno.ENETUNREACH: "none",
}
"""The kernel answers a refusal by an error, never by a type; rules that refuse give the same."""

_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr
_ERROR: Final = struct.Struct("=i")
_LACKING: Final = (
    ("RTA_PAD", "none"),
    ("RTA_UID", "uint32"),
    ("RTA_TTL_PROPAGATE", "uint8"),
    ("RTA_IP_PROTO", "uint8"),
    ("RTA_SPORT", "be16"),
    ("RTA_DPORT", "be16"),
)
"""The attributes behind RTA_EXPIRES, the last that pyroute2 knows, in the kernel's order."""


class Lookups:
    """One netlink socket for many questions. Raises OSError where the kernel has none."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.settimeout(PATIENCE_S)
        self._number = 0
        self._message = _message_class()

    def __enter__(self) -> "Lookups":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def leaving(self, flow: Flow, bound_to: str | None = None) -> Lookup:
        """What happens to packets of a flow that this node sends. bound_to: the device that the socket is bound to."""
        words = _selectors(flow)
        if bound_to is not None:
            words.append(("RTA_OIF", socket.if_nametoindex(bound_to)))
        try:
            decided = self._ask(flow, words, RTM_F_LOOKUP_TABLE)
            entry = self._ask(flow, words, RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH)
        except OSError as error:
            number = error.errno or errno.EIO
            return Lookup(flow=flow, type=REFUSALS.get(number, "other"), error=os.strerror(number))
        return parse_lookup(flow, decided, entry)

    def arriving(self, flow: Flow) -> Arrival | None:
        """Whether the kernel lets a flow in by `flow.interface_in`; None where it cannot be asked.

        IPv6 has no reverse-path filter, and Linux 6.13 and newer report EINVAL for each reason to drop; before, EXDEV
        was the filter's.
        """
        try:
            device = socket.if_nametoindex(flow.interface_in or "")
        except OSError:
            return None
        try:
            self._ask(flow, [*_selectors(flow), ("RTA_IIF", device)], 0)
        except OSError as error:
            return Arrival(flow=flow, refused=error.errno in (errno.EXDEV, errno.EINVAL))
        return Arrival(flow=flow, refused=False)

    def _ask(self, flow: Flow, attributes: list[tuple[str, Any]], flags: int) -> Any:
        """One answer as pyroute2's message. Raises OSError with the kernel's error."""
        self._number += 1
        message = self._message()
        message["family"] = socket.AF_INET6 if flow.is_ipv6 else socket.AF_INET
        message["dst_len"] = 128 if flow.is_ipv6 else 32
        message["src_len"] = message["dst_len"] if flow.source else 0
        message["flags"] = flags
        message["attrs"] = attributes
        header = {"type": RTM_GETROUTE, "flags": NLM_F_REQUEST, "sequence_number": self._number, "pid": 0}
        message["header"] = header
        message.encode()
        self._socket.sendto(bytes(message.data), (0, 0))
        while True:
            answer = self._socket.recv(ANSWER_BYTES)
            _, kind, _, number, _ = _HEADER.unpack_from(answer)
            if number != self._number:
                continue
            if kind == NLMSG_ERROR:
                code = -_ERROR.unpack_from(answer, _HEADER.size)[0]
                raise OSError(code, os.strerror(code))
            found = self._message(answer)
            found.decode()
            return found


def _selectors(flow: Flow) -> list[tuple[str, Any]]:
    known = (
        ("RTA_DST", flow.destination),
        ("RTA_SRC", flow.source or None),
        ("RTA_MARK", flow.mark or None),
        ("RTA_UID", flow.uid),
        ("RTA_IP_PROTO", protocol_number(flow)),
        ("RTA_SPORT", flow.source_port),
        ("RTA_DPORT", flow.destination_port),
    )
    return [(name, value) for name, value in known if value is not None]


def parse_lookup(flow: Flow, decided: Any, entry: Any) -> Lookup:
    """What will be done, and the entry of a table that says so, from two RTM_NEWROUTE messages."""
    return Lookup(
        flow=flow,
        type=TYPES.get(decided["type"], "other"),
        interface=name_of(decided.get_attr("RTA_OIF")),
        gateway=gateway_of(decided),
        source=decided.get_attr("RTA_PREFSRC"),
        table=entry.get_attr("RTA_TABLE") or MAIN_TABLE,
        matched=network_of(entry, 6 if flow.is_ipv6 else 4),
    )


def gateway_of(message: Any) -> str | None:
    """The gateway of a route, also one of the other family."""
    via = message.get_attr("RTA_VIA")
    found = message.get_attr("RTA_GATEWAY") or (via["addr"] if via else None)
    return str(found) if found else None


def network_of(message: Any, version: int) -> IPNetwork:
    """The destination of a route."""
    default = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - a prefix, nothing is bound
    return ip_network(f"{message.get_attr('RTA_DST') or default}/{message['dst_len']}")


def name_of(index: int | None) -> str | None:
    """An interface's name; None if it has gone since the kernel answered."""
    if index:
        with suppress(OSError):
            return socket.if_indextoname(index)
    return None


def _message_class() -> Any:
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    class Asked(rtmsg):  # type: ignore[misc]
        nla_map = (*rtmsg.nla_map, *_LACKING)

    return Asked
