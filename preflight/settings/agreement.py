"""Do the places where this node's programs find their cluster agree? A worker and a command may read different ones."""

from collections.abc import Iterator, Mapping, Sequence

from preflight.model.token import Disagreement, HeldToken
from preflight.proto.control.url import ControlUrl, parse_control_url
from preflight.settings.places import SCOPE, URL, WorkerFile
from preflight.settings.reading import read_variable
from preflight.settings.tokens import differing

_URLS = ("VOX_ORCHESTRATOR_MESH_CONTROL_URL", URL)


def disagreements(
    environ: Mapping[str, str],
    files: Sequence[WorkerFile],
    found: Sequence[HeldToken],
    scope_id: tuple[str, str | None],
    url: tuple[str, str | None],
) -> tuple[Disagreement, ...]:
    """About the scope id, the control URL and the token.

    scope_id, url: what the settings file says, after its name; it counts where no variable of the workers wins over it.
    """
    scopes = _said(environ, files, (SCOPE,), scope_id)
    urls = [(place, at) for place, text in _said(environ, files, _URLS, url) if (at := _server(text)) is not None]
    named = (_compared("scope id", scopes), _compared("control URL", urls))
    workers = [each for number, each in enumerate(found) if number == 0 or each.source != "control.token_file"]
    others = differing(workers)
    tokens = Disagreement("token", workers[0].place, tuple(each.place for each in others)) if others else None
    return tuple(each for each in (*named, tokens) if each is not None)


def _said(
    environ: Mapping[str, str], files: Sequence[WorkerFile], names: Sequence[str], own: tuple[str, str | None]
) -> list[tuple[str, str]]:
    """Each place with what it says, the one that wins first."""
    source, text = own
    variable = next((name for name in names if read_variable(environ, name)), None)
    first = [(variable, environ[variable].strip())] if variable else [(source, text)] if text else []
    return [*first, *_in_files(files, names)]


def _in_files(files: Sequence[WorkerFile], names: Sequence[str]) -> Iterator[tuple[str, str]]:
    for file in files:
        name = next((name for name in names if name in file.values), None)
        if name is not None:
            yield file.place(name), file.values[name]


def _server(text: str) -> str | None:
    """The server that a URL names; None for this node itself, as a server's own file says, and for no usable URL."""
    url = parse_control_url(text)
    if not isinstance(url, ControlUrl) or url.host == "localhost":
        return None
    return None if url.address is not None and url.address.is_loopback else str(url)


def _compared(what: str, said: Sequence[tuple[str, str]]) -> Disagreement | None:
    others = [(place, text) for place, text in said[1:] if text != said[0][1]]
    if not others:
        return None
    return Disagreement(
        what, said[0][0], tuple(place for place, _ in others), (said[0][1], *(text for _, text in others))
    )
