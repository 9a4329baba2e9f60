"""Change one value in the text of a settings file, and nothing else in it: comments and order stay. Pure."""

import json
from typing import Any

import yaml

from preflight.fixing.step import FixError


def changed(text: str, key: str, value: str) -> str:
    """The text with `section.name` set to a value. Raises FixError if that is not possible in this text.

    The result is read again: everything else in it must be what it was.
    """
    section, _, name = key.partition(".")
    try:
        before = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise FixError(f"the settings file is not YAML: {str(error).splitlines()[0]}") from None
    wanted: Any = {} if before is None else before
    if not isinstance(wanted, dict) or not isinstance(wanted.get(section) or {}, dict):
        raise FixError(f"the settings file has no place for {key}")
    wanted = {**wanted, section: {**(wanted.get(section) or {}), name: value}}
    made = _written(text, root, section, name, json.dumps(value, ensure_ascii=False))
    if _read(made) != wanted:
        raise FixError(f"{key} cannot be changed in the settings file without changing more")
    return made


def readdressed(text: str, before: str, address: str) -> str:
    """The text with another address for the peer that has `before`. Raises FixError if no peer, or not one alone, has.

    The result is read again: everything else in it must be what it was.
    """
    try:
        peers = _value(yaml.compose(text, Loader=yaml.SafeLoader), "peers")
    except yaml.YAMLError as error:
        raise FixError(f"the settings file is not YAML: {str(error).splitlines()[0]}") from None
    entries = peers.value if isinstance(peers, yaml.SequenceNode) else []
    found = [node for node in (_value(entry, "address") for entry in entries) if node is not None]
    own = [node for node in found if node.value == before]
    if len(own) != 1:
        raise FixError(f"the settings file has no peer with the address {before} any more")
    (old,) = own
    made = text[: old.start_mark.index] + json.dumps(address) + text[old.end_mark.index :]
    settings = _read(text)
    changed = [{**each, "address": address} if each.get("address") == before else each for each in settings["peers"]]
    if _read(made) != {**settings, "peers": changed}:
        raise FixError(f"{before} cannot be changed in the settings file without changing more")
    return made


def _read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _written(text: str, root: yaml.Node | None, section: str, name: str, value: str) -> str:
    held = _value(root, section)
    entry = f"{name}: {value}"
    if held is None:
        return _new_section(text, root, f"{section}: {{{entry}}}")
    if not isinstance(held, yaml.MappingNode) or not held.value:
        return f"{text[: held.start_mark.index]} {{{entry}}}{text[held.end_mark.index :]}"
    old = _value(held, name)
    if old is not None:
        return text[: old.start_mark.index] + value + text[old.end_mark.index :]
    return _in_front(text, held, entry)


def _new_section(text: str, root: yaml.Node | None, entry: str) -> str:
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _in_front(text, root, entry)
    newline = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{newline}{entry}\n"


def _in_front(text: str, held: yaml.MappingNode, entry: str) -> str:
    """The entry before the first one of a mapping, in its style."""
    if not held.value:
        return f"{text[: held.start_mark.index]}{{{entry}}}{text[held.end_mark.index :]}"
    first = held.value[0][0].start_mark
    separator = ", " if held.flow_style else "\n" + " " * first.column
    return f"{text[: first.index]}{entry}{separator}{text[first.index :]}"


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
