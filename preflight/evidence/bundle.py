"""A report with its evidence as one archive: everything redacted, every file accounted for. Pure: bytes out."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from datetime import datetime

from preflight.evidence.capture import names_of, rewritten
from preflight.evidence.collect import Raw
from preflight.evidence.kept import Kept
from preflight.report import html, markdown, text
from preflight.report import json as report_json
from preflight.report.common import counts
from preflight.report.model import Report
from preflight.report.redact import Redactor
from preflight.report.timeline import FILE as TIMELINE
from preflight.report.timeline import Recorded

README = """A preflight report with its evidence.

{verdict}

report.html   for eyes: open it in a browser, it needs no network
report.md     for a ticket
report.txt    as on a terminal, with all measurements
report.json   for programs
log.txt       which check ran when, and how it ended
timeline.jsonl  all that the run did, one event per line, where it was recorded
evidence/     what this node's network tools printed, and the settings file
captures/     headers of the packets of failing checks, where they were recorded
MANIFEST.json SHA-256 of every other file, what was left out, and what was removed how often from which file

Secrets were removed from every file, and user names from paths.{addresses}
"""
_NOTHING = Kept({}, {})
_PSEUDONYMS = "\nAddresses and host names are replaced by pseudonyms, consistently in this bundle."


def make_bundle(
    report: Report,
    raw: Sequence[Raw],
    redactor: Redactor,
    captured: Kept = _NOTHING,
    *,
    addresses: bool,
    timeline: Recorded | None = None,
) -> bytes:
    """A gzipped tar with one folder.

    report: as it was written, redacted or not. captured: capture files by result id, and those that were left out. The
    manifest lists what was removed from which file.
    """
    redactor.learn(each.text for each in raw)
    clean = redactor.report(report, homes=True)
    packets, left_out = _captures(report, clean, captured, redactor)
    files = {
        "report.json": report_json.render(clean),
        "report.html": html.render(clean),
        "report.md": markdown.render(clean),
        "report.txt": text.render(clean, width=100, verbose=True),
        "log.txt": _log(clean),
        "README.txt": README.format(verdict=_verdict(clean), addresses=_PSEUDONYMS if addresses else ""),
        **({TIMELINE: "".join(timeline.lines(redactor, homes=True))} if timeline else {}),
        **{f"evidence/{each.name}": redactor.raw(each.text, f"evidence/{each.name}") for each in raw},
    }
    contents = {name: body.encode("utf-8", "replace") for name, body in files.items()} | packets
    contents["MANIFEST.json"] = _manifest(clean, contents, redactor, left_out)
    return _archive(f"preflight-{clean.run.id}", contents, clean.run.started_at)


def _verdict(report: Report) -> str:
    """What the report says, for who opens the archive first here."""
    causes = [
        f"  {number}. {cause.code} {cause.target}: {cause.message}" for number, cause in enumerate(report.diagnosis, 1)
    ]
    return "\n".join((f"{report.verdict.upper()}: {counts(report)}", *causes))


def _captures(
    report: Report, clean: Report, captured: Kept, redactor: Redactor
) -> tuple[dict[str, bytes], list[dict[str, str]]]:
    """The capture files by their names in the archive, headers only; and which are missing, and why."""
    packets: dict[str, bytes] = {}
    left_out = [{"file": redactor.text(path), "why": why} for path, why in captured.left_out.items()]
    for id, name in names_of(report, clean, captured.files).items():
        try:
            packets[f"captures/{name}"] = rewritten(captured.files[id], redactor.pseudonym)
        except ValueError as error:
            left_out.append({"file": name, "why": str(error)})
    return packets, left_out


def _log(report: Report) -> str:
    """The run in chronological order."""
    ran = sorted(report.results, key=lambda result: (result.started_at or report.run.started_at, result.id))
    lines = [
        f"{(result.started_at or report.run.started_at).isoformat()} {result.duration_ms:10.1f} ms "
        f"{result.status:<12} {result.id} {result.code or ''}".rstrip()
        for result in ran
    ]
    return "\n".join(lines) + "\n"


def _manifest(
    report: Report, contents: Mapping[str, bytes], redactor: Redactor, left_out: list[dict[str, str]]
) -> bytes:
    ledger = [{"file": where, "what": kind, "count": count} for (where, kind), count in sorted(redactor.ledger.items())]
    document = {
        "tool": {"name": report.tool.name, "version": report.tool.version},
        "run": report.run.id,
        "files": {
            name: {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
            for name, body in sorted(contents.items())
        },
        "left_out": left_out,
        "redacted": ledger,
    }
    return (json.dumps(document, indent=2) + "\n").encode()


def _archive(folder: str, contents: Mapping[str, bytes], when: datetime) -> bytes:
    """Owner, mode and times say nothing about who made it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, body in contents.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(body), 0o644, int(when.timestamp())
            archive.addfile(entry, io.BytesIO(body))
    return out.getvalue()
