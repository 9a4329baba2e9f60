"""Writes docs/reference from the program itself: checks, finding codes, settings. `bin/docs` runs it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preflight import codes
from preflight.engine.catalog import load_catalog
from preflight.settings.load import config_schema

HEAD = "*Written by `bin/docs` from the program; a test holds it to it.*"


def checks() -> Iterator[str]:
    """One section for each bundled check."""
    yield f"# Checks\n\n{HEAD}"
    for check in sorted(load_catalog(third_party=False).checks, key=lambda check: check.id):
        facts = [f"about: {check.subject}", f"ends after {check.timeout:g} s"]
        facts += [f"needs {', '.join(f'`{need}`' for need in check.needs)}"] if check.needs else []
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
    if entry.get("format") == "path":
        return "file"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}.get(
        entry.get("type", ""), "text"
    )


PAGES = {"checks.md": checks, "codes.md": finding_codes, "settings.md": settings}


def main(folder: Path) -> None:
    """Write every page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, blocks in PAGES.items():
        (folder / name).write_text("\n\n".join(blocks()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
