"""Daemons that hang, babble, are of another version or refuse: each becomes a result, none an exception."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from preflight_checks import overlay_interface, overlay_mtu, overlay_session

from preflight.api import Peer
from preflight.model.kernel import Link
from preflight.model.overlay import PRIVILEGE, OverlayState
from preflight.overlay import local, nebula, nebula_files, tailscale, wireguard, zerotier
from preflight.overlay.local import LocalError, understood
from preflight.overlay.read import read_overlay
from preflight.settings.schema import OverlaySettings

SAMPLES = Path(__file__).parent / "samples"
NOW_UNIX_S = 1_795_420_000.0
LINKS = tuple(
    Link(index, name, 1280, up=True, carrier=True, kind="tun", addresses=(ip_interface(address),))
    for index, (name, address) in enumerate(
        [("tailscale0", "100.64.0.1/32"), ("ztixbrw34j", "10.88.0.42/24"), ("neb0", "10.77.0.10/24")], 2
    )
)
PEERS = [Peer("100.64.0.2"), Peer("10.77.0.20"), Peer("10.88.0.7")]


def judged(state: OverlayState) -> None:
    """Whatever a parser lets through, the checks can judge and the report can write."""
    results = [overlay_interface.judge(state, LINKS, None), overlay_mtu.judge(state, [], 1280)]
    results += [overlay_session.judge_unwatched(peer, state, state.interface) for peer in PEERS]
    for result in results:
        json.dumps(
            [result.message, dict(result.measurements), [shown.data for shown in result.evidence]], allow_nan=False
        )
    for peer in state.peers:
        if peer.endpoint is not None:
            ip_network(peer.endpoint_address or "none")
            assert peer.endpoint_port is not None


strange = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "[::1]:99999", "10.0.0.1/9993", "OK", "{x}"]),
    st.just([]),
    st.just({}),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    keys = range(len(document)) if isinstance(document, list) else list(document) if isinstance(document, dict) else ()
    for key in keys:
        yield document, key
        yield from places(document[key])


@st.composite
def another_version(draw: st.DrawFn, documents: list[Any]) -> Any:
    """A recorded document with some of its values gone, replaced, or joined by new ones."""
    changed = [deepcopy(draw(st.sampled_from(documents)))]
    for _ in range(draw(st.integers(1, 4))):
        container, key = draw(st.sampled_from(list(places(changed))))
        what = draw(st.sampled_from(["gone", "other", "more"]))
        if what == "gone" and container is not changed:
            del container[key]
        elif what == "more" and isinstance(container, dict):
            container[draw(st.text(max_size=4))] = draw(strange)
        else:
            container[key] = draw(strange)
    return changed[0]


def recorded(product: str, pattern: str) -> list[Any]:
    """The documents of one kind."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(SAMPLES.glob(f"{product}/{pattern}.json"))]


@given(status=another_version(recorded("tailscale", "status-*")))
def test_another_tailscale(status: Any) -> None:
    """Missing and additional keys and wrong types: a state that can be judged, or garbage."""
    with suppress(LocalError), understood("tailscaled"):
        judged(tailscale.parse_status(status, LINKS, NOW_UNIX_S))


@given(
    info=another_version(recorded("zerotier", "info_*")) | st.sampled_from(recorded("zerotier", "info_*")),
    networks=another_version(recorded("zerotier", "listnetworks_*")),
    peers=another_version(recorded("zerotier", "listpeers_*")),
)
def test_another_zerotier(info: Any, networks: Any, peers: Any) -> None:
    """The same of three documents at once."""
    with suppress(LocalError), understood("zerotier-one"):
        for state in zerotier.parse(info, networks, peers, LINKS, {3: {"10.88.0.7": "12:48:ba:b4:89:43"}}):
            judged(state)


LINES = (SAMPLES / "nebula/states.txt").read_text(encoding="utf-8").splitlines()
HOSTS, PENDING = (
    [json.loads(line.partition(": ")[2]) for line in LINES if line.startswith(word)] for word in ("hostmap", "pending")
)
CONFIG = {
    "tun": {"dev": "neb0"},
    "lighthouse": {"hosts": ["10.77.0.1"]},
    "pki": {"ca": "", "cert": ""},
    "sshd": {"enabled": False, "listen": "127.0.0.1:2222", "authorized_users": [{"user": "x"}]},
}
CERTIFICATE = {
    "details": {"ips": ["10.77.0.10/24"], "notAfter": "2026-11-23T06:58:35Z", "issuer": "aa"},
    "fingerprint": "bb",
}


@given(
    config=another_version([CONFIG]),
    certificate=another_version([CERTIFICATE]),
    hosts=another_version(HOSTS),
    pending=another_version(PENDING),
)
def test_another_nebula(config: Any, certificate: Any, hosts: Any, pending: Any) -> None:
    """Configuration, certificate and host maps, each of another shape."""
    with suppress(LocalError), understood("nebula"):
        peers = nebula.parse_hostmap(hosts, pending)
        judged(nebula.state_from(config, certificate, peers, LINKS, NOW_UNIX_S, None, [CERTIFICATE]))


@given(text=st.text(max_size=40) | another_version([CERTIFICATE]).map(repr))
def test_another_nebula_cert(text: str) -> None:
    """What is printed in addition to JSON is garbage."""
    with suppress(LocalError):
        assert isinstance(nebula_files.parse_printed(text), list)


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def saying(answer: bytes) -> Handler:
    """A daemon that answers each request with the same bytes."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
        writer.close()

    return handler


async def hanging(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A daemon that takes the request and never answers."""
    await reader.read()
    writer.close()


