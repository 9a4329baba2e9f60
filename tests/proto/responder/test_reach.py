"""Which direction is proven open or dead; what nothing proves stays unknown."""

import pytest

from preflight.model.path import AskResult, Heard, HelloReport, PeerReport
from preflight.model.remedy import as_text
from preflight.proto.responder.reach import Way, forward_way, reverse_way, start_or_key, start_responder, who_floods

HEARD = Heard(packets=3, packet_age_s=0.1)


def asked(**facts: object) -> AskResult:
    """Ten packets were sent and none was answered; `facts` is what else is known."""
    return AskResult(sent=10, answered=0, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        (asked(), Way.UNKNOWN),
        (asked(report=PeerReport(received=3, sent=0)), Way.OPEN),
        (asked(report=PeerReport(received=0, sent=0, elsewhere=3)), Way.OPEN),
        (asked(report=PeerReport(received=0, sent=0, refused={"other-key": 3})), Way.OPEN),
        (asked(report=PeerReport(received=0, sent=5)), Way.DEAD),
        # A full receive queue may have lost what reached its host.
        (asked(report=PeerReport(received=0, sent=5, overflowed=1)), Way.UNKNOWN),
        (asked(on_interface=1), Way.OPEN),
        # Its probes show that it read the port in its mailbox: they prove nothing of this node's packets.
        (asked(on_interface=10, probes_received=10), Way.UNKNOWN),
        (
            asked(on_interface=10, probes_received=10, hello=HelloReport(after_s=2.0, up_s=60.0, heard=Heard())),
            Way.DEAD,
        ),
        (asked(hello=HelloReport(after_s=2.0, up_s=60.0, heard=HEARD)), Way.OPEN),
        (asked(hello=HelloReport(after_s=2.0, up_s=60.0, heard=Heard())), Way.DEAD),
        # The hello may have crossed the first packet, or its sender came up after that packet had passed.
        (asked(hello=HelloReport(after_s=0.5, up_s=60.0, heard=Heard())), Way.UNKNOWN),
        (asked(hello=HelloReport(after_s=2.0, up_s=1.0, heard=Heard())), Way.UNKNOWN),
        (asked(hello=HelloReport(after_s=-1.0, up_s=60.0, heard=HEARD)), Way.UNKNOWN),
    ],
)
def test_forward(asked: AskResult, way: Way) -> None:
    """The word dead accuses the network: only the peer's own report proves that nothing came."""
    assert forward_way(asked) is way


@pytest.mark.parametrize(
    ("asked", "way"),
    [
        (asked(), Way.UNKNOWN),
        (asked(probes_received=1), Way.OPEN),
        (asked(on_interface=3), Way.DROPPED_HERE),
        (asked(on_interface=3, rejected={"foreign": 1}), Way.UNKNOWN),
        (asked(report=PeerReport(received=0, sent=5)), Way.DEAD),
        (asked(report=PeerReport(received=0, sent=0, send_errors={"EPERM": 5})), Way.DEAD),
        (asked(report=PeerReport(received=0, sent=0)), Way.UNKNOWN),
        (asked(hello=HelloReport(after_s=2.0, up_s=60.0, heard=Heard())), Way.OPEN),
    ],
)
def test_reverse(asked: AskResult, way: Way) -> None:
    """What came in at the interface and not at the socket was dropped here, not on the path."""
    assert reverse_way(asked) is way


def test_a_key_that_is_missing_here_is_no_reason_to_start_another() -> None:
    """A responder that runs there with a key looks like none: the advice names both."""
    *_, last = start_or_key("b", "10.66.0.2", 862, asker="10.66.0.1", keyed=False, certain=False)
    assert last.kind == "next"
    assert "set responder.key_file here" in last.lines[0]
    for keyed, certain in ((True, False), (False, True)):
        found = start_or_key("b", "10.66.0.2", 862, asker="10.66.0.1", keyed=keyed, certain=certain)
        assert found == start_responder("b", "10.66.0.2", 862, asker="10.66.0.1", keyed=keyed, certain=certain)


def test_the_line_that_starts_a_responder() -> None:
    """It can be pasted as it is: an IPv6 address in brackets, the port only where it is not the usual one."""
    assert as_text(start_responder("b", "fd66::2", 862)) == "preflight responder --bind '[fd66::2]'   # on b"
    line = as_text(start_responder("b", "10.66.0.2", 8620, asker="10.66.0.1", keyed=True)) or ""
    assert "--bind 10.66.0.2:8620 --allow 10.66.0.1 --key-file KEY-FILE" in line
    assert "udp dst port 862" in who_floods("b", 862)[0].lines[0]


@pytest.mark.parametrize("keyed", [True, False])
def test_a_responder_heals_only_where_nothing_listens(keyed: bool) -> None:
    """A silent port may have a responder behind a filter; then a second one would change nothing."""
    kinds = [
        [remedy.kind for remedy in start_responder("b", "10.66.0.2", 862, keyed=keyed, certain=certain)]
        for certain in (True, False)
    ]
    assert kinds == [["fix"], ["next"]]
    assert start_responder("b", "not an address", 862) == ()
