"""`preflight responder` as a process: how it starts, what it says, what it survives, how it ends."""

import random
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

import pytest

from preflight.net import ancillary, udp
from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from tests.proto.stamp import asking
from tests.responder.conftest import KEY, UNLIMITED, Start, client, command, environment, exchange, request

TRACE_ME = trace.Message(trace.Kind.ASK, b"a token.")


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


def test_a_settings_file_provisions_its_peers(start: Start, tmp_path: Path) -> None:
    """The peers of --config may ask, with its key."""
    (tmp_path / "b.key").write_bytes(KEY)
    (tmp_path / "b.yaml").write_text("peers: [{address: 127.0.0.1}]\nresponder: {key_file: b.key}\n")
    responder = start("--config", "b.yaml")
    with client(responder.places[0]) as link:
        link.send(request(3, key=KEY))
        assert stamp.parse_answer(link.recv(2048), KEY).sender_sequence == 3


def test_a_rate_limit_can_be_set(start: Start) -> None:
    """What exceeds --max-rate is dropped and counted."""
    responder = start("--allow", "127.0.0.1", "--max-rate", "50")
    with client(responder.places[0]) as link:
        for number in range(500):
            link.send(request(number))
    _, errors = responder.end()
    assert "rate-limited" in errors


def test_an_unreachable_control_plane_does_not_stop_it(start: Start, tmp_path: Path) -> None:
    """It answers probes whether or not there is a mailbox, says so once, and shows no token."""
    (tmp_path / "token").write_text("a-token-of-the-tests")
    (tmp_path / "b.yaml").write_text("control: {token_file: token}\nresponder: {agent_id: 2}\n")
    responder = start("--allow", "127.0.0.1", "--config", "b.yaml", "--control-url", "http://127.0.0.1:1")
    assert responder.process.stderr
    assert "mailbox 2: 127.0.0.1:1 refused the connection" in responder.process.stderr.readline()
    with client(responder.places[0]) as link:
        link.send(request())
        assert len(link.recv(2048)) == 44
    code, errors = responder.end()
    assert (code, errors) == (0, "preflight responder: received 1, answered 1\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--bind", "127.0.0.1"], "nobody may ask this responder: give --allow PREFIX"),
        (["--bind", "b:862", "--allow", "::/0"], "--bind b:862: expected ADDRESS[:PORT]"),
        (["--bind", "127.0.0.1", "--allow", "all"], "--allow all: expected a prefix"),
        (["--bind", "192.0.2.1", "--allow", "::/0"], "192.0.2.1 is not an address of this node"),
        (["--bind", "127.0.0.1", "--key-file", "none.key"], "none.key: no such file"),
        (["--bind", "127.0.0.1", "--key-file", "short.key"], "short.key holds 5 bytes, at least 16"),
        (["--bind", "127.0.0.1", "--config", "bad.yaml"], "bad.yaml:1: unknown key 'peer'"),
        (["--bind", "TAKEN", "--allow", "::/0"], "is in use"),
    ],
)
def test_one_sentence_and_exit_code_2(tmp_path: Path, words: list[str], sentence: str) -> None:
    """What cannot work is reported before anything is served: the thing, and what to do; no traceback, no output."""
    (tmp_path / "short.key").write_bytes(b"short")
    (tmp_path / "bad.yaml").write_text("peer: []\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            command(*(place if word == "TAKEN" else word for word in words)),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 2
    assert result.stdout == ""
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1
