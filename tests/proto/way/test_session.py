"""Each state of a WireGuard session as two ends and a tap see it, and the one sentence that it allows."""

from typing import Any

import pytest

from preflight.model.remedy import as_text
from preflight.proto.way.session import observe_its_session, observe_session
from preflight.proto.way.tunnel_view import TunnelView
from tests.proto.way.seeing import (
    BURST,
    HERE,
    KEY_B,
    LENGTH,
    OWN,
    OWN_KEY,
    THERE,
    B,
    death_of,
    grown,
    inner,
    outer,
    peer,
    refusal,
    state,
    told,
    view,
)

NEVER = state(peer(last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0))
ASKED = (outer("initiation", out=True, sender=7, at_s=0.1), outer("initiation", out=True, sender=8, at_s=5.2))
ANSWERED = (outer("response", out=False, sender=9, receiver=7, at_s=0.2),)
CALLED = (
    outer("initiation", out=False, sender=3, greets=True, at_s=0.3),
    outer("initiation", out=False, sender=4, greets=True, at_s=5.3),
)
SENT = tuple(outer("data", out=True) for _ in range(10))


def test_silence_is_not_explained() -> None:
    """Wrong key either way, a clock that went back and a dead path look the same: nothing is claimed."""
    assert observe_session(view(*BURST, *ASKED, before=NEVER)) == ()


def test_a_burst_that_was_answered_has_no_death() -> None:
    """Protects a healthy peer from what a strange packet may look like."""
    seen = view(*BURST, *ASKED, *ANSWERED, before=NEVER)
    burst = type(seen.burst)(flow=seen.burst.flow, sent=10, answered=1)
    assert observe_session(view(*BURST, *ASKED, *ANSWERED, before=NEVER, burst=burst)) == ()


@pytest.mark.parametrize(
    ("preshared", "said", "where"),
    [(False, "so the peer has one", {"peer"}), (True, "this node has one", {"node", "peer"})],
)
def test_answers_that_are_not_counted_are_the_preshared_key(preshared: bool, said: str, where: set[str]) -> None:
    """The public keys fit, or no answer to this question could have been made; both sides may be the one to change."""
    own = state(peer(last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0, preshared=preshared))
    found = death_of(observe_session(view(*BURST, *ASKED, *ANSWERED, before=own)))
    assert (found.station.id, found.station.host, found.direction) == ("session", "receiver", "reverse")
    assert found.death is not None
    assert found.death.code.slug == "overlay.preshared-key"
    assert found.death.facts is not None
    assert found.death.facts.mismatch == "preshared key"
    assert found.death.facts.mismatch in found.death.message
    assert said in found.death.message
    assert {remedy.where for remedy in found.death.remedies} == where
    assert all(remedy.kind == "fix" and "preshared-key /dev/null" in remedy.lines[0] for remedy in found.death.remedies)


NOT_THE_PRESHARED_KEY: dict[str, TunnelView] = {
    "the answer is to nobody's question": view(
        *BURST, *ASKED, outer("response", out=False, sender=9, receiver=99, at_s=0.2), before=NEVER
    ),
    "the answer came before the question": view(
        *BURST, *ASKED, outer("response", out=False, sender=9, receiver=8, at_s=0.2), before=NEVER
    ),
    "the answer is made for another key": view(
        *BURST, *ASKED, outer("response", out=False, sender=9, receiver=7, greets=False), before=NEVER
    ),
    "the answer came too late to be counted": view(
        *BURST, *ASKED, outer("response", out=False, sender=9, receiver=8, at_s=5.95), before=NEVER
    ),
    "the peer's call crossed the question": view(
        *BURST,
        *ASKED,
        outer("initiation", out=False, sender=3, greets=True, at_s=0.15),
        outer("response", out=True, receiver=3, at_s=0.16),
        *ANSWERED,
        before=NEVER,
    ),
    "this node asks for a cookie": view(*BURST, *ASKED, *ANSWERED, outer("cookie", out=True), before=NEVER),
    "the handshake succeeded": view(
        *BURST, *ASKED, *ANSWERED, before=NEVER, after=grown(NEVER, last_handshake_unix_s=1.7e9, rx_bytes=92)
    ),
    "the tap was blind": view(before=NEVER, tapped=type(view().tapped)(blind="no privilege")),
    "nobody could read the firewall": view(*BURST, *ASKED, *ANSWERED, before=NEVER, filters_read=False),
    "another product": view(*BURST, *ASKED, *ANSWERED, before=NEVER, carrier="nebula"),
}


@pytest.mark.parametrize("seen", NOT_THE_PRESHARED_KEY.values(), ids=NOT_THE_PRESHARED_KEY)
def test_what_may_be_something_else_is_not_the_preshared_key(seen: TunnelView) -> None:
    """A wrong diagnosis is worse than none: each of these has another explanation."""
    assert observe_session(seen) == ()


