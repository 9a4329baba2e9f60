"""The one pass for everything that leaves the node: it removes secrets and, on request, addresses and names."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from itertools import accumulate
from typing import Any

from preflight.proto.secrets.secret_encodings import Secrets
from preflight.report.model import Report
from preflight.report.pseudonyms import Pseudonyms

GONE = "[redacted]"

# A pattern's group is the part to keep.
_SHAPES = {
    "bearer": re.compile(r"(?i)(?<=bearer )[\w.~+/=-]{8,}"),
    "basic": re.compile(r"(?i)(authorization[\"']?[:=] *[\"']?basic )[\w+/=-]+"),
    # A JWT (RFC 7519): its header is JSON in base64url.
    "jwt": re.compile(r"(?<![\w-])eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"),
    # User info of a URL (RFC 3986 section 3.2.1): a password; for web URLs, any user info.
    "url-user": re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)|(?:(?<=http://)|(?<=https://))[^\s/@]+(?=@)"),
    "query": re.compile(r"(?i)([?&](?:access_|api_?)?(?:token|key|secret|password|auth|sig(?:nature)?)=)[^&\s\"'#]+"),
    "pem": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    "key": re.compile(
        r"(?i)(?<=private|eshared)([ _]?key[\"']? *[=:] *[\"']?)(?!\(hidden\)|\(none\))[A-Za-z0-9+/]{20,}={0,2}"
    ),
    "tailscale": re.compile(r"\btskey-\w+-[\w-]+|\bprivkey:[0-9a-f]{16,}"),
    "zerotier": re.compile(r"(?<=:0:)([0-9a-f]{128}:)[0-9a-f]{128}"),
}
_HOME = re.compile(r"((?:/home|/Users)/)[^/\s:\"']+")
_VARIABLE = re.compile(r"\b(?=[A-Z0-9_]*(?:TOKEN|SECRET|PASSWORD|API_KEY))([A-Z0-9_]++[\"']? *[=:] *[\"']?)[^\s\"',}]+")
"""For raw files only: in a report these two would break a line to paste."""


class Kind(Enum):
    """Whether a text of a report is one of our own words, which can only lose secrets, or may be anything."""

    OURS = auto()
    FREE = auto()


_MOST_REMEMBERED = 10_000


class Redactor:
    """Removes known secrets and text that looks like one, and counts what was removed where.

    secrets: the values that this run knows. pseudonyms: replace addresses and names too. Ledger: (file, kind) to count.
    """

    def __init__(self, secrets: Iterable[str], pseudonyms: Pseudonyms | None = None) -> None:
        self._secrets = Secrets(secrets)
        self._pseudonyms = pseudonyms
        self.ledger: Counter[tuple[str, str]] = Counter()
        self._cleaned: dict[tuple[str, str, str, bool], tuple[Any, Counter[tuple[str, str]]]] = {}

    @property
    def pseudonym(self) -> Callable[[str], str] | None:
        """Replaces addresses, keys and names in a text, if requested."""
        return self._pseudonyms.replace if self._pseudonyms else None

    def know(self, names: Iterable[str]) -> None:
        """Also replace these host names from now on, if requested."""
        if self._pseudonyms:
            self._pseudonyms.know(names)
            self._cleaned.clear()

    def learn(self, texts: Iterable[str]) -> None:
        """Register the networks in the texts, before the first one is replaced."""
        if self._pseudonyms:
            self._pseudonyms.learn("\n".join(texts))

    def text(self, text: str, where: str = "report") -> str:
        """A sentence of a report without secrets."""
        (clean,) = self._clean([(text, Kind.FREE)], where)
        return clean

    def raw(self, text: str, where: str) -> str:
        """A file of raw evidence: also without assignments of secret variables and user names in paths."""
        for kind, shape in (("variable", _VARIABLE), ("home", _HOME)):
            text = self._shape(kind, shape, text, where)
        return self.text(text, where)

    def report(self, report: Report, *, homes: bool = False) -> Report:
        """The report without secrets and, if requested, with pseudonyms.

        homes: also without user names in paths; a line to paste then fails on this node, but only here. Neither keeps
        a fix as data: it would change what has the other name.
        """
        tree = report.model_dump(mode="json", by_alias=True)
        if self._pseudonyms or homes:
            for entry in (*tree["diagnosis"], *tree["results"]):
                for remedy in entry["remedies"]:
                    remedy["fix"] = None
        texts: list[tuple[str, Kind]] = []

        def collect(text: str, kind: Kind) -> str:
            texts.append((self._shape("home", _HOME, text, "report") if homes else text, kind))
            return text

        _mapped(tree, collect)
        clean = iter(self._clean(texts, "report"))
        return Report.model_validate(_mapped(tree, lambda text, kind: next(clean)))

    def field(self, name: str, value: str | list[Any], where: str, *, homes: bool = False) -> Any:
        """One value of JSON, by the rules for a report's field of that name; see `report` for homes.

        What was seen before takes no time again, and is counted again: events of a run repeat their words.
        """
        question = (name, value if isinstance(value, str) else repr(value), where, homes)
        known = self._cleaned.get(question)
        if known is None:
            if len(self._cleaned) >= _MOST_REMEMBERED:
                self._cleaned.clear()
            before = self.ledger.copy()
            known = self._cleaned[question] = (self._field(name, value, where, homes), self.ledger - before)
        elif known[1]:
            self.ledger += known[1]
        return known[0]

    def _field(self, name: str, value: Any, where: str, homes: bool) -> Any:
        texts: list[tuple[str, Kind]] = []

        def collect(text: str, kind: Kind) -> str:
            texts.append((self._shape("home", _HOME, text, where) if homes else text, kind))
            return text

        _member(name, value, collect, Kind.FREE)
        clean = iter(self._clean(texts, where))
        return _member(name, value, lambda text, kind: next(clean), Kind.FREE)

    def _clean(self, texts: Sequence[tuple[str, Kind]], where: str) -> list[str]:
        """Consecutive texts, each without secrets; pseudonyms only in free text."""
        clean, count = self._secrets.replaced_in([text for text, _ in texts], GONE)
        self.ledger[where, "secret"] += count
        for number in _shaped(clean):
            for kind, shape in _SHAPES.items():
                clean[number] = self._shape(kind, shape, clean[number], where)
        if self._pseudonyms:
            self.learn(dict.fromkeys(clean))
            free = [number for number, (_, kind) in enumerate(texts) if kind is Kind.FREE]
            replaced, count = self._pseudonyms.replaced_in([clean[number] for number in free])
            for number, text in zip(free, replaced, strict=True):
                clean[number] = text
            self.ledger[where, "address, key or name"] += count
        self.ledger = +self.ledger
        return clean

    def _shape(self, kind: str, shape: re.Pattern[str], text: str, where: str) -> str:
        gone = "user" if kind == "home" else GONE
        text, count = shape.subn(lambda match: ((match[1] or "") if shape.groups else "") + gone, text)
        self.ledger[where, kind] += count
        return text


def _shaped(texts: Sequence[str]) -> list[int]:
    """The numbers of the texts that contain something of any shape: one look at all texts for each shape."""
    unique = list(dict.fromkeys(texts))
    begins, found = [0, *accumulate(len(text) + 1 for text in unique)], set[str]()
    for shape in _SHAPES.values():
        for match in shape.finditer("\n".join(unique)):
            # One may seem to reach over several texts: each of them is looked at for itself.
            first, behind = bisect_right(begins, match.start()) - 1, bisect_left(begins, match.end())
            found.update(unique[first : max(behind, first + 1)])
    return [number for number, text in enumerate(texts) if text in found]


_FIXED = frozenset(
    {"schema_version", "direction", "status", "verdict", "lab", "started_at", "until", "where", "needs", "state"}
)
"""Fields with one of a few words, or a time."""
_OURS = frozenset(
    {"tool", "os", "kernel", "python", "privileges", "product", "check", "category", "code", "doc", "kind", "title"}
    | {"work_class"}
)
"""Fields with our own words and versions: some look like an address or a name, but are not."""
_IDS = frozenset({"id", "explains", "blocked_by", "way"})
_ANYTHING = frozenset({"data", "measurements"})
"""Fields whose keys may come from outside: an address, a host, a line of a file."""
_DIRECTIONS = frozenset({"forward", "reverse", "round-trip", "local"})


def _mapped(tree: dict[str, Any], change: Callable[[str, Kind], str]) -> dict[str, Any]:
    """The report's JSON with every text changed except fixed words, in document order."""
    changed: dict[str, Any] = _field(tree, change)
    changed["run"]["id"] = tree["run"]["id"]
    return changed


