"""Responders as processes: how they start, what they say, what they survive, how they end.

Each test runs with the installed program and with the one in one file: they must not differ.
"""

import ast
import asyncio
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest

from preflight.api import Peer
from preflight.lab.site import free_port
from preflight.model.pmtu import OneWay
from preflight.net import ancillary, udp
from preflight.net.pmtu.search import PathMtuProbes
from preflight.net.responder.hello import HelloWatch
from preflight.net.responder.reverse_trace import ask_for_trace
from preflight.net.stun.nat import NatProbes
from preflight.net.stun.servers import Stun
from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.responder.hello import Ends
from preflight.proto.responder.remote_words import OLDEST
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.responder.pack import imports, pack, reached, write_pack
from preflight.settings.load import Secrets, Settings
from tests.proto.stamp import asking
from tests.responder.conftest import INSTALLED, KEY, UNLIMITED, Start, client, exchange, request, starting

TRACE_ME = trace.Message(trace.Kind.ASK, b"a token.")
LIMIT_BYTES = 256 * 1024
ALONE = ("-I", "-S")
"""Python without any package: the standard library alone."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The responder as one file."""
    path = tmp_path_factory.mktemp("pack") / "responder.pyz"
    write_pack(path)
    return path


@pytest.fixture(params=["installed", "packed"])
def program(request: pytest.FixtureRequest, file: Path) -> tuple[str, ...]:
    """The command of a responder."""
    return INSTALLED if request.param == "installed" else (sys.executable, *ALONE, str(file))


@pytest.fixture
def start(tmp_path: Path, program: Sequence[str]) -> Iterator[Start]:
    """Starts responders on loopback addresses."""
    with starting(tmp_path, program) as run:
        yield run


def old_pythons() -> list[str]:
    """The Pythons of this machine that the file must run on and this program does not: 3.9 and 3.10."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found: list[str] = []
    for minor in range(OLDEST[1], 11):
        name = f"{OLDEST[0]}.{minor}"
        places = [*map(str, pyenv.glob(f"{name}.*/bin/python")), shutil.which(f"python{name}")]
        found += [place for place in places if place][:1]
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_and_ends(start: Start, number: signal.Signals) -> None:
    """Several sockets of both families; each of these signals ends it with 0; the counters are in one line."""
    responder = start("--allow", "127.0.0.0/8", "--allow", "::1", addresses=("127.0.0.1", "[::1]"))
    assert [address for address, _ in responder.places] == ["127.0.0.1", "::1"]
    for place in responder.places:
        with client(place) as link:
            before = time.time_ns()
            link.send(request())
            answer = stamp.parse_answer(link.recv(2048))
            assert before <= answer.received_ns <= answer.transmitted_ns <= time.time_ns()
            assert answer.sender_ttl == 64
    assert responder.end(number) == (0, "preflight responder: received 2, answered 2\n")


def test_sigusr1_tells_the_counters(start: Start) -> None:
    """Counters are available without ending it."""
    responder = start("--allow", "127.0.0.1")
    responder.process.send_signal(signal.SIGUSR1)
    assert responder.process.stderr
    assert responder.process.stderr.readline() == "preflight responder: received 0, answered 0\n"
    assert responder.end()[0] == 0


def test_scapy_as_sender(start: Start) -> None:
    """An independent codec in the sender's role gets answers it can read, TLVs included."""
    from scapy.contrib.stamp import STAMPSessionReflectorTestUnauthenticated as ReflectorPacket
    from scapy.contrib.stamp import STAMPSessionSenderTestUnauthenticated as SenderPacket
    from scapy.contrib.stamp import STAMPTestTLV

    responder = start("--allow", "127.0.0.1")
    with client(responder.places[0]) as link:
        ports = (responder.places[0][1], link.getsockname()[1])
        for sequence in range(3):
            padding = STAMPTestTLV(flags=0x80, type=1, len=8, value=b"paddings")
            unknown = STAMPTestTLV(flags=0x80, type=222, len=4, value=b"what")
            location = STAMPTestTLV(flags=0x80, type=2, len=24, value=bytes(4) + bytes([0x80, 7, 0, 16]) + bytes(16))
            service = STAMPTestTLV(flags=0x80, type=4, len=4, value=bytes([46 << 2, 0, 0, 0]))
            asked = SenderPacket(seq=10 + sequence, ssid=513, tlv_objects=[padding, unknown, location, service])
            link.send(bytes(asked))
            raw = link.recv(2048)
            assert len(raw) == len(bytes(asked)) == 44 + 12 + 8 + 28 + 8
            answer = ReflectorPacket(raw)
            assert (answer.seq, answer.seq_sender, answer.ssid, answer.ttl_sender) == (sequence, 10 + sequence, 513, 64)
            assert [(int(tlv.flags), tlv.type, tlv.value) for tlv in answer.tlv_objects] == [
                (0, 1, b"paddings"),
                (0x80, 222, b"what"),
                (0, 2, struct.pack("!HHBBH4s12x", *ports, 0, 8, 16, bytes([127, 0, 0, 1]))),
                (0, 4, bytes([46 << 2, 0, 0, 0])),
            ]
            assert answer.ts_rx <= answer.ts


