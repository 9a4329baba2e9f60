"""The kernel's IPsec policies of this network namespace. Only root may read them."""

import socket
import struct

from preflight.model.ipsec import IpsecPolicy
from preflight.proto.way.ipsec import parse_policy

NETLINK_XFRM, GET_POLICY, NEW_POLICY = 6, 0x15, 0x13
_REQUEST, _DUMP, _DONE, _ERROR = 0x1, 0x300, 3, 2
_HEADER = struct.Struct("=IHHII")
_BODY_BYTES = 64
_BUFFER = 1 << 17
_ANSWER_S = 0.5
MOST = 4096


def read_policies() -> tuple[IpsecPolicy, ...]:
    """All of them; none where the kernel has no IPsec, or does not let this user look."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM) as asking:
            asking.settimeout(_ANSWER_S)
            request = _HEADER.pack(_HEADER.size + _BODY_BYTES, GET_POLICY, _REQUEST | _DUMP, 1, 0)
            asking.send(request + bytes(_BODY_BYTES))
            return tuple(_answers(asking))
    except OSError:
        return ()


def _answers(asking: socket.socket) -> list[IpsecPolicy]:
    found: list[IpsecPolicy] = []
    while len(found) < MOST:
        data = asking.recv(_BUFFER)
        while len(data) >= _HEADER.size:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind in (_DONE, _ERROR) or length < _HEADER.size:
                return found
            if kind == NEW_POLICY and (policy := parse_policy(data[_HEADER.size : length])) is not None:
                found.append(policy)
            data = data[(length + 3) & ~3 :]
    return found
