"""What a host says of an echo, by a real rule in a namespace, and what is remembered of it."""

import asyncio

import pytest

from preflight.model.tapped import EchoAnswer
from preflight.net.icmp.probes import Icmp
from preflight.net.way.echo import ask_again

from .conftest import OWN, PEER, Namespace

pytestmark = [pytest.mark.lab]
CLOSED = EchoAnswer(kind=3, code=3, source=OWN[4])


async def told(address: str) -> tuple[str | None, bool]:
    """What was said of a burst, and what is known after it."""
    icmp = Icmp()
    stats = await icmp.echo(address, count=2, interval_s=0.01, timeout_s=0.5)
    return stats.error, icmp.was_refused(address)


def test_a_filter_s_word_about_an_echo_is_kept(namespace: Namespace) -> None:
    """Protects the place of a rule that rejects: a kernel has few errors for each host, and perhaps none left later."""
    assert asyncio.run(told(OWN[4])) == (None, False)
    namespace.nft(
        "table inet guard { chain input { type filter hook input priority 0; "
        "icmp type echo-request reject with icmp type port-unreachable; }; }"
    )
    assert asyncio.run(told(OWN[4])) == (f"port unreachable, says {OWN[4]}", True)
    assert asyncio.run(ask_again(OWN[4], refused=False)) == CLOSED


def test_who_has_refused_an_echo_is_not_asked_again(namespace: Namespace) -> None:
    """Protects against the second question, which may stay without its error: nobody has this address."""
    del namespace
    assert asyncio.run(ask_again(PEER[4], refused=True)) == EchoAnswer(kind=3, code=3, source=PEER[4])
