"""The one pass that everything goes through before it leaves: secrets out, addresses and names on request."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from typing import Any

from preflight.proto.forms import forms
from preflight.report.model import Report

GONE = "[redacted]"
MINIMUM_SECRET = 6
"""A shorter value would tear holes into ordinary words; no credential is that short."""

_SHAPES = {
    "bearer": re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    # A JWT (RFC 7519): its header is JSON in base64url.
    "jwt": re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    # User info of a URL (RFC 3986 section 3.2.1).
    "url-user": re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"),
    "pem": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    "key": re.compile(
        r"(?i)(?<=private|eshared)([ _]?key[\"']? *[=:] *[\"']?)(?!\(hidden\)|\(none\))[A-Za-z0-9+/]{20,}={0,2}"
    ),
}
_RAW_SHAPES = {
    "variable": re.compile(r"\b([A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|API_KEY)[A-Z0-9_]*[\"']? *[=:] *[\"']?)[^\s\"',}]+"),
    "home": re.compile(r"((?:/home|/Users)/)[^/\s:\"']+"),
}
"""What belongs to raw files: in a report's own sentences it would spoil a line to paste."""
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
)
_MAC = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")
_STAND_IN_MAC = "00:00:5e:00:53:"
"""For documentation (RFC 7042 section 2.1.2)."""
_DOCUMENTATION = tuple(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")))
"""RFC 5737, and for more than 762 addresses the benchmark range of RFC 2544."""


@dataclass
class StandIns:
    """Consistent replacements, in the order of appearance: documentation prefixes (RFC 5737, RFC 3849) and host-N."""

    names: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)
    replaced: int = 0
    _counts: Counter[int] = field(default_factory=Counter)

    def replace(self, text: str) -> str:
        """The text with every IP and MAC address and known host name replaced; `replaced` counts them."""
        text = _MAC.sub(lambda match: self._mac(match.group().lower()), text)
        text = _ADDRESS.sub(lambda match: self._address(match.group()), text)
        for name in sorted(filter(None, self.names), key=len, reverse=True):
            whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w-]|\.\w)")
            text = whole.sub(lambda match: self._name(match.group()), text)
        return text

    def _address(self, text: str) -> str:
        try:
            address = ip_address(text)
        except ValueError:
            return text
        if address.is_loopback or address.is_unspecified:
            return text
        self.replaced += 1
        if str(address) not in self.given:
            self.given[str(address)] = self._documentation(address)
        return self.given[str(address)]

    def _documentation(self, address: IPv4Address | IPv6Address) -> str:
        self._counts[address.version] += 1
        number = self._counts[address.version]
        if address.version == 6:
            return f"2001:db8::{number:x}"
        for network in _DOCUMENTATION:
            if number < network.num_addresses - 1:
                return str(network[number])
            number -= network.num_addresses - 2
        return "192.0.2.255"

    def _mac(self, text: str) -> str:
        if text in ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"):
            return text
        self.replaced += 1
        if text not in self.given:
            self._counts[48] += 1
            self.given[text] = f"{_STAND_IN_MAC}{self._counts[48] % 256:02x}"
        return self.given[text]

    def _name(self, text: str) -> str:
        self.replaced += 1
        if text not in self.given:
            self._counts[0] += 1
            self.given[text] = f"host-{self._counts[0]}"
        return self.given[text]


class Redactor:
    """Takes known secrets and what looks like one out of any text, and keeps account of what was taken out where.

    secrets: the values that this run knows. stand_ins: also replace addresses and names. Ledger: (file, kind) to count.
    """

    def __init__(self, secrets: Iterable[str], stand_ins: StandIns | None = None) -> None:
        written = {form for secret in secrets if len(secret) >= MINIMUM_SECRET for form in forms(secret)}
        self._known = sorted(written, key=len, reverse=True)
        self._stand_ins = stand_ins
        self.ledger: Counter[tuple[str, str]] = Counter()

    def text(self, text: str, where: str = "report") -> str:
        """A sentence of a report without secrets."""
        for secret in self._known:
            if count := text.count(secret):
                self.ledger[where, "secret"] += count
                text = text.replace(secret, GONE)
        for kind, shape in _SHAPES.items():
            text = self._shape(kind, shape, text, where)
        return self._replaced(text, where)

    @property
    def stand_in(self) -> "Callable[[str], str] | None":
        """What replaces an address, where stand-ins were asked for."""
        return self._stand_ins.replace if self._stand_ins else None

    def know(self, names: Iterable[str]) -> None:
        """Replace these names of hosts too from now on, where stand-ins were asked for."""
        if self._stand_ins:
            self._stand_ins.names = tuple(dict.fromkeys((*self._stand_ins.names, *names)))

    def raw(self, text: str, where: str) -> str:
        """A file of raw evidence: also without assignments of secret variables, and without users' names in paths."""
        for kind, shape in _RAW_SHAPES.items():
            text = self._shape(kind, shape, text, where)
        return self.text(text, where)

    def report(self, report: Report, *, homes: bool = False) -> Report:
        """The report without secrets, and with stand-ins where they were asked for.

        homes: also without users' names in paths, which spoils a line to paste here, and nowhere else.
        """

        def clean(text: str) -> str:
            return self.text(self._shape("home", _RAW_SHAPES["home"], text, "report") if homes else text)

        return Report.model_validate(_walk(report.model_dump(mode="json", by_alias=True), clean))

    def _shape(self, kind: str, shape: re.Pattern[str], text: str, where: str) -> str:
        gone = "user" if kind == "home" else GONE
        text, count = shape.subn(lambda match: (match.group(1) if shape.groups else "") + gone, text)
        if count:
            self.ledger[where, kind] += count
        return text

    def _replaced(self, text: str, where: str) -> str:
        if self._stand_ins is None:
            return text
        before = self._stand_ins.replaced
        text = self._stand_ins.replace(text)
        if self._stand_ins.replaced > before:
            self.ledger[where, "address or name"] += self._stand_ins.replaced - before
        return text


_FIXED = frozenset({"schema_version", "tool", "started_at", "kernel", "os", "python"})
"""Fields that hold versions and times, which look like addresses and are none."""


_FREE = frozenset({"data", "measurements"})
"""Fields whose own keys may come from somebody else: an address, a host, a line of a file."""


def _walk(value: Any, clean: Callable[[str], str], *, free: bool = False) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {
            clean(key) if free else key: item if key in _FIXED else _walk(item, clean, free=free or key in _FREE)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_walk(item, clean, free=free) for item in value]
    return value
