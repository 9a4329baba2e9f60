"""Name resolution against real name servers on loopback; the system's own answer is about `localhost`."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dns.exception
import dns.message
import dns.rcode
import pytest

import preflight.net.names as shell
from preflight.model.dns import Lookup, Resolution
from preflight.net.dns import Questions, first_answer, merge
from preflight.net.lookup import system_lookup
from preflight.net.names import Resolver
from preflight.proto.control.naming import candidate_names

if TYPE_CHECKING:
    from tests.net.conftest import OpenNameServer, Zone

NAME = "localhost"


@pytest.mark.parametrize(
    ("zone", "outcome", "addresses"),
    [
        ({"A": ["10.66.0.3"]}, "answer", ("10.66.0.3",)),
        ({"A": ["10.66.0.3", "10.66.0.4"], "AAAA": ["fd66::3"]}, "answer", ("10.66.0.3", "10.66.0.4", "fd66::3")),
        ({"AAAA": ["fd66::3"]}, "answer", ("fd66::3",)),
        ({}, "no-address", ()),
        ({"A": dns.rcode.NXDOMAIN, "AAAA": dns.rcode.NXDOMAIN}, "nxdomain", ()),
        ({"A": dns.rcode.SERVFAIL, "AAAA": dns.rcode.SERVFAIL}, "failed", ()),
        ({"A": dns.rcode.REFUSED, "AAAA": []}, "rejected", ()),
        ({"A": None, "AAAA": None}, "timeout", ()),
        ({"A": ["10.66.0.3"], "AAAA": None}, "answer", ("10.66.0.3",)),
    ],
)
def test_what_one_resolver_says(
    open_name_server: "OpenNameServer", zone: "Zone", outcome: str, addresses: tuple[str, ...]
) -> None:
    """Addresses, no address, no such name, an error code, silence: each is distinguished."""

    patience_s = 1.0 if None in zone.values() else 10.0

    async def ask() -> Resolution:
        async with open_name_server(zone) as port:
            return await Resolver(["127.0.0.1"], port=port, timeout_s=patience_s, attempts=1).resolve(NAME)

    resolution = asyncio.run(ask())
    lookup = resolution.resolvers[0]
    assert (lookup.source, lookup.outcome) == ("127.0.0.1", outcome)
    assert set(lookup.addresses) == set(addresses)
    assert (lookup.rtt_ms is None) == (outcome == "timeout")
    assert resolution.system.outcome == "answer"
    assert "127.0.0.1" in resolution.system.addresses


def test_each_resolver_is_asked_by_itself(open_name_server: "OpenNameServer") -> None:
    """A silent one and one with a different answer do not hide behind the first that answers."""

    async def ask() -> Resolution:
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(open_name_server({"A": ["10.66.0.3"]}, address="127.0.0.2"))
            for address, zone in (("127.0.0.3", {"A": ["192.0.2.3"]}), ("127.0.0.4", {"A": None, "AAAA": None})):
                await stack.enter_async_context(open_name_server(zone, address=address, port=port))
            resolver = Resolver(["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"], port=port, timeout_s=1.0)
            return await resolver.resolve(NAME)

    resolution = asyncio.run(ask())
    said = {lookup.source: (lookup.outcome, lookup.addresses) for lookup in resolution.resolvers}
    assert said == {
        "127.0.0.2": ("answer", ("10.66.0.3",)),
        "127.0.0.3": ("answer", ("192.0.2.3",)),
        "127.0.0.4": ("timeout", ()),
        "127.0.0.5": ("refused", ()),
    }


def test_resolv_conf_is_read_when_asked(
    open_name_server: "OpenNameServer", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name servers and search list come from the file as it is now: the lab mounts another one per namespace."""
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 127.0.0.1\nsearch overlay.test\noptions ndots:1\n")
    monkeypatch.setattr(shell, "RESOLV_CONF", file)
    asked: list[str] = []
    _record_questions(monkeypatch, asked)

    async def ask() -> Resolution:
        async with open_name_server({}) as port:
            return await Resolver(port=port, timeout_s=10).resolve(NAME)

    resolution = asyncio.run(ask())
    assert [lookup.source for lookup in resolution.resolvers] == ["127.0.0.1"]
    assert set(asked) == {"localhost.overlay.test.", "localhost."}


def _record_questions(monkeypatch: pytest.MonkeyPatch, asked: list[str]) -> None:
    make = dns.message.make_query

    def recorded(name: str, *more: Any, **named: Any) -> dns.message.QueryMessage:
        asked.append(name)
        return make(name, *more, **named)

    monkeypatch.setattr(dns.message, "make_query", recorded)


