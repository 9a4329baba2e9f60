"""The one pass for everything that leaves the node: it removes secrets and, on request, addresses and names."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

from preflight.proto.secrets.secret_encodings import Secrets
from preflight.report.model import Report
from preflight.report.pseudonyms import Pseudonyms
from preflight.report.texts import Kind, Texts

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
            self._pseudonyms.learn(texts)

    def text(self, text: str, where: str = "report") -> str:
        """A sentence of a report without secrets."""
        (clean,) = self._clean([text], [Kind.FREE], where)
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
        changed = self._changed("report", tree, "report", homes=homes)
        changed["run"]["id"] = report.run.id
        return Report.model_validate(changed)

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
            known = self._cleaned[question] = (self._changed(name, value, where, homes=homes), self.ledger - before)
        elif known[1]:
            self.ledger += known[1]
        return known[0]

    def _changed(self, name: str, value: Any, where: str, *, homes: bool) -> Any:
        texts = Texts(name, value)
        found = [self._shape("home", _HOME, text, where) for text in texts.found] if homes else texts.found
        return texts.replaced(self._clean(found, texts.kinds, where))

    def _clean(self, texts: Sequence[str], kinds: Iterable[Kind], where: str) -> list[str]:
        """Consecutive texts, each without secrets; pseudonyms only in free text."""
        clean, count = self._secrets.replaced_in(texts, GONE)
        self.ledger[where, "secret"] += count
        for number in _shaped(clean):
            for kind, shape in _SHAPES.items():
                clean[number] = self._shape(kind, shape, clean[number], where)
        if self._pseudonyms:
            self.learn(dict.fromkeys(clean))
            free = [number for number, kind in enumerate(kinds) if kind is Kind.FREE]
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
