"""Every text in a report's JSON, in document order, and the place of each: to change them all in one go. Pure."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any


class Kind(Enum):
    """Whether a text of a report is one of our own words, which can only lose secrets, or may be anything."""

    OURS = auto()
    FREE = auto()


class _Rule(Enum):
    """What is special about a field."""

    FIXED = auto()
    OURS = auto()
    IDS = auto()
    ANYTHING = auto()


_FIXED = (
    *("schema_version", "direction", "status", "verdict", "lab", "started_at", "until", "where", "needs", "state"),
)
"""Fields with one of a few words, or a time."""
_OURS = ("tool", "os", "kernel", "python", "privileges", "product", "check", "category", "code", "doc", "kind", "title")
"""Fields with our own words and versions: some look like an address or a name, but are not."""
_IDS = ("id", "explains", "blocked_by", "way")
_ANYTHING = ("data", "measurements")
"""Fields whose keys may come from outside: an address, a host, a line of a file."""
_RULES = {
    **dict.fromkeys(_FIXED, _Rule.FIXED),
    **dict.fromkeys((*_OURS, "work_class"), _Rule.OURS),
    **dict.fromkeys(_IDS, _Rule.IDS),
    **dict.fromkeys(_ANYTHING, _Rule.ANYTHING),
}
_DIRECTIONS = frozenset({"forward", "reverse", "round-trip", "local"})


class Texts:
    """A copy of one value of JSON, whose texts can be replaced.

    name: the field that holds the value. found: each text except fixed words; kinds: whether it is one of ours.
    """

    def __init__(self, name: str, value: Any) -> None:
        self.found: list[str] = []
        self.kinds: list[Kind] = []
        self._places: list[tuple[Any, Any]] = []
        self._ids: list[tuple[Any, Any, list[str]]] = []
        self._keyed: list[tuple[dict[str, Any], list[Any]]] = []
        self._root: dict[str, Any] = {}
        self._members(self._root, {name: value}, Kind.FREE)

    def replaced(self, texts: Sequence[str]) -> Any:
        """The copy with these texts, one for each that was found."""
        for (holder, place), text in zip(self._places, texts, strict=True):
            holder[place] = text
        for holder, place, parts in self._ids:
            holder[place] = "/".join(parts)
        for known, pairs in self._keyed:
            known.update(zip(pairs[::2], pairs[1::2], strict=True))
        (value,) = self._root.values()
        return value

    def _members(self, holder: dict[str, Any], fields: dict[str, Any], kind: Kind) -> None:
        """The fields of an object, each by what may be in a field of its name."""
        for name, value in fields.items():
            holder[name] = value
            if value is None or (rule := _RULES.get(name)) is _Rule.FIXED:
                continue
            if rule is _Rule.ANYTHING:
                self._anything(holder, name, value)
            elif rule is _Rule.IDS:
                self._field(holder, name, value, kind, ids=True)
            else:
                self._field(holder, name, value, Kind.OURS if rule else kind)

    def _field(self, holder: Any, place: Any, value: Any, kind: Kind, *, ids: bool = False) -> None:
        if isinstance(value, str):
            if ids:
                self._id(holder, place, value)
            else:
                self._text(holder, place, value, kind)
        elif isinstance(value, dict):
            holder[place] = fields = dict[str, Any]()
            self._members(fields, value, kind)
        elif isinstance(value, list):
            holder[place] = items = value.copy()
            for number, item in enumerate(value):
                self._field(items, number, item, kind, ids=ids)

    def _anything(self, holder: Any, place: Any, value: Any) -> None:
        if isinstance(value, str):
            self._text(holder, place, value, Kind.FREE)
        elif isinstance(value, dict):
            holder[place] = known = dict[str, Any]()
            pairs = [each for pair in value.items() for each in pair]
            self._keyed.append((known, pairs))
            for number, each in enumerate(pairs):
                self._anything(pairs, number, each)
        elif isinstance(value, list):
            holder[place] = items = value.copy()
            for number, item in enumerate(value):
                self._anything(items, number, item)

    def _id(self, holder: Any, place: Any, id: str) -> None:
        """A result's id: the check, the target, the direction, and the aspect."""
        parts = id.split("/")
        self._ids.append((holder, place, parts))
        for number, part in enumerate(parts):
            if number == 0 or part not in _DIRECTIONS:
                self._text(parts, number, part, Kind.FREE if number else Kind.OURS)

    def _text(self, holder: Any, place: Any, text: str, kind: Kind) -> None:
        self.found.append(text)
        self.kinds.append(kind)
        self._places.append((holder, place))
