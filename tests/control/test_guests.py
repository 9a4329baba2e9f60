"""Which connections are accepted, as tables: no sockets, and the time given."""

import pytest

from preflight.control.guests import FEWEST, MOST, Caps, Cut, Guest, Guests, caps, client_of


class Inn:
    """A table of connections, and what happened at its door."""

    def __init__(self, in_all: int = 4, per_client: int = 2) -> None:
        self.cuts: list[Cut] = []
        self.said: list[Cut] = []
        self.left: list[str] = []
        self.now = 0.0
        self.guests = Guests(Caps(in_all, per_client), self.cuts.append, self.said.append, lambda: self.now)

    def come(self, host: str, name: str = "") -> Guest | None:
        """A new connection; the one that has to leave for it is written down."""
        guest = self.guests.admit(host)
        if guest is not None:
            guest.leave = lambda: self.left.append(name)
        return guest


def test_the_stranger_who_waits_longest_makes_room() -> None:
    """First among those of the same client, then among all; a newcomer is always let in."""
    inn = Inn()
    for host, name in [("192.0.2.1", "a"), ("192.0.2.1", "b"), ("192.0.2.1", "c")]:
        assert inn.come(host, name)
    assert inn.left == ["a"]
    for number in range(4):
        assert inn.come(f"198.51.100.{number}", str(number))
    assert inn.left == ["a", "b", "c"]
    assert set(inn.cuts) == {Cut.REPLACED}
    assert len(inn.guests) == 4


def test_an_answer_puts_a_stranger_at_the_end() -> None:
    """A client that asks now and then outlives one that only waits."""
    inn = Inn()
    first = inn.come("192.0.2.1", "first")
    inn.come("192.0.2.1", "second")
    assert first
    inn.guests.answered(first, known=False)
    inn.come("192.0.2.1", "third")
    assert inn.left == ["second"]


def test_a_node_of_its_own_is_never_replaced() -> None:
    """With only those, newcomers are refused, and the log says that once a minute."""
    inn = Inn()
    for number in range(4):
        guest = inn.come(f"192.0.2.{number}")
        assert guest
        inn.guests.answered(guest, known=True)
        inn.guests.answered(guest, known=False)
    assert [inn.come("198.51.100.1") for _ in range(3)] == [None] * 3
    assert (inn.cuts, inn.said) == ([Cut.FULL] * 3, [Cut.FULL])
    inn.now = 60.0
    assert inn.come("192.0.2.1") is None
    assert inn.said == [Cut.FULL] * 2
    assert not inn.left


def test_a_request_under_way_is_finished() -> None:
    """A stranger that the server works for does not make room."""
    inn = Inn(per_client=1)
    guest = inn.come("192.0.2.1")
    assert guest
    guest.busy = True
    assert inn.come("192.0.2.1") is None
    assert inn.cuts == [Cut.CLIENT_FULL]
    guest.busy = False
    assert inn.come("192.0.2.1")


def test_who_is_gone_leaves_nothing() -> None:
    """However often that is reported, and in whatever state the connection was."""
    inn = Inn()
    guests = [inn.come("192.0.2.1"), inn.come("192.0.2.2")]
    for guest in guests:
        assert guest
        inn.guests.answered(guest, known=guest is guests[0])
        for _ in range(2):
            inn.guests.gone(guest)
        inn.guests.answered(guest, known=False)
    assert len(inn.guests) == 0
    assert not any((inn.guests._count, inn.guests._strangers, inn.guests._strangers_of))


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("nobody", ""),
        ("1" * 10_000, ""),
        ("", ""),
    ],
)
def test_whom_an_address_counts_for(host: str, client: str) -> None:
    """One host of IPv6 has a whole /64; all words that are not addresses are one client."""
    assert client_of(host) == client


@pytest.mark.parametrize(
    ("descriptors", "asked", "in_all"),
    [(256, None, 192), (20_000, None, MOST), (20_000, 100, 100), (256, 100_000, 192), (20, None, FEWEST)],
)
def test_there_are_fewer_connections_than_descriptors(descriptors: int, asked: int | None, in_all: int) -> None:
    """Whatever is asked for."""
    assert caps(descriptors, asked).in_all == in_all


def test_a_proxy_on_this_machine_may_have_most() -> None:
    """It represents many, but others still get in."""
    found = Caps(in_all=800, per_client=10)
    assert (found.of("127.0.0.1"), found.of("::1"), found.of("192.0.2.1")) == (700, 700, 10)
