"""Do the places where this node's programs find their cluster agree about its scope id, URL and token?"""

from collections.abc import AsyncGenerator, Sequence

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Measurement,
    Result,
    by_hand,
    check,
    codes,
    heal,
    passed,
    request,
    warned,
)
from preflight.model.fix import WorkersLine
from preflight.model.printable import excerpt
from preflight.model.token import Disagreement, SwitchedOff, UnreadLine


@check(
    "enroll.settings",
    title="This node's places agree about its cluster",
    subject="control",
    codes=(codes.ENROLL_SETTINGS_DISAGREE, codes.ENROLL_SWITCHED_OFF),
    timeout=10,
)
async def enroll_settings(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compare the environment, the settings file, and the workers' files: mesh.env, config.toml and Vox.toml.

    A token is compared and never shown.
    """
    settings = ctx.settings
    unread = settings.unread_scope if settings.control.scope_id is None else None
    files = [str(file.path) for file in settings.worker_files]
    for result in judge(settings.disagreements, files, settings.switched_off, unread):
        yield result


def judge(
    found: Sequence[Disagreement],
    files: Sequence[str],
    off: SwitchedOff | None = None,
    unread: UnreadLine | None = None,
) -> list[Result]:
    """One finding for each thing about which places differ, and one if workers are kept out.

    files: those of the workers that were read. unread: a line with the scope id that they do not read.
    """
    bad = [*([_stays_out(off)] if off is not None else []), *([_not_read(unread)] if unread is not None else [])]
    if found or bad:
        return [*map(_differs, found), *bad]
    read = f"the environment and {', '.join(files)}" if files else "the environment alone"
    return [passed(CONTROL, Direction.LOCAL, f"workers of this node read {read}, and nothing in it contradicts")]


def _stays_out(off: SwitchedOff) -> Result:
    """It may be meant: a node that only serves, or only sends work."""
    place = str(off.file) if off.file is not None else "the environment"
    message = (
        f"workers of this node do not join the cluster: {off.variable} is {excerpt(off.value)} in {place}, which a "
        "test enrolment does not read"
    )
    line = (
        f"Remove {off.variable} from {place}, and from the unit of the worker; or accept this finding if it is meant."
    )
    return warned(
        codes.ENROLL_SWITCHED_OFF,
        CONTROL,
        Direction.LOCAL,
        message,
        aspect="switched-off",
        station=request("source"),
        remedies=by_hand(line),
        measurements={"variable": off.variable, "source": [off.place]},
    )


def _not_read(line: UnreadLine) -> Result:
    message = f"{line.path} {line.said}, so workers of this node carry no scope id"
    return warned(
        codes.ENROLL_SETTINGS_DISAGREE,
        CONTROL,
        Direction.LOCAL,
        message,
        aspect="scope",
        station=request("source"),
        remedies=heal(lambda: WorkersLine(file=str(line.path.absolute()), name=line.name)),
        measurements={"problem": line.behind, "file": str(line.path), "variable": line.name},
    )


def _differs(about: Disagreement) -> Result:
    others = about.others
    said = [f"{place} says {excerpt(text)!r}" for place, text in zip(others, about.values[1:], strict=False)]
    used = f" {excerpt(about.values[0])!r}" if about.values else ""
    differ = "; ".join(said) or f"{', '.join(others)} holds another one"
    message = (
        f"the {about.what}{used} of {about.used} is used here, and {differ}: another program of this node reads that"
    )
    fields: dict[str, Measurement] = {"problem": about.what, "source": [about.used, *others]}
    return warned(
        codes.ENROLL_SETTINGS_DISAGREE,
        CONTROL,
        Direction.LOCAL,
        message,
        aspect=about.what.partition(" ")[0].lower(),
        station=request("source"),
        remedies=by_hand(f"Make {others[0]} say the same {about.what} as {about.used}, or remove it there."),
        measurements=fields,
    )