OK = b"HTTP/1.0 200 OK\r\n\r\n"
MISBEHAVING = [
    (hanging, "overlay.daemon-down", "did not answer within"),
    (saying(b""), None, "gave no HTTP answer"),
    (saying(b"\x16\x03\x01private_key=zzzz"), None, "gave no HTTP answer"),
    (saying(b'HTTP/1.0 200 OK\r\n\r\n{"private_key": "zzzz'), None, "gave an answer that is not JSON"),
    (saying(OK + b'["private_key", "zzzz"]'), None, "in a format that this version does not know"),
    (saying(b"HTTP/1.0 403 no\r\n\r\nprivate_key zzzz"), None, PRIVILEGE),
]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine where no product was ever used and daemons get little time; its folder."""
    monkeypatch.setattr(local, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(local, "BUSY_S", 0.3)
    monkeypatch.setattr(wireguard, "SOCKETS", tmp_path / "wireguard")
    monkeypatch.setattr(tailscale, "SOCKET", tmp_path / "tailscaled.sock")
    monkeypatch.setattr(tailscale, "STATE", tmp_path / "tailscaled.state")
    monkeypatch.setattr(zerotier, "HOME", tmp_path / "zerotier-one")
    monkeypatch.setattr(nebula, "FOLDER", tmp_path / "nebula")
    monkeypatch.setenv("PATH", str(tmp_path))  # none of the products' programs answers instead
    return tmp_path


async def serving_tailscale(folder: Path, handler: Handler, then: Callable[[], Awaitable[Any]]) -> Any:
    """Do something while a daemon serves Tailscale's socket."""
    server = await asyncio.start_unix_server(handler, str(folder / "tailscaled.sock"))
    try:
        return await then()
    finally:
        server.close()


async def serving_zerotier(folder: Path, handler: Handler, then: Callable[[], Awaitable[Any]]) -> Any:
    """Do something while a service listens on the port that ZeroTier's home names."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    home = folder / "zerotier-one"
    home.mkdir()
    (home / "authtoken.secret").write_text("0123456789abcdef")
    (home / "zerotier-one.port").write_text(str(server.sockets[0].getsockname()[1]))
    try:
        return await then()
    finally:
        server.close()


@pytest.mark.parametrize(("handler", "condition", "said"), MISBEHAVING)
@pytest.mark.parametrize("product", ["tailscale", "zerotier"])
def test_a_daemon_that_misbehaves(
    product: str, handler: Handler, condition: str | None, said: str, impatient: Path
) -> None:
    """The interface's own state stays, with the reason; nothing that was answered is repeated."""
    module, serving = {"tailscale": (tailscale, serving_tailscale), "zerotier": (zerotier, serving_zerotier)}[product]
    (state,) = asyncio.run(serving(impatient, handler, lambda: module.read(LINKS)))
    assert (state.product, state.up, state.condition) == (product, True, condition)
    assert said in (state.unreadable or "")
    assert "zzzz" not in repr(state)
    judged(state)


@pytest.mark.parametrize("port", ["99999", "-1", "0", "x", ""])
def test_a_zerotier_home_that_names_no_port(port: str, impatient: Path) -> None:
    """A home that was left behind, or written half."""
    home = impatient / "zerotier-one"
    home.mkdir()
    (home / "authtoken.secret").write_text("0123456789abcdef")
    (home / "zerotier-one.port").write_text(port)
    (state,) = asyncio.run(zerotier.read(LINKS))
    assert state.condition == "overlay.daemon-down"


@pytest.mark.parametrize(
    "config",
    [
        "- a list",
        "tun: [1]",
        "{",
        "\x00",
        "pki: {cert: 7}",
        "sshd: {enabled: true, listen: '127.0.0.1:22', authorized_users: 7}",
    ],
)
def test_a_nebula_configuration_that_is_none(config: str, impatient: Path) -> None:
    """Its interface is there or not; nothing of the file is repeated."""
    (impatient / "nebula").mkdir()
    (impatient / "nebula/config.yml").write_text(f"{config}\n#zzzz")
    (state,) = asyncio.run(nebula.read(LINKS))
    assert state.product == "nebula"
    assert "zzzz" not in repr(state)
    judged(state)


def test_two_overlays_at_once(impatient: Path) -> None:
    """The one that holds the peers is chosen, and the other is named; both daemons are asked at the same time."""
    status = json.dumps(recorded("tailscale", "status-healthy")[0]).encode()
    zerotiers = {
        b"/status": recorded("zerotier", "info_*")[0],
        b"/network": recorded("zerotier", "listnetworks_ok")[0],
        b"/peer": recorded("zerotier", "listpeers_direct")[0],
    }

    async def zerotier_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + json.dumps(zerotiers[request.split(b" ")[1]]).encode())
        await writer.drain()
        writer.close()

    async def both() -> OverlayState | None:
        return await read_overlay(OverlaySettings(), ["10.88.0.7"])

    async def serving() -> Any:
        return await serving_zerotier(impatient, zerotier_one, both)

    chosen = asyncio.run(serving_tailscale(impatient, saying(OK + status), serving))
    assert chosen is not None
    assert (chosen.product, [other.product for other in chosen.further]) == ("zerotier", ["tailscale"])
    message = overlay_interface.judge(chosen, (), None).message
    assert message.startswith("the overlay interface ztixbrw34j (zerotier) does not exist")
