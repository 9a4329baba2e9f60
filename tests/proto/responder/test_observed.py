"""What crosses of an observation, and that nothing else does: the field is bounded, and read with distrust."""

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.model import observed as model
from preflight.model.facts import DeathFacts
from preflight.model.fix import FlowForget, LinkUp, PrivateFiles, Route
from preflight.model.observed import PeerObservation
from preflight.model.peer_tunnel import PeerTunnel
from preflight.proto.responder import observed
from preflight.proto.responder.observed import MOST_ENTRIES, decode, decode_tunnel, encode, encode_tunnel
from preflight.proto.way import observation

KEY = "c3RyYW5nZXIgc3RyYW5nZXIgc3RyYW5nZXIgc3RyYW4="
RULE = PeerObservation(
    station="input",
    finding="killed",
    direction="forward",
    sent=4,
    seen=4,
    code="host.firewall-drop",
    facts=DeathFacts(rule_handle=12, chain="guard input", comment="no peers"),
    fixes=(Route(action="replace", destination="10.66.0.1/32", interface="wg0"),),
)
ENTRY = {"station": "input", "direction": "forward", "finding": "killed"}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def crossed(*observations: PeerObservation) -> tuple[PeerObservation, ...]:
    """What the asker reads of them."""
    return decode(json.loads(json.dumps(encode(observations))))


def test_an_observation_arrives_as_it_was() -> None:
    """Counts, code, facts and the change that heals are read as written."""
    seen = PeerObservation(station="tunnel", finding="seen", direction="reverse", packets="data", sent=10, seen=10)
    likely = PeerObservation(station="route", finding="killed", direction="reverse", code="a.b", certain=False)
    assert set(crossed(RULE, seen, likely)) == {RULE, seen, likely}


def test_the_words_are_those_of_observations() -> None:
    """Both models name findings and packets alike: what one adds, the other must carry."""
    assert get_args(model.Finding) == get_args(observation.Finding)
    assert get_args(model.PacketClass) == get_args(observation.PacketClass)


def test_what_decides_comes_first() -> None:
    """A report that is too long loses what says least."""
    clear = [PeerObservation(station="rp", finding="clear", direction="forward")] * MOST_ENTRIES
    assert crossed(*clear, RULE)[0] == RULE
    assert len(crossed(*clear, RULE)) == MOST_ENTRIES
    assert len(decode([ENTRY] * 1000)) == MOST_ENTRIES


FACTS: dict[str, tuple[Any, Any]] = {
    "rule_handle": (7, 0),
    "chain": ("filter DOCKER-USER", "filter; rm -rf /"),
    "comment": ("das hält Gäste fern", "a\nb"),
    "route_type": ("blackhole", "a route"),
    "gateway": ("192.0.2.1", "gateway"),
    "interface": ("wg0", "wg0; reboot"),
    "source": ("fd66::1", "fe80::1%wg0"),
    "address": ("10.66.0.1", "10.66.0.1/32"),
    "sysctl": ("net.ipv4.conf.wg0.rp_filter", "net.ipv4 = $(reboot)"),
    "offender": ("10.66.0.2", "10.66.0"),
    "port": (862, 65536),
    "public_key": (KEY, "secret"),
}


def test_each_fact_that_crosses_has_a_form() -> None:
    """The table of this test is the whitelist: a new fact needs a good and a bad value here."""
    assert FACTS.keys() == observed._FACTS.keys()


@pytest.mark.parametrize("name", FACTS)
def test_a_fact_without_its_form_is_left_out(name: str) -> None:
    """A value that is not of its kind is ignored, and the rest of the entry stays."""
    good, bad = FACTS[name]
    assert decode([{**ENTRY, "facts": {name: good}}])[0].facts == DeathFacts(**{name: good})
    for value in (bad, None, [good], {"a": good}, True, 10**400, "x" * 10_000, 1.5):
        (read,) = decode([{**ENTRY, "facts": {name: value}}])
        assert read.facts is None, value


def test_what_is_not_on_the_list_does_not_cross() -> None:
    """A path, an endpoint or a server of the peer's stays with the peer, and no asker reads it."""
    secret = DeathFacts(file="/etc/wireguard/wg0.conf", endpoint="192.0.2.7:51820", rule_handle=3)
    (entry,) = encode([PeerObservation(station="input", finding="killed", direction="forward", facts=secret)])
    assert entry["facts"] == {"rule_handle": 3}
    (read,) = decode([{**ENTRY, "facts": {"file": "/etc/shadow", "message": "call me"}, "message": "call me"}])
    assert read == PeerObservation(station="input", finding="killed", direction="forward")


def test_a_long_comment_is_cut() -> None:
    """A rule's comment may be as long as its owner likes; the report has room for its begin."""
    facts = DeathFacts(rule_handle=1, comment="c" * 500)
    (read,) = crossed(PeerObservation(station="input", finding="killed", direction="forward", facts=facts))
    assert read.facts == DeathFacts(rule_handle=1, comment="c" * observed.LONGEST_COMMENT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"station": "INPUT"},
        {"station": 7},
        {"station": "x" * 25},
        {"direction": "sideways"},
        {"finding": "guessed"},
        {"packets": "small"},
        {"sent": -1},
        {"seen": 10**9},
        {"sent": True},
        {"code": "../../etc"},
        {"code": ["host.firewall-drop"]},
        {"likely": "yes"},
    ],
)
def test_an_entry_of_another_form_is_ignored(wrong: dict[str, Any]) -> None:
    """One bad entry spoils none of the others."""
    assert decode([{**ENTRY, **wrong}, ENTRY]) == decode([ENTRY])