def test_it_survives_whatever_comes(start: Start) -> None:
    """Random bytes, empty and huge datagrams, HTTP: dropped and counted; a good packet is still answered."""
    dice = random.Random(11)
    responder = start("--allow", "127.0.0.0/8", *UNLIMITED)
    rubbish = [b"", b"GET / HTTP/1.1\r\nhost: b\r\n\r\n", bytes(65_000), probe.MAGIC, probe.MAGIC + bytes(60_000)]
    rubbish += [dice.randbytes(dice.randrange(200)) for _ in range(300)]
    rubbish += [magic + dice.randbytes(dice.randrange(400)) for magic in (probe.MAGIC, trace.MAGIC) for _ in range(100)]
    with client(responder.places[0]) as link:
        exchange(link, rubbish)
    code, errors = responder.end()
    assert code == 0
    assert "bad-probe" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("keyed", [False, True])
def test_strangers_cost_nothing(start: Start, tmp_path: Path, keyed: bool) -> None:
    """A source that is neither provisioned nor has the key gets not one byte."""
    (tmp_path / "key").write_bytes(KEY)
    responder = start("--allow", "10.66.0.0/24", *UNLIMITED, *(["--key-file", "key"] if keyed else []))
    with client(responder.places[0]) as link:
        for sequence in range(200):
            link.send(request(sequence))
            link.send(request(sequence, key=b"another key than theirs"))
            link.send(probe.MAGIC + bytes(200))
            if keyed and sequence % 10 == 9:
                link.send(request(sequence, key=KEY))
                assert stamp.parse_answer(link.recv(2048), KEY).sender_sequence == sequence
        link.settimeout(0.2)
        with pytest.raises(TimeoutError):
            link.recv(2048)
    code, errors = responder.end()
    assert code == 0
    assert f"answered {20 if keyed else 0}," in errors


def test_never_more_bytes_out_than_in(start: Start) -> None:
    """Measured at the socket, for packets of many kinds and sizes from a provisioned source."""
    dice = random.Random(12)
    responder = start("--allow", "127.0.0.1", *UNLIMITED)
    datagrams = [
        dice.choice([request(number), probe.MAGIC, trace.encode(TRACE_ME), b""]) + dice.randbytes(dice.randrange(1000))
        for number in range(300)
    ]
    with client(responder.places[0]) as link:
        came_in, went_out = exchange(link, datagrams)
    assert 0 < went_out <= came_in


def test_a_wildcard_socket_answers_from_the_address_that_was_asked(start: Start) -> None:
    """Otherwise the asker's connected socket, and every firewall, would not recognise the answer."""
    responder = start("--allow", "127.0.0.0/8", addresses=("0.0.0.0",))
    with client(("127.0.0.7", responder.places[0][1])) as link:
        link.send(request())
        assert stamp.parse_answer(link.recv(2048)).sequence == 0


