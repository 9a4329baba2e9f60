"""Reports of others: whatever is in the file, the program says in one sentence what is wrong with it, and stops.

What the file *is* counts as well: a device without end, a pipe that nobody writes to, a path that leads out.
"""

import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from preflight.cli.main import build
from preflight.evidence.capture import folder_of, pcap
from preflight.model.facts import GIVEN_BY
from preflight.net.recorder import Packet
from preflight.report import json as report_json
from preflight.report.fields import LARGEST
from preflight.report.model import Report

RUN = "5b1f2f4e-8c55-4d6e-9a3b-0123456789ab"
PCAP = pcap([Packet(1_700_000_000 * 10**9, 100, bytes([0x45, *bytes(8), 17, *bytes(10)]) + bytes(8), "10.66.0.2")])
Change = Callable[[dict[str, Any]], object]


def document(*paths: str) -> dict[str, Any]:
    """A sound report of one failure, which names these files as its evidence."""
    return {
        "schema_version": "1",
        "run": {
            "id": RUN, "started_at": "2026-11-23T12:00:00Z", "duration_ms": 10.0, "exit_code": 1,
            "node": {"hostname": "node-a", "os": "Debian", "kernel": "6.1", "python": "3.11"},
        },
        "verdict": "fail",
        "summary": {"fail": 1},
        "results": [
            {
                "id": f"reach.udp/b/forward/{n}", "check": "reach.udp", "category": "reach", "target": "b",
                "direction": "forward", "status": "fail", "code": "reach.no-forward", "message": "dead",
                "evidence": [{"kind": "capture", "summary": "packets", "path": path}],
            }
            for n, path in enumerate(paths)
        ] or [
            {
                "id": "reach.udp/b/forward", "check": "reach.udp", "category": "reach", "target": "b",
                "direction": "forward", "status": "fail", "code": "reach.no-forward", "message": "dead",
            }
        ],
    }  # fmt: skip


def changed(change: Change) -> bytes:
    """The same with one thing wrong."""
    made = document()
    change(made)
    return json.dumps(made).encode()


def _emptied(made: dict[str, Any]) -> None:
    """A run in which nothing ran, and all is well."""
    made.update(results=[], diagnosis=[], verdict="pass", summary=dict.fromkeys(made["summary"], 0))
    made["run"].update(exit_code=0)


def deep(levels: int) -> Any:
    """A list in a list."""
    inner: Any = []
    for _ in range(levels):
        inner = [inner]
    return inner


SOUND = json.dumps(document())
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "binary": bytes(range(256)),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "UTF-16": SOUND.encode("utf-16"),
    "Latin-1": SOUND.replace("dead", "t\u00f6t").encode("latin-1"),
    "byte order mark": b"\xef\xbb\xbf" + SOUND.encode(),
    "cut off": SOUND.encode()[:-20],
    "two documents": SOUND.encode() * 2,
    "half a character": SOUND.replace("dead", "\\ud800").encode(),
    "NaN": SOUND.replace("10.0", "NaN").encode(),
    "Infinity": SOUND.replace("10.0", "-Infinity").encode(),
    "1e999": SOUND.replace("10.0", "1e999").encode(),
    "400 digits": SOUND.replace("10.0", "9" * 400).encode(),
    "5000 digits": SOUND.replace("10.0", "9" * 5000).encode(),
    "a key twice": SOUND.replace('"verdict"', '"verdict": "pass", "verdict"').encode(),
    "a list": b"[]",
    "a number": b"1",
    "null": b"null",
    "nested": json.dumps(deep(900)).encode(),
    "nested beyond all bounds": b"[" * 200_000,
    "nested evidence": changed(lambda made: made["results"][0].update(measurements={"x": deep(80)})),
    "no results but a verdict": changed(lambda made: made.update(results=[])),
    "a pass of nothing": changed(_emptied),
    "a verdict that the results deny": changed(lambda made: made.update(verdict="pass")),
    "an exit code that the results deny": changed(lambda made: made["run"].update(exit_code=0)),
    "a summary that counts others": changed(lambda made: made["summary"].update({"pass": 7})),
    "an unknown status": changed(lambda made: made["results"][0].update(status="fine\x1b[31m")),
    "a status of another type": changed(lambda made: made["results"][0].update(status=["fail"])),
    "an id that is a path": changed(lambda made: made["run"].update(id="../../../tmp/x")),
    "a time without a zone": changed(lambda made: made["run"].update(started_at="2026-11-23T12:00:00")),
    "a time out of bounds": changed(lambda made: made["run"].update(started_at="9999-12-31T23:59:59Z")),
    "a duration below nothing": changed(lambda made: made["run"].update(duration_ms=-1)),
    "an unknown version": changed(lambda made: made.update(schema_version="3")),
}


