"""The senders to the socket of an inquiry: each datagram counts once, for the right host."""

from dataclasses import dataclass, field

from preflight.model.event import Event, telling
from preflight.proto.core import Received
from preflight.proto.responder.inquiry import MOST_STRAYS, Sorter
from preflight.proto.responder.mailbox_probe import probe

NONCE, PEER = b"n" * 16, ("10.66.0.2", 862)
ANSWER = b"an answer"


@dataclass
class KnownSession:
    """A session that knows its answers."""

    taken: list[bytes] = field(default_factory=list)

    def take(self, received: Received, now: float) -> bool:
        """Take them."""
        if received.data == ANSWER:
            self.taken.append(received.data)
        return received.data == ANSWER

    def answered_by(self, data: bytes) -> bool:
        """Know them."""
        return data == ANSWER


def test_probes_are_counted_by_host() -> None:
    """Protects the reverse direction: a probe counts once, and only those of the peer prove its path."""
    sorter = Sorter(PEER, NONCE, 3)
    for number in (0, 1, 1, 2, 3, 99):
        assert sorter.sift(Received(probe(NONCE, number), PEER), 1.0)
    assert (sorter.probes, sorter.others) == (3, [])
    assert sorter.sift(Received(probe(NONCE, 0), ("10.66.0.9", 862)), 1.0)
    assert (sorter.probes, sorter.others) == (3, ["10.66.0.9"])


def test_answers_from_the_peers_place_go_to_their_session() -> None:
    """Protects late answers: each session gets them; what is not an answer is left to the session that runs."""
    sorter, burst, retry = Sorter(PEER, NONCE, 3), KnownSession(), KnownSession()
    sorter.sessions = [burst, retry]
    assert sorter.sift(Received(ANSWER, PEER), 1.0)
    assert not sorter.sift(Received(b"something else", PEER), 1.0)
    assert not sorter.sift(Received(probe(b"x" * 16, 0), PEER), 1.0)
    assert (burst.taken, sorter.strays) == ([ANSWER], {})


def test_answers_from_elsewhere_are_strays() -> None:
    """Protects the finding of a translation: they are named by place, up to a bound; noise is not."""
    events: list[Event] = []
    sorter = Sorter(PEER, NONCE, 3, telling(events.append, "stamp.inquiry"))
    sorter.sessions = [KnownSession()]
    for place in (("10.66.0.2", 5000), ("fd66::2", 862), ("10.66.0.2", 5000)):
        assert sorter.sift(Received(ANSWER, place), 1.0)
    assert sorter.sift(Received(b"noise", ("10.66.0.3", 1)), 1.0)
    assert sorter.strays == {"10.66.0.2:5000": 2, "[fd66::2]:862": 1}
    assert [event.name for event in events] == ["answer-from-elsewhere"] * 3
    for port in range(100):
        sorter.sift(Received(ANSWER, ("10.66.0.4", port + 1)), 1.0)
        sorter.sift(Received(probe(NONCE, 0), (f"10.66.1.{port}", 1)), 1.0)
    assert len(sorter.strays) == MOST_STRAYS
    assert len(sorter.others) == MOST_STRAYS
