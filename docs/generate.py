"""Writes docs/reference from the program itself: checks, codes, settings, modules, events. `bin/docs` runs it."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preflight import codes
from preflight.engine.catalog import load_catalog
from preflight.settings.schema import config_schema

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / "preflight"
HEAD = "*Written by `bin/docs` from the program; a test holds it to it.*"


def checks() -> Iterator[str]:
    """One section for each bundled check."""
    yield f"# Checks\n\n{HEAD}"
    for check in sorted(load_catalog(third_party=False).checks, key=lambda check: check.id):
        facts = [f"about: {check.subject}", f"ends after {check.timeout:g} s"]
        facts += [f"needs {', '.join(f'`{need}`' for need in check.needs)}"] if check.needs else []
        facts += [f"after {', '.join(f'`{id}`' for id in check.after)}"] if check.after else []
        facts += ["only for targets in trouble"] if check.when == "trouble" else []
        facts += [f"reads {', '.join(f'`{kind.__name__}`' for kind in check.reads)}"] if check.reads else []
        facts += [f"privileges: {', '.join(check.privileges)}"] if check.privileges else []
        facts += [f"only with `--tag {tag}`" for tag in check.tags]
        facts += ["loads the path, so it runs alone"] if check.measures else []
        found = ", ".join(f"[`{code.slug}`](../../runbook/{code.slug}.md)" for code in check.codes)
        doc = "\n".join(line.strip() for line in check.doc.splitlines())
        yield f"## `{check.id}`\n\n{check.title}. {'; '.join(facts)}.\n\n{doc}\n\nFinds: {found}"


def finding_codes() -> Iterator[str]:
    """One row for each code."""
    yield f"# Finding codes\n\n{HEAD} `preflight explain CODE` prints the page of one."
    rows = [
        f"| [`{code.slug}`](../../runbook/{code.slug}.md) | {code.title} | {code.severity} |"
        for code in sorted(codes.ALL.values(), key=lambda code: code.slug)
    ]
    yield "\n".join(["| Code | Meaning | Severity |", "| --- | --- | --- |", *rows])


def settings() -> Iterator[str]:
    """One table for each block of the settings file."""
    yield f"# Settings\n\n{HEAD} Every key of `preflight.yaml` is optional; see `preflight schema config`."
    schema = config_schema()
    rows = "\n".join(_rows(schema, schema, ""))
    yield f"| Key | Value | Default | |\n| --- | --- | --- | --- |\n{rows}"


def _rows(schema: dict[str, Any], node: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, entry in node.get("properties", {}).items():
        inner = _resolved(schema, entry)
        key = f"{prefix}{name}"
        items = _resolved(schema, inner.get("items", {}))
        if inner.get("properties"):
            yield from _rows(schema, inner, f"{key}.")
        elif items.get("properties"):
            yield from _rows(schema, items, f"{key}[].")
        else:
            default = entry.get("default")
            shown = "" if default in (None, [], {}) else f"`{default}`"
            yield f"| `{key}` | {_kind(schema, entry)} | {shown} | {entry.get('description', '')} |"


def _resolved(schema: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry
    return found


def _kind(schema: dict[str, Any], entry: dict[str, Any]) -> str:
    """The allowed values, in a word or two."""
    entry = _resolved(schema, entry)
    if "anyOf" in entry:
        return " or ".join(dict.fromkeys(_kind(schema, each) for each in entry["anyOf"] if each.get("type") != "null"))
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("type") == "array":
        return f"list of {_kind(schema, entry.get('items', {}))}"
    if entry.get("format") in ("path", "date"):
        return {"path": "file", "date": "date"}[entry["format"]]
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        entry.get("type", ""), "text"
    )


def events() -> Iterator[str]:
    """One table for each source of events: the modules of that name, of whatever layer."""
    yield f"# Events of a timeline\n\n{HEAD} How to read one: [timeline](../timeline.md)."
    reported: dict[str, dict[str, list[str]]] = {}
    for path in sorted(PROGRAM.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for name, fields in _reported_by(call):
                reported.setdefault(source_of(path), {}).setdefault(name, []).extend(fields)
    for source, its in sorted(reported.items()):
        rows = (
            f"| `{name}` | {', '.join(f'`{field}`' for field in dict.fromkeys(fields))} |"
            for name, fields in sorted(its.items())
        )
        yield "\n".join([f"## `{source}`\n\n| Event | Fields |\n| --- | --- |", *rows])


def source_of(path: Path) -> str:
    """What a module of the program is called in a timeline: without the layers in which a topic has one name."""
    parts = path.relative_to(PROGRAM).with_suffix("").parts
    return ".".join(parts[1:] if parts[0] in ("proto", "net") else parts)


def _reported_by(node: ast.AST) -> Iterator[tuple[str, list[str]]]:
    """The events that a call reports, as `tell(now, "probe-sent", size_bytes=1400)` does, with their fields."""
    if not isinstance(node, ast.Call):
        return
    named = ast.unparse(node.func)
    if named == "Event" and len(node.args) == 5 and isinstance(node.args[4], ast.Dict):
        yield ast.literal_eval(node.args[3]), [ast.literal_eval(key) for key in node.args[4].keys if key]
    elif "tell" in named and not named.endswith("telling") and len(node.args) == 2:
        for name in filter(None, _texts(node.args[1])):
            yield name, [keyword.arg or "…" for keyword in node.keywords]


def _texts(node: ast.expr) -> list[str]:
    """The texts of a literal, or of both branches of a choice between two."""
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def modules() -> Iterator[str]:
    """One table for each package: its modules, each with the first sentence of its docstring."""
    yield f"# Modules\n\n{HEAD} [How it is built](../architecture.md) says how they fit together."
    packages = sorted({path.parent for folder in ("preflight", "checks") for path in (ROOT / folder).rglob("*.py")})
    for package in packages:
        rows = [
            f"| [`{path.stem}`](../../{path.relative_to(ROOT)}) | {_purpose(path)} |"
            for path in sorted(package.glob("*.py"))
            if path.stem != "__init__"
        ]
        table = ["| Module | What it is for |", "| --- | --- |", *rows] if rows else []
        yield "\n".join([f"## {package.relative_to(ROOT)}/\n\n{_purpose(package / '__init__.py')}\n", *table]).rstrip()


def _purpose(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line of a table."""
    doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(doc.partition("\n\n")[0].split()).replace("|", "\\|")


PAGES = {
    "checks.md": checks,
    "codes.md": finding_codes,
    "events.md": events,
    "modules.md": modules,
    "settings.md": settings,
}


def main(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, blocks in PAGES.items():
        (folder / name).write_text("\n\n".join(blocks()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
