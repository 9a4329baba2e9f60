"""Pseudonyms for the names of hosts: alone, with a domain, in capitals, and as a part of longer names. Pure."""

import re
from collections.abc import Iterable

_WORD = re.compile(r"\w[\w-]*(?:\.[\w-]+)*")
_PART = re.compile(r"([-_.])")
_JOINED = 4
"""Minimum length of a name to ignore case, and to find it inside longer ones, as in `wg-alice`."""
_SHORT = 3
"""Minimum length of a first label to treat it as the host's name."""
_LONGEST = 253
"""Characters of a name (RFC 1035 section 2.3.4); a longer word is not a name; it may be a million dots."""
_MOST_REMEMBERED = 50_000
_SUFFIXES = frozenset(("conf", "crt", "json", "key", "log", "pcap", "pem", "service", "toml", "txt", "yaml", "yml"))
"""Suffixes that follow a name in a file name; any other is a domain."""
_VOCABULARY = frozenset(
    ("node", "control", "localhost", "preflight", "populi", "wireguard", "tailscale", "zerotier", "nebula")
)
"""Our own words, even if a host has such a name."""


class Names:
    """`host-N` for each host, in the order of appearance; `replaced` counts."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.replaced = 0
        self._hosts: dict[str, str] = {}
        """Name to host; a host is identified by one of its names."""
        self._joined: dict[str, str] = {}
        """The same for names found inside longer ones, with hyphens for dots and underscores, as ids write them."""
        self._claimed: set[str] = set()
        self._domains: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._words: dict[str, tuple[str, int]] = {}
        """A word without names, and the number of names in it: reports repeat their words."""
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
        self._words.clear()
        self._joined = {_PART.sub("-", n.lower()): host for n, host in self._hosts.items() if len(n) >= _JOINED}
        odd = sorted((name for name in self._hosts if not _WORD.fullmatch(name)), key=len, reverse=True)
        self._odd = re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, odd))})(?!\w)", re.IGNORECASE) if odd else None

    def _host(self, name: str, short: str) -> str:
        """A name with a domain belongs to the host with that short name, unless another host has claimed it."""
        if self._hosts.get(short) != short or short in self._claimed:
            return name
        self._claimed.add(short)
        return short

    def replace(self, text: str) -> str:
        """The text with every known name replaced."""
        if not self._hosts:
            return text
        if self._odd:
            text = self._odd.sub(lambda match: self._pseudonym(self._hosts[_key(match[0])]), text)
        return _WORD.sub(lambda match: self._word(match[0]), text)

    def _word(self, word: str) -> str:
        known = self._words.get(word)
        if known is not None:
            self.replaced += known[1]
            return known[0]
        before = self.replaced
        text = self._without_names(word)
        if len(self._words) >= _MOST_REMEMBERED:
            self._words.clear()
        self._words[word] = text, self.replaced - before
        return text

    def _without_names(self, word: str) -> str:
        key = _key(word)
        if host := self._hosts.get(key):
            return self._pseudonym(host)
        label, _, rest = key.partition(".")
        host = self._hosts.get(label) if rest else None
        if host and rest in _SUFFIXES:
            return f"{self._pseudonym(host)}.{rest}"
        if host or (len(key) <= _LONGEST and self._in_domain(key)):
            return self._pseudonym(host or key)
        return self._parts(word)

    def _in_domain(self, key: str) -> bool:
        while key and key not in self._domains:
            key = key.partition(".")[2]
        return bool(key)

    def _parts(self, word: str) -> str:
        """The word with each known name between hyphens, underscores or dots replaced."""
        parts, pieces, at = _PART.split(word), [], 0
        while at < len(parts):
            for end in range(min(at + self._most_parts, len(parts)), at, -2):
                name = "".join(parts[at:end]).lower()
                if host := self._joined.get(_PART.sub("-", name)):
                    pieces.append(self._pseudonym(host))
                    break
            else:
                end = at + 1
                pieces.append(parts[at])
            pieces += parts[end : end + 1]
            at = end + 1
        return "".join(pieces)

    def _pseudonym(self, host: str) -> str:
        self.replaced += 1
        return f"host-{self._numbers.setdefault(host, len(self._numbers) + 1)}"


def _key(name: str) -> str:
    """Host names ignore case (RFC 4343), but a short one may be a letter in a text."""
    return name.lower() if len(name) >= _JOINED else name