@pytest.mark.parametrize("bind", ["127.0.0.1", "[::1]", "0.0.0.0", "[::]"])
def test_location_and_class_of_service(start: Start, bind: str) -> None:
    """The sender learns from the kernel how its packet came, and gets its answer with the DSCP that it asked for."""
    responder = start("--allow", "127.0.0.0/8", "--allow", "::1", addresses=(bind,))
    address = "::1" if ":" in bind else "127.0.0.1"
    port = responder.places[0][1]
    with udp.open_towards(address, port) as link:
        udp.receive_traffic_class(link)
        tlvs = stamp_tlv.encode([asking.location(), asking.class_of_service(46)])
        link.setblocking(True)
        link.settimeout(20)
        packet = stamp.build_request(0, time.time_ns(), 1, 7, tlvs=tlvs)
        assert udp.send(link, packet, None, ancillary.class_control(link.family, 0x22)) == 0
        answer, control, _, _ = link.recvmsg(2048, ancillary.CONTROL_BYTES)
        assert ancillary.read_traffic_class(control) == 46 << 2
        location, service = stamp_tlv.parse(answer[44:])
        assert asking.read_location(location) == (link.getsockname()[:2], (address, port))
        assert asking.read_class_of_service(service) == (0x22 >> 2, 0x22 & 3, True)


def test_stateless(start: Start) -> None:
    """Without state the sender's own number comes back (RFC 8762 section 4)."""
    responder = start("--allow", "127.0.0.1", "--stateless")
    with client(responder.places[0]) as link:
        for sequence in (5, 9):
            link.send(request(sequence))
            assert stamp.parse_answer(link.recv(2048)).sequence == sequence


@pytest.mark.parametrize("extra", [0, 1, 3, 100, 1400])
def test_twamp_light_senders(start: Start, extra: int) -> None:
    """Packets of 41 bytes and more, padded with anything, get answers of their size (RFC 8762 section 4.6)."""
    responder = start("--allow", "127.0.0.1")
    packet = stamp.build_request(3, time.time_ns(), 1, 0)[:14] + bytes(27) + random.Random(3).randbytes(extra)
    with client(responder.places[0]) as link:
        link.send(packet)
        answer = link.recv(2048)
        assert len(answer) == len(packet) == 41 + extra
        assert stamp.parse_answer(answer).sender_sequence == 3


def test_a_rate_limit_can_be_set(start: Start) -> None:
    """What exceeds --max-rate is dropped and counted."""
    responder = start("--allow", "127.0.0.1", "--max-rate", "50")
    with client(responder.places[0]) as link:
        for number in range(500):
            link.send(request(number))
    _, errors = responder.end()
    assert "rate-limited" in errors


def search(peer: Peer, direction: OneWay) -> int | None:
    """The path MTU by the responder's answers."""
    probes = PathMtuProbes(Settings(secrets=Secrets(responder_key=KEY)))
    return asyncio.run(probes.search(peer, direction)).mtu_bytes


def all_answers(start: Start, folder: Path) -> dict[str, object]:
    """What a node gets to know from a responder on loopback, by each thing that responders do."""
    (folder / "key").write_bytes(KEY)
    responder = start("--allow", "127.0.0.0/8", "--key-file", "key", *UNLIMITED)
    address, port = responder.places[0]
    peer, settings = Peer(address, "b", port), Settings(secrets=Secrets(responder_key=KEY))
    traced = asyncio.run(ask_for_trace(peer, KEY))
    seen = asyncio.run(Stun(lambda _: KEY).ask_peer(peer))
    after = asyncio.run(NatProbes(settings).after_silence(peer, 0.5, 0.0))
    return {
        "forward": search(peer, "forward"),
        "reverse": search(peer, "reverse"),
        "hops": [(hop.address, hop.reached) for hop in traced.trace.hops] if traced else None,
        "way": traced.way if traced else None,
        "address": (seen.mapped or "").rpartition(":")[0],
        "after a silence": (after.agreed, after.arrived),
        "end": responder.end()[0],
    }


KNOWN = {
    "forward": 9216,
    "reverse": 9216,
    "hops": [("127.0.0.1", True)],
    "address": "127.0.0.1",
    "after a silence": (True, True),
    "end": 0,
}


def test_it_answers_asks_back_and_traces(start: Start, tmp_path: Path) -> None:
    """Everything that a node asks of a responder without a mailbox, signed, by the shells that checks use."""
    answers = all_answers(start, tmp_path)
    assert answers.pop("way")
    assert answers == KNOWN


@pytest.mark.parametrize("python", old_pythons())
def test_the_file_on_old_pythons(python: str, file: Path, tmp_path: Path) -> None:
    """A host of the fleet may have a Python that this program itself does not run on."""
    with starting(tmp_path, (python, *ALONE, str(file))) as start:
        answers = all_answers(start, tmp_path)
        assert answers.pop("way")
        assert answers == KNOWN


