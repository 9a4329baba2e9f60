"""What Ansible says of a step on a node, as data: a failure is a hole with a code and the engine's words. Pure."""

import base64
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from preflight import codes
from preflight.codes import Code
from preflight.fleet.remote.agent import PREFIX
from preflight.fleet.remote.reach import UNFIT
from preflight.model.printable import one_line

Kind = Literal["ok", "failed", "unreachable"]
_NO_PROGRAM = (126, 127)
_LONGEST = 300
_UNREACHABLE: tuple[tuple[str, Code], ...] = (
    ("host key verification failed", codes.FLEET_HOST_KEY),
    ("remote host identification has changed", codes.FLEET_HOST_KEY),
    ("permission denied", codes.FLEET_AUTH),
    ("authentication fail", codes.FLEET_AUTH),
    ("too many authentication failures", codes.FLEET_AUTH),
    ("timed out", codes.FLEET_TIMEOUT),
)
_BY_TASK = {
    "reach": codes.FLEET_PYTHON,
    "deliver": codes.FLEET_INSTALL,
    "start": codes.FLEET_INSTALL,
    "ready": codes.FLEET_RESPONDER,
    "go": codes.FLEET_TIMEOUT,
    "collect": codes.FLEET_TIMEOUT,
    "clean": codes.FLEET_UNREACHABLE,
}
_NOISE = re.compile(r"^(Shared connection to .* closed\.|Warning: Permanently added .*)?$")


@dataclass(frozen=True, slots=True)
class Step:
    """One task on one node. began_s, ended_s: on the controller's clock, between which the node did it."""

    host: str
    task: str
    kind: Kind
    result: Mapping[str, Any]
    began_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class Hole:
    """A node without a report, and why."""

    node: str
    code: Code
    message: str


def hole_of(step: Step) -> Hole:
    """Why a step that is not `ok` makes a hole."""
    said = _words(step.result)
    if step.kind == "unreachable":
        code = next((code for words, code in _UNREACHABLE if words in said.lower()), codes.FLEET_UNREACHABLE)
        return Hole(step.host, code, said)
    code = _BY_TASK[step.task]
    if step.task == "reach" and "sudo" in said.lower() and "password" in said.lower():
        code = codes.FLEET_AUTH
    elif step.task == "reach" and step.result.get("rc") not in (UNFIT, *_NO_PROGRAM):
        code = codes.FLEET_INSTALL
    return Hole(step.host, code, said)


def was_spared(step: Step) -> bool:
    """Whether the run has left nothing on the node of a step: it never got in, or found no Python."""
    if step.task != "reach" or step.kind == "ok":
        return False
    return step.kind == "unreachable" or step.result.get("rc") in _NO_PROGRAM or hole_of(step).code == codes.FLEET_AUTH


def _words(result: Mapping[str, Any]) -> str:
    """What went wrong, in the words of the engine or of the node, on one line."""
    if result.get("censored"):
        return "the step failed; it carries a secret, so its output is not shown"
    stderr, stdout, message = (str(result.get(key) or "").strip() for key in ("stderr", "stdout", "msg"))
    message = message.removeprefix("Task failed: ")
    told = stderr if result.get("rc") is not None else message
    lines = [line.strip() for line in (told or message or stdout).splitlines()]
    kept = [line for line in lines if not _NOISE.match(line)] or [line for line in stdout.splitlines() if line.strip()]
    return one_line(" ".join(kept[-3:]))[-_LONGEST:] or f"exit code {result.get('rc')}"


def carried(step: Step) -> bytes:
    """What the node's agent printed. Raises ValueError if it is not there."""
    lines = str(step.result.get("stdout", "")).splitlines()
    found = next((line.strip() for line in reversed(lines) if line.strip().startswith(PREFIX)), None)
    if found is None:
        raise ValueError("the node's answer is missing")
    try:
        return gzip.decompress(base64.b64decode(found.removeprefix(PREFIX), validate=True))
    except (OSError, EOFError) as error:
        raise ValueError(f"the node's answer is damaged: {error}") from None


def last_json(step: Step) -> dict[str, Any]:
    """The last line that the node printed, which is JSON. Raises ValueError."""
    lines = [line for line in str(step.result.get("stdout", "")).splitlines() if line.strip()]
    if not lines:
        raise ValueError("the node's answer is missing")
    found: dict[str, Any] = json.loads(lines[-1])
    return found