def _field(value: Any, change: Callable[[str, Kind], str], kind: Kind = Kind.FREE, *, ids: bool = False) -> Any:
    if isinstance(value, str):
        return _id(value, change) if ids else change(value, kind)
    if isinstance(value, list):
        return [_field(item, change, kind, ids=ids) for item in value]
    if isinstance(value, dict):
        return {key: _member(key, item, change, kind) for key, item in value.items()}
    return value


def _member(key: str, value: Any, change: Callable[[str, Kind], str], kind: Kind) -> Any:
    if key in _ANYTHING:
        return _anything(value, change)
    if key in _FIXED:
        return value
    return _field(value, change, Kind.OURS if key in _OURS else kind, ids=key in _IDS)


def _anything(value: Any, change: Callable[[str, Kind], str]) -> Any:
    if isinstance(value, str):
        return change(value, Kind.FREE)
    if isinstance(value, list):
        return [_anything(item, change) for item in value]
    if isinstance(value, dict):
        return {change(key, Kind.FREE): _anything(item, change) for key, item in value.items()}
    return value


def _id(id: str, change: Callable[[str, Kind], str]) -> str:
    """A result's id: the check, the target, the direction, and the aspect."""
    check, *parts = id.split("/")
    rest = [part if part in _DIRECTIONS else change(part, Kind.FREE) for part in parts]
    return "/".join([change(check, Kind.OURS), *rest])
