"""The TCP view over the lab's real tunnels: black holes by direction, and whatever only looks like one."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme
from preflight_checks.mtu_tcp import mtu_tcp

from preflight.api import Context, Result
from preflight.lab.network import Network, inside
from preflight.net import Net
from preflight.settings.load import Settings
from preflight.settings.schema import ControlSettings

pytestmark = pytest.mark.lab

Build = Callable[[str], Network]
Serve = Callable[..., None]
PORT = 9847
ADDRESSES = pytest.mark.parametrize("address", ["10.66.0.3", "fd66::3"])
THERE, BACK = (None, "forward"), (None, "reverse")
HOLE_THERE, HOLE_BACK = ("mtu.black-hole", "forward"), ("mtu.black-hole", "reverse")

SERVER = """
import asyncio, ssl, sys

async def serve(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        if sys.argv[2] == "hang":
            await reader.read()
        writer.write(b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n" + bytes(20000))
        await writer.drain()
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        writer.transport.abort()

async def main():
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])
    async with await asyncio.start_server(serve, None, int(sys.argv[1]), ssl=context) as server:
        print("ready", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server on c that answers at length (`long`) or never (`hang`); with a certificate file by TLS."""
    with ExitStack() as cleanup:

        def start(network: Network, how: str, *certificate: str) -> None:
            words = network.command("c", sys.executable, "-c", SERVER, str(PORT), how, *certificate)
            process = cleanup.enter_context(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
            cleanup.callback(process.terminate)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"

        yield start


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller's proxies are not part of any test."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def judged(network: Network, address: str, scheme: str = "http") -> list[Result]:
    """Run the check on node a."""
    host = f"[{address}]" if ":" in address else address

    async def run() -> list[Result]:
        settings = Settings(control=ControlSettings(url=f"{scheme}://{host}:{PORT}"))
        net = Net(settings)
        context = Context(settings=settings, peers=(), overlay=await net.overlay(), net=net)
        return [result async for result in mtu_tcp.function(context)]

    with inside(network.names.namespace("a")):
        return asyncio.run(run())


def findings(results: list[Result]) -> list[tuple[str | None, str]]:
    return [(r.code.slug if r.code else None, r.direction.value) for r in results]


@ADDRESSES
@pytest.mark.parametrize(
    ("scenario", "how", "expected"),
    [
        ("pair", "long", [THERE, BACK]),
        ("pair", "hang", [THERE]),
        ("black-hole-tcp-forward", "long", [HOLE_THERE]),
        ("black-hole-tcp-forward", "hang", [HOLE_THERE]),
        ("black-hole-tcp-reverse", "long", [THERE, HOLE_BACK]),
        ("black-hole-tcp-reverse", "hang", [THERE]),
    ],
)
def test_by_direction(
    network: Build, serve: Serve, address: str, scenario: str, how: str, expected: list[tuple[str | None, str]]
) -> None:
    """Protects the direction of each finding, in both families, and a hanging server from being called a black hole."""
    made = network(scenario)
    serve(made, how)
    results = judged(made, address)
    assert findings(results) == expected, [result.message for result in results]


@pytest.mark.parametrize("scenario", ["black-hole-tcp-forward", "black-hole-tcp-reverse"])
@ADDRESSES
def test_the_remedy_helps(network: Build, serve: Serve, address: str, scenario: str) -> None:
    """Protects the line to paste: with that route on this node full segments pass, both ways."""
    made = network(scenario)
    serve(made, "long")
    fix = judged(made, address)[-1].remedies[0].fix
    assert fix is not None
    subprocess.run(made.command("a", *fix.commands[0]), check=True)
    assert findings(judged(made, address)) == [THERE, BACK]


@pytest.fixture(scope="session")
def long_chain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate that takes more than one segment."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    names = [f"node-{number}.control.example" for number in range(150)]
    trustme.CA().issue_cert("10.66.0.3", *names).private_key_and_cert_chain_pem.write_to_path(str(file))
    return str(Path(file))


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("pair", [THERE, BACK]),
        ("black-hole-tcp-forward", [HOLE_THERE]),
        ("black-hole-tcp-reverse", [HOLE_BACK]),
    ],
)
def test_by_tls(
    network: Build, serve: Serve, long_chain: str, scenario: str, expected: list[tuple[str | None, str]]
) -> None:
    """Protects https: there the certificates are the long answer, and they come before any request."""
    made = network(scenario)
    serve(made, "long", long_chain)
    results = judged(made, "10.66.0.3", "https")
    assert findings(results) == expected, [result.message for result in results]


def test_a_clamp_is_reported(network: Build, serve: Serve) -> None:
    """Protects the reader: over a black hole TCP runs behind an MSS clamp, and that says nothing about UDP."""
    made = network("black-hole-tcp-forward")
    clamp = "tcp flags & syn == syn tcp option maxseg size set 1100"
    made.nft("c", f"output {clamp}", f"input {clamp}")
    serve(made, "long")
    there, back = judged(made, "10.66.0.3")
    assert findings([there, back]) == [THERE, BACK]
    assert "MSS clamp" in there.message


def test_a_kernel_that_looks_for_black_holes_itself(network: Build, serve: Serve) -> None:
    """Protects hosts with net.ipv4.tcp_mtu_probing: small segments from the start are reported, without a finding."""
    made = network("black-hole-tcp-forward")
    subprocess.run(made.command("a", "sysctl", "-qw", "net.ipv4.tcp_mtu_probing=2"), check=True)
    serve(made, "long")
    there = judged(made, "10.66.0.3")[0]
    assert findings([there]) == [THERE]
    assert "tcp_mtu_probing" in there.message


def test_loss_is_no_black_hole(network: Build, serve: Serve) -> None:
    """Protects lossy paths: what is lost is sent again and arrives. Every tenth packet, so that no run is hopeless."""
    made = network("pair")
    made.nft("r", "forward numgen inc mod 10 == 9 drop")
    serve(made, "long")
    for _ in range(5):
        assert {code for code, _ in findings(judged(made, "10.66.0.3"))} <= {None}
