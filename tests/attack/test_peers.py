"""Peers that lie: what answers is named, and nobody innocent is blamed."""

import asyncio
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_network

import pytest
from preflight_checks import mtu_path, overlay_translation, reach_traceroute, reach_udp, udp_quality

from preflight.api import Check, Context, Peer, Result, Status
from preflight.engine.diagnosis import diagnose
from preflight.model.overlay import OverlayState
from preflight.net import Net, udp
from preflight.proto.core import Address
from preflight.proto.pmtu import wire as probe
from preflight.proto.responder import reverse_trace as trace
from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.reflector import SessionReflector
from preflight.proto.stun import binding as stun
from preflight.proto.stun import nat
from preflight.settings.load import Secrets, Settings
from preflight.settings.schema import Thresholds

pytestmark = pytest.mark.xdist_group("attack-peers")
"""What all its tests look at is measured once."""


KEY = b"a key that only tests know"
OTHER = b"another key than that of the node"
ADDRESS = "127.0.0.1"
SIGNED = stamp.AUTHENTICATED_BYTES
MAGICS = (probe.MAGIC, nat.MAGIC, trace.MAGIC)
DICE = random.Random(862)


Evil = Callable[[bytes, tuple[str, int]], list[bytes]]
"""What a peer sends back for a datagram from a source."""


def reflector(key: bytes | None = None) -> Evil:
    """An honest session-reflector, and silence about everything else."""
    core = SessionReflector(key=key)

    def answer(data: bytes, source: tuple[str, int]) -> list[bytes]:
        if data[:4] in MAGICS or data[4:8] == stun.COOKIE:
            return []
        now = time.time_ns()
        try:
            return [core.handle(data, source, received_ns=now, transmitted_ns=now, ttl=64)]
        except stamp.StampError:
            return []

    return answer


def changing(change: Callable[[bytearray, bytes], object], key: bytes | None = None) -> Evil:
    """A reflector whose answers are changed: by a function that gets the answer and the question."""
    honest = reflector(key)

    def answer(data: bytes, source: tuple[str, int]) -> list[bytes]:
        changed = [bytearray(each) for each in honest(data, source)]
        for each in changed:
            change(each, data)
        return [bytes(each) for each in changed]

    return answer


def saying(make: Callable[[bytes], bytes]) -> Evil:
    """Whatever comes, one datagram goes back."""
    return lambda data, source: [make(data)]


def put(place: int, layout: str, *values: int) -> Callable[[bytearray, bytes], object]:
    """Overwrite fields of an answer."""
    return lambda answer, question: struct.pack_into(layout, answer, place, *values)


def dns(data: bytes) -> bytes:
    """FORMERR, as a name server says to what it cannot read."""
    return data[:2] + b"\x81\x81" + bytes(8)


def ntp(data: bytes) -> bytes:
    """A time server's answer: version 4, mode 4, and our transmit timestamp as its origin."""
    now = struct.pack("!Q", stamp.ntp_from_ns(time.time_ns()))
    return b"\x24\x02\x06\xec" + bytes(12) + now + data[40:48].ljust(8, b"\0") + now + now


def recorded(key: bytes | None) -> bytes:
    """An honest answer to a packet of a session that is long over."""
    request = stamp.build_request(0, time.time_ns() - 10**12, 1, 4711, key=key)
    return reflector(key)(request, ("127.0.0.1", 1))[0]


def signed_by_another(data: bytes) -> bytes:
    """What a responder with another key answers, if it ignores the key of the asker."""
    answer = bytearray(unchecked(data))
    return bytes(answer[:96]) + stamp._hmac(OTHER, bytes(answer[:96])) + bytes(answer[SIGNED:])


def unchecked(data: bytes) -> bytes:
    """A signed answer's fields, with no regard to any key."""
    sequence, timestamp, error, ssid = struct.unpack_from("!I12xQHH", data.ljust(SIGNED, b"\0"))
    request = stamp.Request(sequence, timestamp, error, ssid, True)
    now = time.time_ns()
    answer = stamp.build_answer(request, sequence=0, transmitted_ns=now, received_ns=now, ttl=9, error=1, key=OTHER)
    return answer.ljust(len(data), b"\0")


def unsigned(data: bytes) -> bytes:
    """As TWAMP Light would: it does not know signed packets, and takes their zeros for the time."""
    sequence, timestamp, error, ssid = struct.unpack_from("!IQHH", data)
    request = stamp.Request(sequence, timestamp, error, ssid, False)
    now = time.time_ns()
    return stamp.build_answer(request, sequence=0, transmitted_ns=now, received_ns=now, ttl=9, error=1)


