"""What a report says about a token that cannot be right, and the remedy that fits its place."""

from pathlib import Path

from preflight.model.token import HeldToken, TokenTrouble
from preflight.model.worker_fixes import WorkersLine
from preflight.proto.control.token_finding import malformed_bearer, malformed_one_time_token
from preflight.proto.control.token_text import read_token


def held(raw: bytes, *, path: Path | None = Path("/n/token"), line: bool = False) -> tuple[HeldToken, TokenTrouble]:
    trouble = read_token(raw)[1]
    assert trouble is not None
    source = "VOX_MESH_TOKEN" if path is None else "control.token_file"
    return HeldToken(source, None, trouble, path, line), trouble


def test_a_file_is_cleaned_by_a_command() -> None:
    """The sentence names what decides, and the command heals."""
    found = malformed_bearer(*held(b"\xef\xbb\xbfsecret\r\n"))
    assert "BOM" in found.message
    assert "nothing sent it" in found.message
    assert found.measurements == {"problem": "BOM", "file": "/n/token"}
    assert [(remedy.kind, remedy.lines[0].split()[0]) for remedy in found.remedies] == [("fix", "sed")]


def test_a_variable_and_a_line_of_a_file_are_not_cleaned_by_a_command() -> None:
    """A command for a token alone would take other lines with it, and none reaches a variable."""
    for made in (held(b'"secret"', path=None), held(b'"secret"', path=Path("/n/config.toml"), line=True)):
        (remedy,) = malformed_bearer(*made).remedies
        assert remedy.fix is None
    assert malformed_bearer(*held(b'"secret"', path=None)).measurements["variable"] == "VOX_MESH_TOKEN"


def test_a_line_of_the_workers_is_cleaned_alone() -> None:
    """Only that line is changed, and of a bearer that workers do not read it is said that none is sent."""
    path = Path("/n/mesh.env")
    trouble = TokenTrouble("export", "has export in front of VOX_MESH_TOKEN", ("export", "quotes"))
    found = malformed_bearer(HeldToken(f"VOX_MESH_TOKEN in {path}", None, trouble, path, line=True), trouble)
    assert found.message.endswith("so they send no bearer")
    assert found.remedies[0].fix == WorkersLine(file=str(path), name="VOX_MESH_TOKEN", rids=("quotes",))


def test_what_is_not_there_comes_from_the_control_host() -> None:
    """No command on this node makes a token of an empty file, nor a one-time token of another one."""
    assert malformed_bearer(*held(b"\n")).remedies[0].where == "control host"
    found = malformed_one_time_token(*held(b"\n"))
    assert found.remedies[0].where == "control host"
    assert "not spent" in found.message
    mesh = HeldToken("--bootstrap-token-file", None, TokenTrouble("mesh token", "holds it"), Path("/n/t"))
    assert mesh.trouble is not None
    assert malformed_one_time_token(mesh, mesh.trouble).remedies[0].where == "control host"