def hello_of(start: Start, folder: Path, words: Sequence[str], at: int) -> bool:
    """Whether a responder that has this node as a peer says hello to it."""
    (folder / "key").write_bytes(KEY)
    responder = start("--key-file", "key", *words, addresses=("127.0.0.2",))

    async def listen() -> bool:
        watch = HelloWatch(Ends(*responder.places[0], "127.0.0.1", at), KEY, asyncio.get_running_loop().time())
        try:
            await watch.wait()
            return watch.report() is not None
        finally:
            watch.close()

    return asyncio.run(listen())


def test_it_says_hello(file: Path, tmp_path: Path) -> None:
    """To the peers of its command line, as the installed one does to those of its settings."""
    at = free_port("127.0.0.1", socket.SOCK_DGRAM)
    with starting(tmp_path, (sys.executable, *ALONE, str(file))) as start:
        assert hello_of(start, tmp_path, ("--peer", f"127.0.0.1:{at}"), at)


def test_it_ends_by_itself(start: Start) -> None:
    """After its time, as if somebody had ended it, so that nothing stays on a host."""
    responder = start("--allow", "127.0.0.1", "--life", "0.5")
    _, errors = responder.process.communicate(timeout=60)
    assert (responder.process.returncode, errors) == (0, "preflight responder: received 0, answered 0\n")


def test_the_file_is_small_and_always_the_same(file: Path, tmp_path: Path) -> None:
    """What is pushed to a thousand hosts has one hash, and no time of its making in it."""
    assert file.read_bytes() == pack()
    assert len(pack()) <= LIMIT_BYTES
    pack.cache_clear()
    assert file.read_bytes() == pack()


def test_the_file_has_the_standard_library_alone() -> None:
    """No module of it imports anything else when it runs, and an old Python can read each."""
    members = zipfile.ZipFile(BytesIO(pack()))
    own = {"preflight", "aioice"}
    for name in members.namelist():
        if name.endswith(".py"):
            tree = ast.parse(members.read(name), feature_version=OLDEST)
            wanted = {word.partition(".")[0] for word in imports(tree)}
            assert wanted <= own | set(sys.stdlib_module_names), name
            assert not [ast.unparse(call) for call in ast.walk(tree) if is_newer(call)], name


def is_newer(node: ast.AST) -> bool:
    """Whether code calls what Python 3.9 has in another form: the byte order was an argument that had to be given."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute) and node.func.attr in ("from_bytes", "to_bytes"):
        return len(node.args) + len(node.keywords) < 2
    return isinstance(node.func, ast.Name) and node.func.id == "zip" and bool(node.keywords)


def test_what_the_file_may_not_reach() -> None:
    """A module that needs more than the file has is named when the file is made, not on a peer."""
    with pytest.raises(ValueError, match="imports"):
        reached("preflight.responder.mailbox")
    with pytest.raises(ValueError, match="which is in a package's own file"):
        reached("preflight.engine.plugin_child")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bind", "127.0.0.1"], "nobody may ask this responder"),
        (["--bind", "b:862", "--allow", "::/0"], "--bind b:862: expected ADDRESS[:PORT]"),
        (["--bind", "127.0.0.1", "--key-file", "none.key"], "none.key: No such file"),
        (["--bind", "127.0.0.1", "--key-file", "short.key"], "short.key holds 5 bytes, at least 16"),
        (["--bind", "127.0.0.1", "--allow", "::/0", "--peer", "b"], "--peer b: expected ADDRESS[:PORT]"),
        (["--bind", "192.0.2.1", "--allow", "::/0"], "192.0.2.1 is not an address of this node"),
    ],
)
def test_the_file_says_why_it_cannot_start(file: Path, tmp_path: Path, words: list[str], sentence: str) -> None:
    """One sentence and exit code 2, as the installed one."""
    (tmp_path / "short.key").write_bytes(b"short")
    done = subprocess.run(
        [sys.executable, *ALONE, str(file), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    """`preflight responder --pack FILE`; a folder that is not there is one sentence."""
    done = subprocess.run([*INSTALLED, "--pack", str(tmp_path / "r.pyz")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "r.pyz").read_bytes() == pack()
    gone = tmp_path / "gone" / "r.pyz"
    done = subprocess.run([*INSTALLED, "--pack", str(gone)], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
