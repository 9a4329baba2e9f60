"""The one pass that every report goes through before it is rendered: secrets out, addresses and names on request."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from preflight.report.model import Report

GONE = "[redacted]"
MINIMUM_SECRET = 6
"""A shorter value would tear holes into ordinary words; no credential is that short."""

_SECRET_SHAPES = (
    re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),  # a JWT (RFC 7519): its header is JSON in base64url
    re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"),  # user info of a URL (RFC 3986 section 3.2.1)
)
_ADDRESS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|(?<![\w:])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
)


@dataclass
class StandIns:
    """Consistent replacements, in the order of appearance: documentation prefixes (RFC 5737, RFC 3849) and host-N."""

    names: tuple[str, ...] = ()
    given: dict[str, str] = field(default_factory=dict)

    def replace(self, text: str) -> str:
        """The text with every address and known host name replaced."""
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
        return self.given.setdefault(str(address), self._documentation(address))

    def _documentation(self, address: IPv4Address | IPv6Address) -> str:
        addresses = [stand_in for stand_in in self.given.values() if not stand_in.startswith("host-")]
        number = sum(1 for stand_in in addresses if (":" in stand_in) == (address.version == 6)) + 1
        if address.version == 6:
            return f"2001:db8::{number:x}"
        prefix = ("192.0.2", "198.51.100", "203.0.113")[min((number - 1) // 254, 2)]
        return f"{prefix}.{(number - 1) % 254 + 1}"

    def _name(self, text: str) -> str:
        number = sum(1 for stand_in in self.given.values() if stand_in.startswith("host-")) + 1
        return self.given.setdefault(text, f"host-{number}")


def redact(report: Report, secrets: Iterable[str], stand_ins: StandIns | None = None) -> Report:
    """A report without any of the secret values and shapes; with `stand_ins` also without addresses and names."""
    known = sorted({secret for secret in secrets if len(secret) >= MINIMUM_SECRET}, key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in known:
            text = text.replace(secret, GONE)
        for shape in _SECRET_SHAPES:
            text = shape.sub(GONE, text)
        return stand_ins.replace(text) if stand_ins else text

    return Report.model_validate(_walk(report.model_dump(mode="json", by_alias=True), clean))


_FIXED = frozenset({"schema_version", "tool", "started_at", "kernel", "os", "python"})
"""Fields that hold versions and times, which look like addresses and are none."""


def _walk(value: Any, clean: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {key: item if key in _FIXED else _walk(item, clean) for key, item in value.items()}
    if isinstance(value, list):
        return [_walk(item, clean) for item in value]
    return value