@pytest.mark.parametrize("text", [None, "", "search overlay.test\n", "nameserver dns.mesh.test\nnameserver\n"])
def test_a_missing_resolv_conf_means_the_local_resolver(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the C library does; nobody listens there, which is a fact and no crash."""
    file = tmp_path / "resolv.conf"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(shell, "RESOLV_CONF", file)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    resolution = asyncio.run(Resolver(port=port, timeout_s=0.2).resolve(NAME))
    assert [(lookup.source, lookup.outcome) for lookup in resolution.resolvers] == [("127.0.0.1", "refused")]


@pytest.mark.parametrize(
    ("name", "search", "ndots", "expected"),
    [
        ("control", ["overlay.test"], 1, ["control.overlay.test.", "control."]),
        ("control.lab", ["overlay.test"], 1, ["control.lab.", "control.lab.overlay.test."]),
        ("control.lab", ["overlay.test."], 2, ["control.lab.overlay.test.", "control.lab."]),
        ("control.", ["overlay.test"], 5, ["control."]),
        ("control", [".", ""], 1, ["control."]),
    ],
)
def test_candidates(name: str, search: list[str], ndots: int, expected: list[str]) -> None:
    """The same absolute names in the same order as the C library tries."""
    assert candidate_names(name, search, ndots) == expected


def test_merging_a_and_aaaa() -> None:
    """One NXDOMAIN together with an empty answer is a broken resolver's, not a name that does not exist."""
    none, empty, silent = Lookup("s", "nxdomain"), Lookup("s", "no-address"), Lookup("s", "timeout", detail="silent")
    found = Lookup("s", "answer", ("10.66.0.3",))
    assert merge("s", [none, none]).outcome == "nxdomain"
    assert merge("s", [none, empty]).outcome == "no-address"
    assert merge("s", [empty, silent]).outcome == "timeout"
    assert merge("s", [found, silent]) == Lookup("s", "answer", ("10.66.0.3",), detail="silent", unanswered="AAAA")
    assert merge("s", [silent, found]).unanswered == "A"
    assert merge("s", [found, empty]).unanswered == ""


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        (socket.EAI_NONAME, "nxdomain"),
        (socket.EAI_NODATA, "no-address"),
        (socket.EAI_AGAIN, "timeout"),
        (-99, "failed"),
    ],
)
def test_the_systems_errors(number: int, outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What getaddrinfo raises becomes data."""

    def fails(*_args: object, **_more: object) -> list[Any]:
        raise socket.gaierror(number, "said no")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    lookup = asyncio.run(system_lookup("control.overlay.test", 2.0))
    assert (lookup.outcome, lookup.detail) == (outcome, "said no")


def test_a_stuck_lookup_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead resolver must not keep the program from ending: asyncio.run returns while getaddrinfo still hangs."""

    def hangs(*_args: object, **_more: object) -> list[Any]:
        time.sleep(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    began = time.monotonic()
    assert asyncio.run(system_lookup("control.overlay.test", 0.1)).outcome == "timeout"
    assert time.monotonic() - began < 10


def test_the_first_answer_counts_whichever_query_it_is_to() -> None:
    """The second query goes out before the first is given up; only silence of all is silence."""
    answer = Lookup("127.0.0.2", "answer", ("10.66.0.3",))

    async def silence() -> Lookup:
        raise dns.exception.Timeout

    async def run(*queries: bool) -> Lookup | None:
        asked = [asyncio.create_task(asyncio.sleep(0, answer) if answered else silence()) for answered in queries]
        return await first_answer(asked, None)

    assert asyncio.run(run(True, False)) == answer
    assert asyncio.run(run(False, True)) == answer
    assert asyncio.run(run(False, False)) is None


@pytest.mark.needs("dnsmasq")
@pytest.mark.parametrize("zone", [{"A": ["10.66.0.3"]}, {"AAAA": ["fd66::3"]}])
def test_a_resolver_that_takes_private_addresses_out_says_so_each_time(
    open_name_server: "OpenNameServer", zone: "Zone"
) -> None:
    """dnsmasq gives the reason with the family of the address that it takes out, and with no other."""

    async def ask() -> list[Lookup]:
        async with open_name_server(zone) as behind, _dnsmasq(behind) as (address, port):
            questions = Questions(port, 10.0, 1, None)
            return [await questions.ask(address, "control.lab.") for _ in range(3)]

    found = asyncio.run(ask())
    assert {(each.outcome, each.detail) for each in found} == {("stripped", "extended error BLOCKED")}


@asynccontextmanager
async def _dnsmasq(behind: int) -> AsyncIterator[tuple[str, int]]:
    """dnsmasq in front of a name server, at an address and a port below those that the kernel hands out."""
    options = "--no-daemon --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces --stop-dns-rebind"
    address, port = f"127.{os.getpid() % 250 + 1}.53.1", 15353
    places = (f"--port={port}", f"--listen-address={address}", f"--server=127.0.0.1#{behind}")
    dnsmasq = await asyncio.create_subprocess_exec("dnsmasq", *options.split(), *places)
    try:
        async with asyncio.timeout(20):
            while not await _listens(address, port):
                assert dnsmasq.returncode is None
                await asyncio.sleep(0.02)
        yield address, port
    finally:
        if dnsmasq.returncode is None:
            dnsmasq.terminate()
        await dnsmasq.wait()


async def _listens(address: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True
