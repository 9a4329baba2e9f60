"""Consistent pseudonyms for what identifies a site: addresses, keys, and the names of hosts.

Each keeps its form, so that a command stays valid: an address is an address, a key has the length of a key and is
a small number, a MAC address is one for documentation (RFC 9542 section 2.1.2) or, beyond 256 of them, a locally
administered one, a host is `host-N`. Numbers follow the order of appearance. Pure.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from preflight.model.overlay import IPNetwork
from preflight.report.addresses import AddressPseudonyms, IPAddress
from preflight.report.names import Names

_PATTERN = re.compile(
    r"(?P<arpa>(?<![0-9A-Za-z])(?:(?:\d{1,3}\.){1,4}in-addr|(?:[0-9A-Fa-f]\.){5,32}ip6)\.arpa\b)"
    # 32 bytes in base64: a WireGuard key, an SSH fingerprint.
    r"|(?P<base64>(?<![0-9A-Za-z+/=])[0-9A-Za-z+/]{42}[AEIMQUYcgkosw048]=(?![0-9A-Za-z+/=])"
    r"|(?<=SHA256:)[0-9A-Za-z+/]{43}(?![0-9A-Za-z+/=]))"
    # A Tailscale key, a Nebula fingerprint, a WireGuard key on its socket, a ZeroTier identity.
    r"|(?P<hex>(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{128}|[0-9A-Fa-f]{64})(?![0-9A-Za-z])|(?<=key:)[0-9a-f]{8,63}(?![0-9A-Za-z]))"
    # A ZeroTier node address or network; only digits is a number, only letters a word.
    r"|(?P<zerotier>(?<![0-9A-Za-z.])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{10}(?:[0-9a-f]{6})?(?![0-9A-Za-z]))"
    r"|(?P<mac>(?<![0-9A-Za-z-])[0-9A-Fa-f]{2}(?:-[0-9A-Fa-f]{2}){5}(?![0-9A-Za-z-])"
    r"|(?<![0-9A-Za-z.])[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}(?![0-9A-Za-z.]))"
    # An IPv6 or MAC address, or a fingerprint: try each.
    r"|(?P<colons>(?<![0-9A-Za-z])(?P<run>(?:[0-9A-Fa-f]{0,4}+:){2,}+[0-9A-Fa-f]{0,4}+(?:\.\d{1,3}){0,3}+)(?P<long>/\d{1,3})?)"
    r"|(?P<dots>(?<![0-9Vv.])(?P<quad>\d{1,3}+(?:\.\d{1,3}+){3})(?!\.?\d)(?P<length>/\d{1,2}(?![\d.]))?)"
)
_MAC = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}(?![0-9A-Fa-f])")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){15,}")
_MOST_REMEMBERED = 50_000


class Pseudonyms:
    """names: host names that texts may contain; `know` adds more. `replaced` counts the replacements."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._addresses = AddressPseudonyms()
        self._names = Names(names)
        self._numbers: dict[str, dict[bytes, int]] = {}
        self._known: dict[tuple[str | None, str], str] = {}
        """What was found, by its kind, to its pseudonym: that never changes."""
        self._bare: set[str] = set()
        """Texts in which nothing of the pattern is: they need no second look."""
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """How often anything was replaced."""
        return self._replaced + self._names.replaced

    def know(self, names: Iterable[str]) -> None:
        """Replace these names too from now on."""
        self._names.know(names)

    def learn(self, texts: Iterable[str]) -> None:
        """Register the networks in all texts: best before replacing an address in one of them."""
        found: dict[tuple[str, str | None], None] = {}
        for text in texts:
            runs = [(m["run"] or m["quad"], m["long"] or m["length"]) for m in _PATTERN.finditer(text)]
            found.update(dict.fromkeys(runs))
            if not runs and len(self._bare) < _MOST_REMEMBERED:
                self._bare.add(text)
        networks: list[tuple[IPNetwork, bool]] = []
        for run, length in found:
            _, address, _ = _address_in(run) if length else ("", None, "")
            if address and (network := _network(address, length)):
                networks.append((network, network.network_address != address))
        self._addresses.learn(networks)

    def replace(self, text: str) -> str:
        """The text with every address, key and known name replaced; `learn` it before."""
        return self._names.replace(text if text in self._bare else _PATTERN.sub(self._found, text))

    def replaced_in(self, texts: Iterable[str]) -> tuple[list[str], int]:
        """The same for many texts, and the number of replacements; a text that comes again is read once."""
        began, again, known = self.replaced, 0, dict[str, tuple[str, int]]()
        clean: list[str] = []
        for text in texts:
            if text in known:
                again += known[text][1]
            else:
                before = self.replaced
                replaced = self.replace(text)
                known[text] = replaced, self.replaced - before
            clean.append(known[text][0])
        self._replaced += again
        return clean, self.replaced - began

    def _found(self, match: re.Match[str]) -> str:
        text, kind = match[0], match.lastgroup
        if (pseudonym := self._known.get((kind, text))) is None:
            try:
                pseudonym = str(getattr(self, f"_{kind}")(match))
            except ValueError:  # looks like one but is not: an octet of 999
                pseudonym = text
            self._known[kind, text] = pseudonym
        self._replaced += pseudonym != text
        return pseudonym

    def _colons(self, match: re.Match[str]) -> str:
        run = match["run"]
        if _FINGERPRINT.fullmatch(run):
            return self._key(bytes.fromhex(run.replace(":", ""))).hex(":")
        if _MAC.fullmatch(run):
            return self._hardware(run)
        if _address_in(run)[1] is None:
            return _MAC.sub(lambda mac: self._hardware(mac[0]), match[0])
        return self._address(run, match["long"])

    def _dots(self, match: re.Match[str]) -> str:
        return self._address(match["quad"], match["length"])

    def _address(self, run: str, length: str | None) -> str:
        """An address with the text around it, and its prefix length."""
        before, address, behind = _address_in(run)
        if address is None:
            raise ValueError(run)
        network = _network(address, length)
        if network and network.network_address == address:
            pseudonym: IPAddress = self._addresses.network(network).network_address
        else:
            pseudonym = self._addresses.address(address)
        mapped = pseudonym.ipv4_mapped if isinstance(pseudonym, IPv6Address) else None
        return f"{before}{f'::ffff:{mapped}' if mapped else pseudonym}{behind}{length or ''}"

    def _arpa(self, match: re.Match[str]) -> str:
        """The name of an address or network in the reverse tree (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
        *labels, family, _ = match[0].lower().split(".")
        base, bits, kind = (10, 8, IPv4Network) if family == "in-addr" else (16, 4, IPv6Network)
        whole = 32 if base == 10 else 128
        length = len(labels) * bits
        number = sum(int(label, base) << place * bits for place, label in enumerate(labels))
        network = kind((number << whole - length, length))
        number = int(self._addresses.network(network).network_address) >> whole - length
        parts = [(number >> place * bits) & (1 << bits) - 1 for place in range(len(labels))]
        return ".".join([*(f"{part:x}" if base == 16 else str(part) for part in parts), family, "arpa"])

    def _base64(self, match: re.Match[str]) -> str:
        return b64encode(self._key(b64decode(match[0].ljust(44, "=")))).decode()[: len(match[0])]

    def _hex(self, match: re.Match[str]) -> str:
        digits = match[0]
        return self._key(bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))).hex()[-len(digits) :]

    def _zerotier(self, match: re.Match[str]) -> str:
        """A node's address, or the address of a network's controller with a number."""
        node, network = match[0][:10], match[0][10:]
        pseudonym = f"{self._number('zerotier', node.encode()):010x}"
        return pseudonym + (f"{self._number('zerotier network', match[0].encode()):06x}" if network else "")

    def _mac(self, match: re.Match[str]) -> str:
        return self._hardware(match[0])

    def _hardware(self, text: str) -> str:
        """A MAC address, in the form in which it is written."""
        digits = re.sub("[^0-9A-Fa-f]", "", text).lower()
        if digits in ("0" * 12, "f" * 12):
            return text
        number = self._number("mac", digits.encode())
        pseudonym = f"00005e0053{number:02x}" if number < 256 else f"02{number:010x}"
        sign, step = (".", 4) if "." in text else (text[2], 2)
        return sign.join(pseudonym[at : at + step] for at in range(0, 12, step))

    def _key(self, key: bytes) -> bytes:
        """The pseudonym of a key in any notation; a key of zeros stays."""
        return self._number("key", key).to_bytes(len(key), "big") if any(key) else key

    def _number(self, kind: str, value: bytes) -> int:
        known = self._numbers.setdefault(kind, {})
        return known.setdefault(value, len(known) + 1)


def _address_in(run: str) -> tuple[str, IPAddress | None, str]:
    """The address in a run of digits, and the text before and after it: a port, the colon of a sentence."""
    if ":" not in run and run:
        run = ".".join(str(int(part)) for part in run.split("."))
    bare = run.rstrip(".:")
    ends = dict.fromkeys((len(run), len(bare), bare.rfind(":")))
    for begin, end in ((begin, end) for begin in (0, run.find(":") + 1) for end in ends):
        try:
            return run[:begin], ip_address(run[begin:end]), run[end:]
        except ValueError:
            continue
    return run, None, ""


def _network(address: IPAddress, length: str | None) -> IPNetwork | None:
    if not length or int(length[1:]) > address.max_prefixlen:
        return None
    return ip_network((address, int(length[1:])), strict=False)