def preflight(*words: str | Path) -> Result:
    """The program in this process: what it prints, and its exit code."""
    return CliRunner().invoke(build(), list(map(str, words)))


def refused(done: Result, *parts: str) -> None:
    """It ended with the exit code for usage, and one printable sentence that names all parts."""
    assert done.exit_code == 2, done.output
    said = done.output.splitlines()[-1]
    assert said.startswith("Error: ")
    assert said.isprintable()
    assert len(said) < 500
    assert all(part in said for part in parts), said
    assert done.exception is None or isinstance(done.exception, SystemExit)


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_no_report_is_refused(what: str, tmp_path: Path) -> None:
    """A file that is not a valid report, or contradicts itself, is refused with its name and the reason."""
    file = tmp_path / "r.json"
    file.write_bytes(MALFORMED[what])
    refused(preflight("report", "render", file), str(file), "is not a preflight report in JSON: ")


@pytest.mark.parametrize("command", ["diff", "merge", "bundle"])
def test_every_command_refuses_it(command: str, tmp_path: Path) -> None:
    """`report diff`, `report merge` and `bundle` read no report that `report render` would refuse."""
    good, bad = tmp_path / "good.json", tmp_path / "bad\x1b[31m.json"
    good.write_text(SOUND)
    bad.write_bytes(MALFORMED["1e999"])
    words = {"diff": ("report", "diff", good, bad), "merge": ("report", "merge", good, bad), "bundle": ("bundle", bad)}
    refused(preflight(*words[command]), "bad\ufffd[31m.json", "too large")


def test_a_device_without_end_is_read_to_the_limit(tmp_path: Path) -> None:
    """Reading stops at the largest report there may be."""
    zeros = tmp_path / "zeros"
    zeros.symlink_to("/dev/zero")
    refused(preflight("report", "render", zeros), "it has more than 64 MB")


@pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "dangling link"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to does not hang; a folder is refused."""
    path = tmp_path / "r.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    refused(preflight("report", "render", path), str(path))


def test_a_pipe_with_a_writer_is_read(tmp_path: Path) -> None:
    """`report render <(ssh node preflight all --output json)` works."""
    reader, writer = os.pipe()
    os.write(writer, SOUND.encode())
    os.close(writer)
    done = preflight("report", "render", f"/dev/fd/{reader}")
    os.close(reader)
    assert (done.exit_code, "reach.no-forward" in done.output) == (0, True)


@pytest.mark.parametrize("version", ["1", "2"])
def test_versions_1_and_2_are_read(version: str) -> None:
    """What a newer program adds is left out, not refused."""
    made = document() | {"schema_version": version, "fates": [{"id": "x"}]}
    parsed = report_json.parse(json.dumps(made).encode())
    read = json.loads(report_json.render(parsed))
    assert (read["schema_version"], read["ways"], parsed.results[0].remedies) == ("2", [], ())
    assert report_json.parse(json.dumps(read).encode()) == parsed


@pytest.mark.parametrize("measured", [-1e308, 1e308, -1, 10**17, 150.5, 5e-324])
def test_absurd_numbers_are_rendered_and_compared(measured: float, tmp_path: Path) -> None:
    """A loss of minus one, or of more than everything, breaks no format and no comparison."""
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(_measuring(1)))
    after.write_text(json.dumps(_measuring(measured)))
    formats = ("text", "markdown", "html", "junit", "openmetrics", "sarif", "json")
    outputs = [word for format in formats[1:] for word in ("-o", f"{format}={tmp_path / format}")]
    assert preflight("report", "render", after, "-v", *outputs).exit_code == 0
    for pair in ((before, after), (after, before), (after, after)):
        done = preflight("report", "diff", *pair)
        assert done.exit_code in (0, 1)
        assert done.exception is None or isinstance(done.exception, SystemExit)


def _measuring(value: float) -> dict[str, Any]:
    """A report in which every check measured just this, in every one of its facts that may hold it."""
    made = document()
    (result,) = made["results"]
    whole = int(max(min(value, LARGEST), -LARGEST))
    fitting: dict[Any, Any] = {int: whole, int | None: whole, bool: True, tuple[str, ...]: []}
    made["results"] = [
        {**result, "check": check, "id": f"{check}/b/forward/{kind.__name__}", "measurements": numbers}
        for check, kinds in GIVEN_BY.items()
        for kind in kinds
        for numbers in [{field.name: fitting.get(field.type, value) for field in fields(kind)}]
    ]
    made["summary"] = {"fail": len(made["results"])}
    return made


def _packed(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
        assert len({member.name for member in members}) == len(members)
        for member in members:
            assert member.isreg()
            assert member.name.startswith(f"preflight-{RUN}/")
            assert ".." not in member.name.split("/")
        files = {member.name: tar.extractfile(member) for member in members}
        return {name: file.read() for name, file in files.items() if file}


LURES: dict[str, Callable[[Path], str]] = {
    "an absolute path": lambda folder: "/etc/shadow.pcap",
    "a way out": lambda folder: f"{folder}/../../secret.pcap",
    "a link out": lambda folder: _link(folder / "link.pcap", folder.parent.parent / "secret.pcap"),
    "a pipe": lambda folder: _pipe(folder / "pipe.pcap"),
    "a folder": lambda folder: _folder(folder / "folder.pcap"),
    "a huge file": lambda folder: _huge(folder / "huge.pcap"),
    "what is no capture": lambda folder: _file(folder / "text.pcap", b"root:x:0:0"),
    "a capture cut off": lambda folder: _file(folder / "cut.pcap", PCAP[:-30]),
    "another kind": lambda folder: _file(folder / "key.pem", b"secret"),
    "a name with an end": lambda folder: "a\0b.pcap",
}


@pytest.mark.parametrize("lure", LURES)
def test_a_bundle_packs_only_captures_of_its_report(lure: str, tmp_path: Path) -> None:
    """A path in another user's report gets no file of this machine into a ticket; the manifest lists what it lacks."""
    (tmp_path / "secret.pcap").write_bytes(b"secret of this machine" + PCAP)
    home = tmp_path / "reports"
    folder = home / folder_of(_report(document()))
    folder.mkdir(parents=True)
    path = LURES[lure](folder)
    (folder / "good.pcap").write_bytes(PCAP)
    (home / "r.json").write_bytes(json.dumps(document(path, "elsewhere/good.pcap") | {"summary": {"fail": 2}}).encode())
    done = preflight("bundle", home / "r.json", "-q", "-o", tmp_path / "b.tar.gz")
    assert done.exit_code == 0, done.output
    files = _packed(tmp_path / "b.tar.gz")
    assert [name.rpartition("/")[2] for name in files if "/captures/" in name] == ["reach.udp_b_forward_1.pcap"]
    assert not any(b"secret of this machine" in content or b"root:x" in content for content in files.values())
    (missing,) = json.loads(files[f"preflight-{RUN}/MANIFEST.json"])["left_out"]
    assert missing["why"]


def test_results_whose_names_clash_keep_their_captures(tmp_path: Path) -> None:
    """Two ids that make one name of a file are two files."""
    made = document("a.pcap", "a.pcap")
    made["results"][0]["id"], made["results"][1]["id"] = "reach.udp/b c/forward", "reach.udp/b/c/forward"
    made["summary"]["fail"] = 2
    folder = tmp_path / folder_of(_report(made))
    folder.mkdir()
    (folder / "a.pcap").write_bytes(PCAP)
    (tmp_path / "r.json").write_text(json.dumps(made))
    assert preflight("bundle", tmp_path / "r.json", "-q", "-o", tmp_path / "b.tar.gz").exit_code == 0
    assert sum("/captures/" in name for name in _packed(tmp_path / "b.tar.gz")) == 2


def test_a_payload_that_somebody_put_into_a_capture_is_cut_off() -> None:
    """A capture is headers only, also after others had it."""
    from preflight.evidence.capture import rewritten

    head = bytes([0x45, *bytes(8), 17, *bytes(10)]) + bytes(8)
    fat = pcap([Packet(10**18, 100, head + b"a-token-in-the-payload", "10.66.0.2")])
    assert rewritten(fat, None) == pcap([Packet(10**18, 100, head, "10.66.0.2")])


def _report(made: dict[str, Any]) -> Report:
    return Report.model_validate(made)


def _link(path: Path, target: Path) -> str:
    path.symlink_to(target)
    return str(path)


def _pipe(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


def _folder(path: Path) -> str:
    path.mkdir()
    return str(path)


def _huge(path: Path) -> str:
    with path.open("wb") as file:
        file.truncate(10**10)
    return str(path)


def _file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)