@pytest.mark.parametrize(
    "fix",
    [
        {"id": "private-files", "paths": ["/etc/shadow"]},
        {"id": "route", "action": "replace", "destination": "10.66.0.1/32; reboot", "interface": "wg0"},
        {"id": "route", "action": "replace", "destination": "10.66.0.1/32", "interface": "wg0", "more": 1},
        {"id": "route", "action": "replace", "destination": "10.66.0.1/32", "interface": 7},
        {"id": "link.up", "interface": "-wg0"},
        {"id": "link.up"},
        {"id": "nothing"},
        "ip link set wg0 up",
        [[]],
    ],
)
def test_a_change_of_another_kind_is_ignored(fix: object) -> None:
    """Only changes of the peer's network cross, with parameters that are valid, and no others."""
    assert decode([{**ENTRY, "fix": fix}]) == decode([ENTRY])


def test_only_changes_of_the_network_leave() -> None:
    """What names a file of the peer's stays there."""
    files = PeerObservation(
        station="input",
        finding="killed",
        direction="forward",
        fixes=(PrivateFiles(paths=("/etc/wireguard/wg0.conf",)),),
    )
    assert "fix" not in encode([files])[0]
    assert encode(
        [PeerObservation(station="tunnel", finding="killed", direction="reverse", fixes=(LinkUp(interface="a"),))]
    )[0]["fix"] == {"id": "link.up", "interface": "a"}


UP, FORGET = LinkUp(interface="a"), FlowForget(destination="10.201.2.2", destination_port=51820)


def test_several_changes_come_together_or_not_at_all() -> None:
    """A reader that knows of one change only must not take the first of them for all."""
    both = PeerObservation(station="post-outer", finding="killed", direction="reverse", fixes=(UP, FORGET))
    (entry,) = encode([both])
    assert "fix" not in entry
    assert decode([entry]) == (both,)
    (part,) = decode([{**entry, "fixes": [entry["fixes"][0], {"id": "unknown"}]}])
    assert not part.fixes
    file = PrivateFiles(paths=("/etc/wireguard/wg0.conf",))
    assert not decode(encode([replace(both, fixes=(UP, file))]))[0].fixes


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "station": st.sampled_from(["input", "wire", "x"]) | json_values,
                "direction": st.sampled_from(["forward", "reverse"]) | json_values,
                "finding": st.sampled_from(["seen", "killed"]) | json_values,
            },
            optional=dict.fromkeys(("packets", "sent", "seen", "code", "facts", "likely", "fix", "fixes"), json_values),
        )
        | json_values,
        max_size=8,
    )
    | json_values
)
def test_whatever_comes_is_read_or_ignored(value: object) -> None:
    """Any field of any kind gives observations within their bounds, which can be written again."""
    read = decode(value)
    assert decode(encode(read)) == tuple(sorted(read, key=lambda each: observed._WEIGHT[each.finding]))
    assert all(line.isprintable() for each in read for fix in each.fixes for line in fix.lines)


TUNNEL = PeerTunnel(
    interface="wg0", public_key=KEY, knows_key=True, owner=KEY, allowed=("10.66.0.1/32",), preshared=False
)


@pytest.mark.parametrize("tunnel", [TUNNEL, PeerTunnel()])
def test_a_tunnel_arrives_as_it_was(tunnel: PeerTunnel) -> None:
    """Keys and addresses that the peer has for the asker, and whether there is a preshared key."""
    assert decode_tunnel(json.loads(json.dumps(encode_tunnel(tunnel)))) == tunnel


def test_what_else_a_tunnel_knows_stays() -> None:
    """Where the peer sees the asker, and when, stays there."""
    known = PeerTunnel(public_key=KEY, endpoint="192.0.2.1:51820", last_handshake_unix_s=1.0, rx_bytes=7)
    assert decode_tunnel(encode_tunnel(known)) == PeerTunnel(public_key=KEY)
    assert decode_tunnel({"endpoint": "192.0.2.1:51820"}) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"interface": "wg0; reboot"},
        {"public_key": "key"},
        {"knows_key": 1},
        {"owner": 7},
        {"allowed": "10.66.0.1/32"},
        {"allowed": ["10.66.0.1"]},
        {"allowed": ["10.66.0.1/32"] * 17},
        {"allowed": [7]},
        {"preshared": "secret"},
        {"private_key": KEY},
    ],
)
def test_a_tunnel_of_another_form_is_ignored(wrong: dict[str, Any]) -> None:
    """Half of it would compare with nothing."""
    assert decode_tunnel(encode_tunnel(TUNNEL) | wrong) is None


@given(json_values)
def test_any_tunnel_is_read_or_ignored(value: object) -> None:
    """Whatever comes gives a tunnel that can be written again, or none."""
    read = decode_tunnel(value)
    assert read is None or decode_tunnel(encode_tunnel(read)) == read