def forging_acks(data: bytes, source: tuple[str, int]) -> list[bytes]:
    """An honest reflector that acknowledges path-MTU probes in every wrong way."""
    if not data.startswith(probe.MAGIC):
        return HONEST(data, source)
    asked = probe.decode(data)
    assert asked is not None
    size = DICE.choice([0, asked.size - 1, asked.size + 1, 0xFFFF])
    lies = [
        replace(asked, kind=probe.Kind.ACK, size=size % 0x10000),
        replace(asked, kind=probe.Kind.ACK, token=bytes(8), size=len(data) + 28),
        replace(asked, kind=probe.Kind.ANSWER, number=0xFFFFFFFF),
        replace(asked, kind=probe.Kind.ACK, number=asked.number + 1000),
    ]
    return [*(probe.encode(lie) for lie in lies), data[:40], data]


def honest_with(tlvs: bytes) -> Evil:
    """Right answers, with whatever behind them."""

    def answer(data: bytes, source: tuple[str, int]) -> list[bytes]:
        return [each[: stamp.UNAUTHENTICATED_BYTES] + tlvs for each in HONEST(data, source)]

    return answer


def random_times(answer: bytearray, question: bytes) -> None:
    """Any time of any century."""
    answer[4:12], answer[16:24] = DICE.randbytes(8), DICE.randbytes(8)


def skipping(answer: bytearray, question: bytes) -> None:
    """A count of answers that were never sent."""
    struct.pack_into("!I", answer, 0, int.from_bytes(question[:4]) * 2)


HONEST = reflector()
NO_RESPONDER = "something that is not a responder answers on UDP port"


@dataclass(frozen=True)
class Attack:
    """One evil peer.

    says: the words that name it; empty for a peer that is a responder, if one that lies. key: of the node. delay_s:
    how long it waits. elsewhere: it answers from another port.
    """

    answer: Evil
    says: str = NO_RESPONDER
    key: bytes | None = None
    delay_s: float = 0.0
    elsewhere: bool = False
    may: frozenset[str] = frozenset()


