"""One value of a settings file changes; comments, order and everything else stay."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from preflight.fixing.settings_edit import changed, readdressed
from preflight.fixing.step import FixError

URL = "http://10.66.0.3:9847"
NEW = f'url: "{URL}"'


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("", f"control: {{{NEW}}}\n"),
        ("# mine\n", f"# mine\ncontrol: {{{NEW}}}\n"),
        ("node: {id: a}", f"node: {{id: a}}\ncontrol: {{{NEW}}}\n"),
        ("control: {url: old, scope_id: x}   # here\n", f'control: {{url: "{URL}", scope_id: x}}   # here\n'),
        ("control: {scope_id: x}\n", f"control: {{{NEW}, scope_id: x}}\n"),
        ("control:\n  # the server\n  url: old  # lan\n  scope_id: x\n", None),
        ("control:\n  scope_id: x  # ours\npeers: []\n", None),
        ("control:\nnode: {id: a}\n", None),
        ("control: {}\n", None),
        ("control: 'null'\n", FixError),
        ("[1]\n", FixError),
        ("control: {a: [}\n", FixError),
        ("base: &b {url: x}\ncontrol: *b\nnode: *b\n", FixError),
    ],
)
def test_only_the_value_changes(text: str, made: str | type[FixError] | None) -> None:
    """Protects the rest of a file that somebody wrote with care."""
    if made is FixError:
        with pytest.raises(FixError):
            changed(text, "control.url", URL)
        return
    after = changed(text, "control.url", URL)
    assert made is None or after == made
    assert yaml.safe_load(after)["control"]["url"] == URL
    assert [line for line in text.splitlines() if "#" in line and "lan" not in line] == [
        line for line in after.splitlines() if "#" in line and "lan" not in line and "here" not in line
    ] or "# here" in after
    assert "# lan" not in text or "# lan" in after


scalars = st.none() | st.booleans() | st.integers(0, 9) | st.text("ab #:{}'\"\n", max_size=6)
documents = st.dictionaries(
    st.sampled_from(("node", "control", "overlay")),
    st.dictionaries(st.sampled_from(("id", "url", "scope_id")), scalars, max_size=3),
    max_size=3,
)


@given(documents, st.booleans() | st.none(), st.text("ab'\" #:é{}", min_size=1, max_size=9))
def test_any_file_keeps_its_meaning(document: dict[str, dict[str, object]], flow: bool | None, value: str) -> None:
    """What the file says is what it said before, with one value more."""
    after = changed(yaml.safe_dump(document, default_flow_style=flow, sort_keys=False), "control.scope_id", value)
    wanted = {**document, "control": {**document.get("control", {}), "scope_id": value}}
    assert yaml.safe_load(after) == wanted


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            "peers:\n  - address: 10.66.0.20   # b\n    name: b\n",
            'peers:\n  - address: "10.66.0.2"   # b\n    name: b\n',
        ),
        (
            "peers: [{address: 10.66.0.3}, {name: b, address: '10.66.0.20'}]\n",
            'peers: [{address: 10.66.0.3}, {name: b, address: "10.66.0.2"}]\n',
        ),
        ("peers: [{address: 10.66.0.3}]\n", FixError),
        ("peers: [{address: 10.66.0.20}, {address: 10.66.0.20}]\n", FixError),
        ("peers: []\n", FixError),
        ("", FixError),
        ("peers: [{address: }\n", FixError),
        ("peers: [&b {address: 10.66.0.20}]\nlater: *b\n", FixError),
    ],
)
def test_only_the_address_of_that_peer_changes(text: str, made: str | type[FixError]) -> None:
    """Protects the other peers, and a file in which the peer was corrected meanwhile."""
    if made is FixError:
        with pytest.raises(FixError):
            readdressed(text, "10.66.0.20", "10.66.0.2")
    else:
        assert readdressed(text, "10.66.0.20", "10.66.0.2") == made
