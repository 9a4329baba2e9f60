"""The rule for this cluster's secrets, built on detect-secrets: its detector, and its filters against placeholders.

Values never leave this module, only names of variables do.
"""

import re
from collections.abc import Iterable, Iterator

from detect_secrets.filters import heuristic
from detect_secrets.plugins.base import RegexBasedDetector

from preflight.model.leaks import Leak
from preflight.proto.secrets.gitlog import VARIABLE_PATTERN, Line

MINIMUM_LENGTH = 8
"""No credential is shorter."""

_NAME = VARIABLE_PATTERN.replace("(", "(?:")
_BARE = r"\$\{[^}]*\}|[^\s\"',;\]}]+"
_ENDS = r"(?=[\"',;}\]]|\s*(?:#.*)?$)"  # prose about a variable goes on
_DEFAULT = re.compile(r"\$\{[^}:?-]+:?-([^}]*)\}")
_KUBERNETES_NAME = re.compile(rf"name:\s*[\"']?({_NAME})[\"']?\s*$")
_KUBERNETES_VALUE = re.compile(rf"\s*value:\s*[\"']?({_BARE})[\"']?")
_PLACEHOLDER = re.compile(
    r"change.?(?:me|it|this)|replace|placeholder|example|sample|dummy|your|insert|x{4,}|todo|fill|redacted|secret.?here",
    re.IGNORECASE,
)
_NOTHING = frozenset({"null", "none", "true", "false", "nil", "undefined", "optional", "required"})


class MeshSecrets(RegexBasedDetector):
    """Assignments to VOX_MESH_…TOKEN and …SECRET: compose, .env, YAML, JSON, TOML, units, Dockerfiles, shell."""

    secret_type = "VOX_MESH secret"  # noqa: S105 - what it is called
    denylist = (
        re.compile(rf"(?<![A-Z0-9_]){_NAME}[\"']?=[\"']?({_BARE})"),
        re.compile(rf"(?<![A-Z0-9_]){_NAME}[\"']?\s*[:=]\s*[\"']?({_BARE}){_ENDS}"),
        re.compile(rf"^\s*(?:ENV|ARG)\s+{_NAME}\s+[\"']?({_BARE})"),
    )


_RULE = MeshSecrets()


def leaks(lines: Iterable[Line], own: Iterable[str] = ()) -> Iterator[Leak]:
    """The places where a line gives such a variable a literal value.

    own: this node's secrets, which no filter excuses.
    """
    own = tuple(own)
    expected: tuple[str, int, str] | None = None
    for line in lines:
        if (named := _KUBERNETES_NAME.search(line.text)) is not None:
            expected = (line.path, line.number + 1, named[1])
            continue
        found = _assigned(line) if (line.path, line.number) != (expected or ())[:2] else _listed(line, expected)
        if found is not None and _is_secret(found[1], line.text, own):
            yield Leak(line.path, found[0], line.number, line.commit)


def _assigned(line: Line) -> tuple[str, str] | None:
    name = re.search(_NAME, line.text)
    value = next(iter(_RULE.analyze_string(line.text)), None)
    return (name[0], value) if name and value else None


def _listed(line: Line, expected: tuple[str, int, str] | None) -> tuple[str, str] | None:
    """The value that follows `- name: VARIABLE`, as in Kubernetes manifests."""
    value = _KUBERNETES_VALUE.match(line.text)
    return (expected[2], value[1]) if expected and value else None


def _is_secret(value: str, text: str, own: tuple[str, ...]) -> bool:
    default = _DEFAULT.fullmatch(value)
    value = default[1] if default else value
    if value in own:
        return True
    return len(value) >= MINIMUM_LENGTH and not (
        value.lower() in _NOTHING
        or value.startswith(("/", "./", "file:", "$", "%", "{", "<", "!", "`"))
        or _PLACEHOLDER.search(value)
        or heuristic.is_templated_secret(value)
        or heuristic.is_not_alphanumeric_string(value)
        or heuristic.is_indirect_reference(text)
    )
