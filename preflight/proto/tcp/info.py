"""The kernel's `struct tcp_info` (linux/tcp.h), as getsockopt gives it: a table of places, without I/O."""

import struct

from preflight.model.tcp import TcpInfo

SIZE = 232
"""Up to `tcpi_snd_wnd`; what an older kernel leaves out reads as 0."""

_BYTE = struct.Struct("=B")
_COUNT = struct.Struct("=I")
_BYTES = struct.Struct("=Q")
_TIMESTAMPS = 1  # TCPI_OPT_TIMESTAMPS

_TIMEOUTS_AT, _OPTIONS_AT = 2, 5
_COUNTS = {
    "snd_mss": 16,
    "rcv_mss": 20,
    "unacked": 24,
    "sacked": 28,
    "lost": 32,
    "pmtu": 60,
    "rtt_us": 68,
    "advmss": 84,
    "retransmitted": 100,
    "out_of_order": 224,
}
_TOTALS = {"acked": 120, "received": 128}


def decode(data: bytes) -> TcpInfo:
    """Read the structure; fields that are missing at its end are 0."""
    whole = data.ljust(SIZE, b"\0")
    (timeouts,), (options,) = _BYTE.unpack_from(whole, _TIMEOUTS_AT), _BYTE.unpack_from(whole, _OPTIONS_AT)
    counts = {name: int(_COUNT.unpack_from(whole, place)[0]) for name, place in _COUNTS.items()}
    totals = {name: int(_BYTES.unpack_from(whole, place)[0]) for name, place in _TOTALS.items()}
    return TcpInfo(**counts, **totals, timeouts=timeouts, timestamps=bool(options & _TIMESTAMPS))
