"""Stand-ins for the names of hosts: by themselves, with a domain, in capitals, and as a part of longer names. Pure."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w[\w-]*(?:\.[\w-]+)*")
_PART = re.compile(r"([-_.])")
_JOINED = 4
"""Characters of a name from which on its case does not matter, and it is found in longer ones, as in `wg-alice`."""
_SHORT = 3
"""Characters of a first label from which on it is taken for its host."""
_LONGEST = 253
"""Characters of a name (RFC 1035 section 2.3.4); a longer word is none, and may be a million of dots."""
_SUFFIXES = frozenset(("conf", "crt", "json", "key", "log", "pcap", "pem", "service", "toml", "txt", "yaml", "yml"))
"""What stands behind a name in that of a file; anything else is a domain."""
_VOCABULARY = frozenset(
    ("node", "control", "localhost", "preflight", "populi", "wireguard", "tailscale", "zerotier", "nebula")
)
"""Words of our own, whatever a host is called."""


class Names:
    """`host-N` for each host, in the order of appearance; `replaced` counts."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.replaced = 0
        self._hosts: dict[str, str] = {}
        """By a name the host that it is of, called by one of its names."""
        self._joined: dict[str, str] = {}
        """The same by names that are found in longer ones, with hyphens for dots and underscores, as ids write them."""
        self._claimed: set[str] = set()
        self._domains: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._most_parts = 1
        self._odd: re.Pattern[str] | None = None
        self.know(names)

    def know(self, names: Iterable[str]) -> None:
        """Replace these names, and their short and long forms, from now on."""
        for name in filter(None, names):
            key = _key(name.rstrip("."))
            if key.lower() in _VOCABULARY or not re.search(r"[^\W\d]|-", key):
                continue
            short, _, domain = key.partition(".")
            self._hosts.setdefault(key, self._host(key, short if domain else ""))
            if domain and len(short) >= _SHORT and short not in _VOCABULARY:
                self._hosts.setdefault(short, self._hosts[key])
            if "." in domain:
                self._domains.add(domain)
            self._most_parts = max(self._most_parts, len(_PART.split(key)))
        self._joined = {_PART.sub("-", n.lower()): host for n, host in self._hosts.items() if len(n) >= _JOINED}
        odd = sorted((name for name in self._hosts if not _WORD.fullmatch(name)), key=len, reverse=True)
        self._odd = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, odd))})(?!\w)", re.IGNORECASE) if odd else None

    def _host(self, name: str, short: str) -> str:
        """A name with a domain is that of the host with its short name, unless another has claimed that."""
        if self._hosts.get(short) != short or short in self._claimed:
            return name
        self._claimed.add(short)
        return short

    def replace(self, text: str) -> str:
        """The text with every known name replaced."""
        if not self._hosts:
            return text
        if self._odd:
            text = self._odd.sub(lambda match: self._stand_in(self._hosts[_key(match[0])]), text)
        return _WORD.sub(lambda match: self._word(match[0]), text)

    def _word(self, word: str) -> str:
        key = _key(word)
        if host := self._hosts.get(key):
            return self._stand_in(host)
        label, _, rest = key.partition(".")
        host = self._hosts.get(label) if rest else None
        if host and rest in _SUFFIXES:
            return f"{self._stand_in(host)}.{rest}"
        if host or (len(key) <= _LONGEST and self._in_domain(key)):
            return self._stand_in(host or key)
        return self._parts(word)

    def _in_domain(self, key: str) -> bool:
        while key and key not in self._domains:
            key = key.partition(".")[2]
        return bool(key)

    def _parts(self, word: str) -> str:
        """The word with each known name in it replaced that stands between hyphens, underscores or dots."""
        parts, told, at = _PART.split(word), [], 0
        while at < len(parts):
            for end in range(min(at + self._most_parts, len(parts)), at, -2):
                name = "".join(parts[at:end]).lower()
                if host := self._joined.get(_PART.sub("-", name)):
                    told.append(self._stand_in(host))
                    break
            else:
                end = at + 1
                told.append(parts[at])
            told += parts[end : end + 1]
            at = end + 1
        return "".join(told)

    def _stand_in(self, host: str) -> str:
        self.replaced += 1
        return f"host-{self._numbers.setdefault(host, len(self._numbers) + 1)}"


def _key(name: str) -> str:
    """Names of hosts know no case (RFC 4343), but a short one may be a letter of a text."""
    return name.lower() if len(name) >= _JOINED else name
