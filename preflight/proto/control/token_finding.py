"""What a report says about a token whose text cannot be right, and what puts its place right; pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from preflight.model.fix import TokenAlone, WorkersLine
from preflight.model.measurement import Measurement
from preflight.model.remedy import Remedies, by_hand, heal
from preflight.model.token import CLEANED_BY, Better, HeldToken, TokenTrouble

NEW_ONE_TIME_TOKEN = "preflight control-plane bootstrap-token --out bootstrap.token --ttl 1h"  # noqa: S105 - makes one
SEVERAL = "several control planes"
SEVERAL_SAID = (
    f"; it accepted the same bearer in another answer, so {SEVERAL} answer at this URL, and not all know this token"
)
ONE_CONTROL_PLANE = by_hand(
    "Let the balancer in front send all requests to one control plane: each has its own nodes, leases and tokens.",
    where="control host",
)
_NOT_INSIDE = ("empty", "placeholder", "masked", "URL", "HTML", "PEM")
"""The token is not in the text, so no cleaning finds it."""
UNREAD = ("export", "set", "BOM")
"""What is in front of a name in a line of a file, behind which workers do not find it."""
_TOKEN = "VOX_MESH_TOKEN"  # noqa: S105 - a variable's name


@dataclass(frozen=True, slots=True)
class Malformed:
    """The parts of a finding about one token."""

    message: str
    remedies: Remedies
    measurements: Mapping[str, Measurement]


def malformed_bearer(held: HeldToken, trouble: TokenTrouble) -> Malformed:
    """A bearer that no request may carry."""
    message = f"{_place(held)} {_said(trouble)}, so this bearer cannot be right, and nothing sent it"
    if held.line and trouble.problem in UNREAD:
        message = f"{_place(held)} {_said(trouble)}, so they send no bearer"
    if trouble.problem in _NOT_INSIDE:
        ask = f"Put the token for workers of this cluster into {held.place}; the control host has it."
        return Malformed(message, by_hand(ask, where="control host"), measured(held, trouble))
    return Malformed(message, cleaned(held, trouble), measured(held, trouble))


def malformed_one_time_token(held: HeldToken, trouble: TokenTrouble) -> Malformed:
    """A one-time token that was not sent: some servers spend it on any attempt."""
    message = (
        f"{_place(held)} {_said(trouble)}, so this one-time token cannot be right; nothing sent it, "
        "and the right one is not spent"
    )
    if trouble.problem == "base64":
        line = f"base64 --decode {held.path or 'FILE'} > decoded.token   # and give that file, if it is the token"
        return Malformed(message, by_hand(line), measured(held, trouble))
    if trouble.cleaned_by or trouble.problem in ("UTF-16", "several lines", "white space", "JSON", "punctuation"):
        return Malformed(message, cleaned(held, trouble), measured(held, trouble))
    return Malformed(message, by_hand(NEW_ONE_TIME_TOKEN, where="control host"), measured(held, trouble))


def better_bearer(better: Better) -> tuple[str, Remedies]:
    """What to say, and to do, where the control plane refuses the bearer that won and accepts something else."""
    used, other = better.used, better.other
    if better.how == "again":
        return SEVERAL_SAID, ONE_CONTROL_PLANE
    if better.how == "decoded":
        sentence = f"Write into {used.place} what its text is the base64 of: base64 --decode shows it."
        return f"; it accepts what the text of {used.place} is the base64 of, as Kubernetes shows secrets", by_hand(
            sentence
        )
    said = f"; it accepts the token of {other.place}, which {used.place} hides"
    if used.path is None:
        line = f"unset {used.source}   # and take it out of the environment of the worker's unit"
        return said, by_hand(line)
    return said, by_hand(f"Write the token of {other.place} into {used.place}.")


def cleaned(held: HeldToken, trouble: TokenTrouble) -> Remedies:
    """What leaves the token alone in its place: a command where one can, else a sentence."""
    path = held.path
    if path is not None and trouble.cleaned_by and not held.line:
        return heal(lambda: TokenAlone(path=str(path.absolute()), rids=trouble.cleaned_by))
    if path is not None and trouble.cleaned_by and held.source.startswith(f"{_TOKEN} in "):
        rids = tuple(word for word in trouble.cleaned_by if word in CLEANED_BY)
        return heal(lambda: WorkersLine(file=str(path.absolute()), name=_TOKEN, rids=rids))
    return by_hand(
        f"Write the token alone into {held.place}: one line of plain text, without quotes and without a name."
    )


def measured(held: HeldToken, trouble: TokenTrouble) -> dict[str, Measurement]:
    """The fields that decide."""
    place = {"variable": held.source} if held.path is None else {"file": str(held.path)}
    return {"problem": trouble.problem, **place}


def _said(trouble: TokenTrouble) -> str:
    return trouble.said if trouble.problem in trouble.said else f"{trouble.said} ({trouble.problem})"


def _place(held: HeldToken) -> str:
    return f"the file {held.path} ({held.source})" if held.path is not None else f"the variable {held.source}"