ATTACKS = {
    "echo-server": Attack(saying(bytes), "it sends back what it gets"),
    "name-server": Attack(saying(dns)),
    "time-server": Attack(saying(ntp)),
    "web-server": Attack(saying(lambda data: b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")),
    "random-bytes": Attack(saying(lambda data: DICE.randbytes(DICE.randrange(1, 200)))),
    "random-bytes-of-the-right-size": Attack(saying(lambda data: DICE.randbytes(len(data)))),
    "zeros": Attack(saying(lambda data: bytes(len(data)))),
    "ones": Attack(saying(lambda data: b"\xff" * len(data))),
    "one-byte": Attack(saying(lambda data: b"x")),
    "nothing-in-a-datagram": Attack(saying(lambda data: b"")),
    "the-largest-datagram": Attack(saying(lambda data: bytes(65_507))),
    "cut-short": Attack(lambda data, source: [each[:20] for each in HONEST(data, source)]),
    "a-replay": Attack(lambda data, source: [recorded(None)]),
    "another-session": Attack(changing(put(14, "!H", 0xFFFF))),
    "packets-never-sent": Attack(changing(put(24, "!I", 4_000_000_000))),
    "times-never-sent": Attack(changing(put(28, "!Q", 0))),
    "the-year-1900": Attack(changing(put(28, "!Q", 1))),
    "another-key": Attack(saying(signed_by_another), "a responder with another key answers on UDP port", KEY),
    "no-key": Attack(saying(unsigned), "does not sign its answers, although this node has a key", KEY),
    "random-signature": Attack(saying(lambda data: unchecked(data)[:96] + bytes(68)), "another key", KEY),
    "a-flipped-bit": Attack(changing(put(0, "!B", 1), KEY), "another key", KEY),
    "random-bytes-for-a-key": Attack(saying(lambda data: DICE.randbytes(164)), key=KEY),
    "an-echo-server-for-a-key": Attack(saying(bytes), "it sends back what it gets", KEY),
    "a-replay-for-a-key": Attack(lambda data, source: [recorded(KEY)], key=KEY),
    "from-another-port": Attack(HONEST, "answers from 127.0.0.1:", elsewhere=True),
    "late": Attack(HONEST, "", delay_s=1.5),
    "each-answer-twenty-times": Attack(lambda d, s: HONEST(d, s) * 20, "", may=frozenset({"udp.duplication"})),
    "garbage-beside-each-answer": Attack(lambda d, s: [b"x", *HONEST(d, s), bytes(60)], ""),
    "malformed-tlvs": Attack(honest_with(b"\x00\x05\xff\xff" + bytes(9)), ""),
    "thousands-of-tlvs": Attack(honest_with(b"\x00\xfc\x00\x00" * 10_000), ""),
    "absurd-drops": Attack(honest_with(stamp_tlv.Tlv(252, b"\xff" * 12, 0).encode()), ""),
    "the-times-of-no-clock": Attack(changing(random_times), ""),
    "the-year-2106": Attack(changing(put(4, "!Q", 2**64 - 1)), ""),
    "held-for-a-century": Attack(changing(put(16, "!Q", 1)), ""),
    "an-error-of-infinity": Attack(changing(put(12, "!H", 0xBFFF)), ""),
    "an-error-of-nothing": Attack(changing(put(12, "!H", 0x8000)), ""),
    "counters-at-their-end": Attack(changing(put(0, "!I", 2**32 - 1)), ""),
    "counters-that-skip": Attack(changing(skipping), ""),
    "forged-path-mtu-answers": Attack(forging_acks, ""),
}


INNOCENT = ("host.", "reach.", "udp.", "mtu.", "overlay.", "control.")
CHECKS = (udp_quality.udp_quality, mtu_path.mtu_path, reach_traceroute.reach_traceroute)


class EvilPeers(threading.Thread):
    """All the evil peers, each with its port, on a separate event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.ports: dict[str, int] = {}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()

    def run(self) -> None:
        """Serve until `stop`."""
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        with ExitStack() as stack:
            for name, attack in ATTACKS.items():
                place, other = (stack.enter_context(udp.open_udp(ADDRESS)) for _ in range(2))
                self.ports[name] = place.getsockname()[1]
                self._loop.add_reader(place, self._answer, attack, place, other if attack.elsewhere else place)
            self._ready.set()
            await self._over.wait()

    def _answer(self, attack: Attack, place: socket.socket, teller: socket.socket) -> None:
        for datagram in udp.waiting(place):
            for answer in attack.answer(datagram.data, datagram.source[:2]):
                self._loop.call_later(attack.delay_s, self._send, teller, answer, datagram.source)

    def _send(self, teller: socket.socket, answer: bytes, source: Address) -> None:
        if not self._over.is_set():
            udp.send(teller, answer, source)

    def wait_until_ready(self) -> None:
        """Until every peer has its port."""
        self.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._over.set)
        self.join(30)


def context(peers: tuple[Peer, ...], key: bytes | None) -> Context:
    """A node whose overlay is the loopback interface, which it watches where it may."""
    # Delays here vary as much as this machine has else to do, which is no peer's doing.
    options = Settings(secrets=Secrets(responder_key=key), thresholds=Thresholds(jitter_ms=5000))
    overlay = OverlayState("wireguard", "lo", up=True, mtu=65536, prefixes=(ip_network("127.0.0.0/8"),))
    return Context(settings=options, peers=peers, overlay=overlay, net=Net(options))


async def results_of(check: Check, ctx: Context) -> list[Result]:
    """What a check says, with its name."""
    return [replace(result, check=check.id) async for result in check.function(ctx)]


async def judged(ports: dict[str, int], key: bytes | None) -> list[Result]:
    """All results of one node about the evil peers that are meant for it."""
    peers = tuple(Peer(ADDRESS, name, ports[name]) for name, attack in ATTACKS.items() if attack.key == key)
    ctx = context(peers, key)
    reached = await results_of(reach_udp.reach_udp, ctx)
    others = await asyncio.gather(*(results_of(check, ctx) for check in CHECKS))
    seen = await results_of(overlay_translation.overlay_translation, ctx)
    return [*reached, *(result for each in others for result in each), *seen]


@pytest.fixture(scope="module")
def verdicts() -> dict[str, list[Result]]:
    """What two nodes, one with a key, say about all evil peers at the same time."""
    peers = EvilPeers()
    peers.wait_until_ready()

    async def both() -> tuple[list[Result], list[Result]]:
        return await asyncio.gather(judged(peers.ports, None), judged(peers.ports, KEY))

    try:
        everything = [result for results in asyncio.run(both()) for result in results]
    finally:
        peers.stop()
    return {name: [result for result in everything if result.target == name] for name in ATTACKS}


@pytest.mark.parametrize("name", ATTACKS)
def test_nobody_innocent_is_blamed(verdicts: dict[str, list[Result]], name: str) -> None:
    """Whatever a peer answers, neither this node's firewall nor the path is named as the cause."""
    blamed = {str(cause.code) for cause in diagnose(verdicts[name])}
    assert not {code for code in blamed if code.startswith(INNOCENT)} - ATTACKS[name].may


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if attack.says])
def test_what_answers_is_named(verdicts: dict[str, list[Result]], name: str) -> None:
    """A program that is not a responder of this node is named, with what came and what to paste; nothing passes."""
    *_, reached = [result for result in verdicts[name] if result.check == "reach.udp"]
    assert (reached.status, str(reached.code)) == (Status.INCONCLUSIVE, "run.needs-responder")
    assert ATTACKS[name].says in reached.message
    assert reached.remedy
    for result in verdicts[name]:
        if result.check in ("udp.quality", "mtu.path", "overlay.translation"):
            assert result.status is Status.INCONCLUSIVE, result


@pytest.mark.parametrize("name", [name for name, attack in ATTACKS.items() if not attack.says])
def test_a_responder_that_lies_is_still_reached(verdicts: dict[str, list[Result]], name: str) -> None:
    """A peer that answers this node's packets is reached, whatever else it says."""
    reached = [result.status for result in verdicts[name] if result.check == "reach.udp"]
    assert reached == [Status.PASS, Status.PASS]
