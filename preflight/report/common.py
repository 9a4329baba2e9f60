"""Words that all renderers share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from preflight.model.remedy import is_sentence
from preflight.report.model import CauseEntry, Report, ResultEntry
from preflight.report.remedies import RemedyEntry
from preflight.report.sudo import with_sudo

MARKS = {"pass": "✓", "warn": "!", "fail": "✗", "inconclusive": "?", "skip": "–", "error": "E"}
WORDS = {
    "fail": "failed",
    "error": "broken",
    "warn": "warning",
    "inconclusive": "undecided",
    "pass": "passed",
    "skip": "skipped",
}
LABELS: tuple[Literal["fix", "next"], ...] = ("fix", "next")
_LASTING = "   # to persist: "
WORST_FIRST = ("fail", "error", "warn", "inconclusive")


def counts(report: Report) -> str:
    """The summary in words, such as `27 passed, 1 skipped`."""
    summary = report.summary
    named = {
        "passed": summary.pass_,
        "warned": summary.warn,
        "failed": summary.fail,
        "undecided": summary.inconclusive,
        "skipped": summary.skip,
        "broken": summary.error,
    }
    known = sum(result.accepted is not None for result in report.results)
    counted = ", ".join(f"{count} {name}" for name, count in named.items() if count) or "nothing ran"
    return f"{counted}, {known} of them accepted" if known else counted


def accepted_note(entry: CauseEntry | ResultEntry) -> str:
    """Until when the settings accept a finding, and why; empty if they do not."""
    return f"accepted until {entry.accepted.until}: {entry.accepted.reason}" if entry.accepted else ""


def by_id(report: Report) -> Mapping[str, ResultEntry]:
    """The results of a report, by their ids."""
    return {result.id: result for result in report.results}


def status_of(cause: CauseEntry, known: Mapping[str, ResultEntry]) -> str:
    """The worst status among a cause's own results."""
    own = [known[id].status for id in cause.explains if id in known and known[id].code == cause.code]
    return next((status for status in WORST_FIRST if status in own), "fail")


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do: `fix` heals, `next` only shows more. lines: to paste, or sentences, which end with a full stop."""

    label: Literal["fix", "next"]
    lines: tuple[str, ...]

    @property
    def is_prose(self) -> bool:
        """Whether there is nothing to paste."""
        return all(map(is_sentence, self.lines))

    @property
    def text(self) -> str:
        """All lines as one text."""
        return "\n".join(self.lines)


def advice(*entries: CauseEntry | ResultEntry, sudo: bool = False) -> tuple[Advice, ...]:
    """What to do about a cause or a bad result, or about several that are alike; what heals first.

    A remedy that is only a text, as reports of version 1 have it, does not say whether it heals.
    sudo: who reads this is not root here, so what needs it gets `sudo`.
    """
    remedies = [remedy for entry in entries for remedy in entry.remedies]
    if not remedies:
        texts = tuple(dict.fromkeys(line for entry in entries for line in (entry.remedy or "").splitlines()))
        return (Advice("next", texts),) if texts else ()
    return tuple(
        Advice(label, _noted_once(dict.fromkeys(line for each in group for line in _shown(each, sudo=sudo))))
        for label in LABELS
        for prose in (False, True)
        if (group := [each for each in remedies if each.kind == label and _is_prose(each) is prose])
    )


def _noted_once(lines: Iterable[str]) -> tuple[str, ...]:
    """What makes several lines last is said behind the last of them."""
    known = list(lines)
    following = (line.partition(_LASTING)[2] for line in [*known[1:], ""])
    return tuple(
        line.partition(_LASTING)[0] if after and line.partition(_LASTING)[2] == after else line
        for line, after in zip(known, following, strict=True)
    )


def _shown(entry: RemedyEntry, *, sudo: bool) -> tuple[str, ...]:
    remedy = entry.remedy
    return (with_sudo(remedy) if sudo else remedy).shown


def labelled(entry: CauseEntry | ResultEntry) -> list[str]:
    """The same as lines of plain text, each with its label."""
    return [f"{each.label}: {line}" for each in advice(entry) for line in each.lines]


def _is_prose(entry: RemedyEntry) -> bool:
    return all(map(is_sentence, entry.lines))


def way(direction: str) -> str:
    """A direction in words; empty for round trips and local results."""
    return {"forward": "this node → peer", "reverse": "peer → this node"}.get(direction, "")


def aspect_of(result: ResultEntry) -> str:
    """What distinguishes several results of one check about one target and direction."""
    return result.id.removeprefix(f"{result.check}/{result.target}/{result.direction}").strip("/")


def lab_note(report: Report) -> str:
    """The notice for a report that was not measured on a real network."""
    if report.run.lab is None:
        return ""
    if report.run.lab == "loopback":
        return "lab: LOOPBACK only (no root): no tunnel is measured, this says nothing about a network"
    names = {"wireguard": "WireGuard", "vxlan": "VXLAN", "nebula": "Nebula", "openvpn": "OpenVPN"}
    return f"lab: real {names[report.run.lab]} between network namespaces of this machine"


def overlay_line(report: Report) -> str:
    """The overlay as the head of a report names it."""
    overlay = report.run.overlay
    if overlay is None:
        return "no overlay"
    addresses = ", ".join(overlay.addresses) or "no address"
    return f"{overlay.product} {overlay.interface or ''} {addresses}, MTU {overlay.mtu}"
