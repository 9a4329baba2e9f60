"""What a parameter of a fix may be. Each function raises ValueError for anything else; the text names the parameter.

A parameter becomes a word of a command line, a path or a value in a settings file. So none of them can be an option,
start a second line or command, or lead to another file than the one that it names.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import PurePosixPath
from urllib.parse import urlsplit

LONGEST_INTERFACE = 15
"""Bytes of an interface's name (IFNAMSIZ without its zero byte)."""
LONGEST_TEXT = 255
KEY_BYTES = 32
_INTERFACE = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.:@+=-]*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@+-]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_HARDWARE = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_PING_GROUPS = re.compile(r"(\d{1,10}) (\d{1,10})")
_SYSCTLS: Mapping[str, frozenset[str]] = {
    r"net\.ipv4\.conf\.{interface}\.rp_filter": frozenset("12"),
    r"net\.ipv6\.conf\.{interface}\.disable_ipv6": frozenset("0"),
    r"net\.ipv4\.ip_forward": frozenset("1"),
    r"net\.ipv6\.conf\.all\.forwarding": frozenset("1"),
}
_IN_A_SYSCTL = r"[A-Za-z0-9_/][A-Za-z0-9_/:@+=-]{0,14}"
"""An interface's name in the name of a sysctl, where a dot becomes a slash (sysctl.d(5))."""


def interface(name: str) -> None:
    """The name of a network interface."""
    _demand(is_interface(name), f"{name!r} is not an interface")


def is_interface(name: str) -> bool:
    """Whether a network interface can have this name, and a command line can hold it."""
    return bool(_INTERFACE.fullmatch(name)) and name not in (".", "..") and len(name) <= LONGEST_INTERFACE


def within(number: int, least: int, most: int) -> None:
    """A whole number from `least` to `most`."""
    _demand(
        not isinstance(number, bool) and least <= number <= most, f"{number!r} is not a number from {least} to {most}"
    )


def address(text: str) -> None:
    """An IP address without a zone."""
    ip_address(text)
    _plain_address(text)


def hardware(text: str) -> None:
    """An Ethernet address, in small letters."""
    _demand(_HARDWARE.fullmatch(text) is not None, f"{text!r} is not an Ethernet address")


def interface_address(text: str) -> None:
    """An IP address with the length of its network."""
    ip_interface(text)
    _demand("/" in text, f"{text!r} has no length")
    _plain_address(text)


def network(text: str) -> None:
    """A network without host bits; a route's destination."""
    ip_network(text)
    _demand("/" in text, f"{text!r} has no length")
    _plain_address(text)


def networks(texts: Iterable[str]) -> None:
    """At least one network, none twice."""
    known = [ip_network(text) for text in texts]
    for text in texts:
        network(text)
    _demand(bool(known) and len(set(known)) == len(known), "there is no network, or one of them is listed twice")


def endpoint(text: str) -> None:
    """An IP address, in brackets if it is IPv6, and a port."""
    host, _, port = text.rpartition(":")
    _demand(port.isascii() and port.isdecimal(), f"{text!r} has no port")
    within(int(port), 1, 65535)
    bare = host.removeprefix("[").removesuffix("]")
    _demand(host == (f"[{bare}]" if ":" in bare else bare), f"{text!r} is not ADDRESS:PORT")
    address(bare)


def key(text: str) -> None:
    """A WireGuard public key: 32 bytes in base64."""
    _demand(len(text) == 44 and len(b64decode(text, validate=True)) == KEY_BYTES, f"{text!r} is not a key")


def path(text: str) -> None:
    """An absolute path as it is, without a way up, and printable."""
    pure = PurePosixPath(text)
    valid = text.startswith("/") and not text.startswith("//") and text.isprintable() and ".." not in pure.parts
    _demand(valid and str(pure) == text and text != "/", f"{text!r} is not an absolute path of a file")


def url(text: str) -> None:
    """A web URL without user info, query or fragment: what a control URL may be."""
    _demand(text.isascii() and text.isprintable() and " " not in text, f"{text!r} is not a URL")
    parts = urlsplit(text)
    _demand(parts.scheme in ("http", "https") and bool(parts.hostname), f"{text!r} is not a web URL")
    bare = parts.username is None and parts.password is None and not parts.query and not parts.fragment
    _demand(bare and parts.port != 0 and re.search(r"[\"'\\`$<>|;&{}]", text) is None, f"{text!r} is not a plain URL")


def text_value(text: str) -> None:
    """One printable line, such as the id of a scope."""
    _demand(bool(text) and text.isprintable() and len(text) <= LONGEST_TEXT, f"{text!r} is not one line of text")


def host(text: str) -> None:
    """A host's name or address, as it is in NO_PROXY."""
    if ":" in text:
        address(text)
    else:
        _demand(_HOST.fullmatch(text) is not None and len(text) <= LONGEST_TEXT, f"{text!r} is not a host")


def whole(text: str) -> None:
    """A positive number in decimal digits."""
    _demand(text.isascii() and text.isdecimal() and 0 < int(text) < 2**31, f"{text!r} is not a positive number")


def name(text: str) -> None:
    """The name of an nftables table or chain."""
    _demand(_NAME.fullmatch(text) is not None and len(text) <= LONGEST_TEXT, f"{text!r} is not a name")


def word(text: str) -> None:
    """One word without any sign that a shell reads."""
    _demand(_WORD.fullmatch(text) is not None and len(text) <= LONGEST_TEXT, f"{text!r} is not one word")


def zerotier_network(text: str) -> None:
    """The number of a ZeroTier network."""
    _demand(re.fullmatch(r"[0-9a-f]{16}", text) is not None, f"{text!r} is not the number of a ZeroTier network")


def one_of(text: str, allowed: Iterable[str]) -> None:
    """One of a few words."""
    _demand(text in tuple(allowed), f"{text!r} does not fit here")


def sysctl(name: str, value: str) -> None:
    """A kernel setting that a fix may change, and a value that it may get."""
    if name == "net.ipv4.ping_group_range":
        groups = _PING_GROUPS.fullmatch(value)
        _demand(groups is not None and int(groups[1]) <= int(groups[2]) < 2**31, f"{value!r} is not a range of groups")
        return
    allowed = next(
        (
            values
            for pattern, values in _SYSCTLS.items()
            if re.fullmatch(pattern.replace("{interface}", _IN_A_SYSCTL), name)
        ),
        frozenset[str](),
    )
    _demand(value in allowed, f"{name!r} = {value!r} is not a setting that a fix may make")


def _plain_address(text: str) -> None:
    # A zone may hold anything.
    _demand(text.isascii() and "%" not in text, f"{text!r} has a zone")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