def test_a_peer_under_load_is_no_death() -> None:
    """Type 3 comes in and is not counted; the next initiation is answered."""
    cookie = outer("cookie", out=False, receiver=7, at_s=0.2)
    assert observe_session(view(*BURST, *ASKED, cookie, before=NEVER)) == ()


@pytest.mark.parametrize("before", [NEVER, state(peer(last_handshake_unix_s=1.69e9))])
def test_a_peer_that_calls_with_an_old_key_of_this_node(before: Any) -> None:
    """The first MAC of its call shows it, and no secret is needed."""
    calls = [outer("initiation", out=False, sender=3, greets=False)]
    found = death_of(observe_session(view(*BURST, *ASKED, *calls, before=before)))
    assert found.death is not None
    assert found.death.code.slug == ("overlay.no-handshake" if before is NEVER else "overlay.handshake-stale")
    assert found.death.facts is not None
    assert found.death.facts.public_key == OWN_KEY
    assert OWN_KEY in found.death.message
    assert found.death.certain


def test_a_call_with_another_key_beside_a_living_session_proves_nothing() -> None:
    """Protects who has two entries for one host, as for a node that was set up again: only one of them is old."""
    calls = [outer("initiation", out=False, sender=3, greets=False)]
    found = death_of(observe_session(view(*BURST, *ASKED, *calls)))
    assert found.death is not None
    assert not found.death.certain
    assert "it may have two entries" in found.death.message


def test_a_peer_that_calls_with_a_key_that_this_node_does_not_have() -> None:
    """The call is made for this node, so this node's entry is old, or the peer's clock went back: said, not proven."""
    found = death_of(observe_session(view(*BURST, *ASKED, *CALLED, before=NEVER)))
    assert found.death is not None
    assert not found.death.certain
    assert "its clock went back" in found.death.message
    assert found.death.facts is not None
    assert found.death.facts.public_key == KEY_B


def test_calls_that_are_answered_or_are_a_stranger_s_prove_nothing() -> None:
    """A scan of the Internet, and a call that this node accepted, say nothing of the peer's key."""
    stranger = outer("initiation", out=False, remote=("203.0.113.9", 4444), sender=3, greets=False)
    assert observe_session(view(*BURST, *ASKED, stranger, before=NEVER)) == ()
    answer = outer("response", out=True, sender=1, receiver=3)
    assert observe_session(view(*BURST, *ASKED, CALLED[0], answer, before=NEVER)) == ()


def test_a_peer_that_is_heard_and_does_not_hear() -> None:
    """Its calls are accepted and its keys fit, and it answers no question: this node is not heard."""
    answer = outer("response", out=True, sender=1, receiver=3, at_s=0.4)
    after = grown(NEVER, rx_bytes=148)
    (found,) = observe_session(view(*BURST, ASKED[0], CALLED[0], answer, before=NEVER, after=after))
    assert told([found]) == [("forward", "session", "receiver", "absent", "handshake")]
    assert found.reason.startswith("b calls and its keys fit, and it does not answer wg0")
    # It called before this window.
    earlier = state(peer(last_handshake_unix_s=0.0, rx_bytes=5 * 148, tx_bytes=5 * 92))
    assert told(observe_session(view(*BURST, *ASKED, before=earlier))) == told([found])


def test_a_peer_that_may_still_answer_or_has_another_preshared_key() -> None:
    """With another preshared key it would answer this node's questions: without one that had time, nothing is said."""
    answer = outer("response", out=True, sender=1, receiver=3, at_s=0.4)
    after = grown(NEVER, rx_bytes=148)
    assert observe_session(view(*BURST, CALLED[0], answer, before=NEVER, after=after)) == ()
    late = outer("initiation", out=True, sender=7, at_s=5.5)
    assert observe_session(view(*BURST, CALLED[0], answer, late, before=NEVER, after=after)) == ()
    # Only the peer's call was counted, so its answers to this node's own question were not accepted.
    both = view(*BURST, *ASKED, CALLED[0], answer, *ANSWERED, before=NEVER, after=after)
    found = death_of(observe_session(both))
    assert found.death is not None
    assert found.death.code.slug == "overlay.preshared-key"
    counted = view(*BURST, *ASKED, CALLED[0], answer, *ANSWERED, before=NEVER, after=grown(NEVER, rx_bytes=240))
    assert observe_session(counted) == ()
    alive = state(peer())
    assert observe_session(view(*BURST, CALLED[0], answer, before=alive, after=grown(alive, rx_bytes=1148))) == ()


