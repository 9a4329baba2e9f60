"""`HOST:PORT` as text: one way to write it, one way to read it."""


def bracketed(host: str) -> str:
    """A host as it is written in front of a colon and a port: an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def join_host_port(host: str, port: int) -> str:
    """`HOST:PORT`, or `[V6]:PORT` for an IPv6 address."""
    return f"{bracketed(host)}:{port}"


def split_host_port(text: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[V6]:PORT`; the host is returned without brackets and is not checked further.

    With a default port, `HOST`, `[V6]` and a bare IPv6 address are accepted too. Without one, the last colon separates
    the port, so `::1:9847` is port 9847 of `::1`. Raises ValueError for anything else and for a port beyond 65535.
    """
    host, _, port = text.rpartition(":")
    alone = ":" not in text or text.endswith("]") or (text.count(":") > 1 and "]" not in text)
    if alone and default_port is not None:
        host, port = text, str(default_port)
    inner = host.removeprefix("[").removesuffix("]")
    balanced = host.startswith("[") == host.endswith("]")
    if not inner or inner != inner.strip() or not balanced:
        raise ValueError(f"{text!r} has no host in front of its port")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise ValueError(f"{text!r} has no port from 0 to 65535")
    return inner, int(port)
