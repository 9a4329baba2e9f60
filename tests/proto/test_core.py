"""What an entry of the error queue means: read the same for both families, and never mixed up."""

import errno

import pytest

from preflight.proto.core import ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_LOCAL, Core, Datagram, Received, Refusal


@pytest.mark.parametrize(
    ("refusal", "meaning"),
    [
        (Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3), {"icmp", "port_unreachable"}),
        (Refusal(errno.ECONNREFUSED, ORIGIN_ICMP6, 1, 4), {"icmp", "port_unreachable"}),
        (Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, 3, 1), {"icmp"}),
        (Refusal(errno.EACCES, ORIGIN_ICMP6, 1, 1), {"icmp"}),
        (Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP, 11, 0), {"icmp", "time_exceeded"}),
        (Refusal(errno.EHOSTUNREACH, ORIGIN_ICMP6, 3, 0), {"icmp", "time_exceeded"}),
        (Refusal(errno.EMSGSIZE, ORIGIN_ICMP, 3, 4, mtu=1380), {"icmp", "too_big"}),
        (Refusal(errno.EMSGSIZE, ORIGIN_ICMP6, 2, 0, mtu=1380), {"icmp", "too_big"}),
        (Refusal(errno.EMSGSIZE, ORIGIN_LOCAL, mtu=1420), {"local", "too_big"}),
    ],
)
def test_what_an_error_means(refusal: Refusal, meaning: set[str]) -> None:
    """Protects every core: ICMP and ICMPv6 number the same news differently, and so does this host's own kernel."""
    properties = {"local", "icmp", "port_unreachable", "time_exceeded", "too_big"}
    assert {name for name in properties if getattr(refusal, name)} == meaning


class Once(Core[str]):
    """The least that a core must have."""

    result: str | None = None

    def datagrams_to_send(self, now: float) -> list[Datagram]:
        """One datagram, then it is over."""
        self.result = "sent"
        return [Datagram(b"?")]

    def get_timer(self) -> float | None:
        """At once."""
        return None if self.result else 0.0

    def handle_timer(self, now: float) -> None:
        """Nothing to give up."""


def test_hooks_are_optional() -> None:
    """Protects small cores: what they do not care about, they need not define."""
    core = Once()
    (datagram,) = core.datagrams_to_send(1.0)
    core.sent(datagram, 1.0)
    core.unsent(datagram, OSError(errno.EPERM, "Operation not permitted"), 1.0)
    core.receive(Received(b"!"), 1.0)
    core.refused(Refusal(errno.ECONNREFUSED, ORIGIN_ICMP, 3, 3), 1.0)
    assert (core.result, core.get_timer()) == ("sent", None)