def test_answers_from_another_address() -> None:
    """The index in them shows whose they are; what keeps them out is not known."""
    answer = outer("response", out=False, sender=9, receiver=7, remote=("198.51.100.77", 51820), at_s=0.2)
    found = death_of(observe_session(view(*BURST, *ASKED, answer, before=NEVER)))
    assert found.death is not None
    assert found.death.code.slug == "overlay.endpoint-answers-elsewhere"
    assert found.death.facts is not None
    assert found.death.facts.answered_from == "198.51.100.77"
    assert found.death.facts.answered_from in found.death.message
    assert not found.death.certain


def test_a_tunnel_that_followed_its_peer_elsewhere() -> None:
    """It roams at once: both endpoints are the peer's, and nothing is wrong."""
    after = grown(state(), endpoint="198.51.100.77:51820", rx_bytes=2000)
    data = [outer("data", out=False, remote=("198.51.100.77", 51820)) for _ in range(3)]
    assert observe_session(view(*BURST, *SENT, *data, after=after)) == ()


@pytest.mark.parametrize("counted", ["bytes", "frames"])
def test_data_that_the_tunnel_does_not_let_out(counted: str) -> None:
    """wireguard-go counts the bytes before it looks at the source, the kernel counts frame errors."""
    data = [outer("data", out=False) for _ in range(10)]
    after = grown(state(), rx_bytes=1000 + 10 * (LENGTH + 44)) if counted == "bytes" else state()
    frames = 10 if counted == "frames" else 0
    found = death_of(observe_session(view(*BURST, *SENT, *data, after=after, frame_errors=frames)))
    assert found.death is not None
    assert found.death.code.slug == "overlay.wrong-source"
    assert (found.direction, found.station.host) == ("reverse", "receiver")
    assert found.death.facts is not None
    assert found.death.facts.public_key == KEY_B


def test_data_that_may_be_something_else() -> None:
    """One packet, keepalives, and bytes that nobody counted prove nothing of a source."""
    keepalives = [outer("keepalive", out=False) for _ in range(10)]
    after = grown(state(), rx_bytes=5000)
    assert observe_session(view(*BURST, *SENT, *keepalives, after=after)) == ()
    assert observe_session(view(*BURST, *SENT, outer("data", out=False), after=after)) == ()
    uncounted = [outer("data", out=False) for _ in range(10)]
    assert observe_session(view(*BURST, *SENT, *uncounted)) == ()
    answers = [inner(out=False)]
    assert observe_session(view(*BURST, *SENT, *uncounted, *answers, after=after)) == ()


def test_no_endpoint_and_no_call() -> None:
    """Nothing can be sent, and only the peer knows where it is."""
    own = state(peer(endpoint=None, last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0))
    found = death_of(observe_session(view(*BURST, before=own)))
    assert (found.station.id, found.station.host) == ("session", "sender")
    assert found.death is not None
    assert found.death.code.slug == "overlay.no-handshake"
    assert "endpoint HOST:PORT" in (as_text(found.death.remedies) or "")


@pytest.mark.parametrize(("source", "how"), [("192.168.1.7", "rewrote 10.66.0.1"), (HERE, "the route chose it")])
def test_packets_with_a_source_that_is_none_of_the_tunnel_s(source: str, how: str) -> None:
    """A source that the socket had is the route's choice; any other was rewritten on the way."""
    flow = view().burst.flow
    own = flow if "rewrote" in how else type(flow)(source=source, destination=B, source_port=40000)
    burst = type(view().burst)(flow=own, sent=10)
    packets = [inner(out=True, source=source) for _ in range(10)]
    found = death_of(observe_session(view(*packets, *SENT, burst=burst)))
    assert (found.station.id, found.station.host, found.direction) == ("session", "receiver", "forward")
    assert found.death is not None
    assert how in found.death.message
    assert found.death.facts is not None
    assert found.death.facts.source == source
    assert source in found.death.message
    assert not found.death.certain  # a peer's allowed-ips may list a network behind this node


def test_errors_alone_say_nothing_of_the_session() -> None:
    """Who refuses is another module's sentence."""
    assert observe_session(view(*BURST, *ASKED, refusal(THERE), before=NEVER)) == ()
    assert OWN in {each.source for each in BURST}


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"last_handshake_unix_s": 0.0, "rx_bytes": 0}, "b has no session to send with"),
        ({"rx_bytes": 92}, "b may not send before something of wg0 has come there, and has sent no data yet"),
        ({"rx_bytes": 5000}, None),
    ],
    ids=["no session", "begun here and never used", "used"],
)
def test_what_the_peer_has_to_send_with(known: dict[str, Any], reason: str | None) -> None:
    """Protects from a second cause for the way back, where this node's own end keeps the peer from sending."""
    found = observe_its_session(view(*BURST, before=state(peer(**known))))
    assert [each.reason for each in found] == ([] if reason is None else [reason])
    assert all((each.finding, each.direction, each.station.host) == ("blind", "reverse", "sender") for each in found)
