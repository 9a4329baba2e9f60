"""What this node's own shells report to a listener, with real sockets: enough to follow them, and no content."""

import asyncio
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
import trustme
from pydantic import SecretStr

from preflight.model.control import ControlError
from preflight.model.event import Event
from preflight.net import Net
from preflight.net.control.client import ControlClient
from preflight.net.kernel import Kernel
from preflight.net.names import Resolver
from preflight.net.tcp.connect import Tcp
from preflight.proto.control.url import parse_control_url
from preflight.settings.load import Enrolment, Secrets, Settings
from preflight.settings.schema import ControlSettings
from tests.net.conftest import WORKER, Request, answer, healthy, server_context

if TYPE_CHECKING:
    from tests.net.conftest import OpenNameServer, OpenTrap, StartControlPlane

BEARER = "s3cr3t-bearer-of-the-test"


def names(events: Sequence[Event], source: str) -> list[str]:
    return [event.name for event in events if event.source == source]


def named(events: Sequence[Event], name: str) -> Event:
    """The last event of that name."""
    return [event for event in events if event.name == name][-1]


def test_a_name_is_followed_from_resolver_to_resolver(open_name_server: "OpenNameServer") -> None:
    """Which resolver was asked for what, how often, and what it said; also the system's own answer."""
    events: list[Event] = []

    async def ask() -> None:
        async with open_name_server({"A": ["10.66.0.3"], "AAAA": None}) as port:
            resolver = Resolver(["127.0.0.1"], port=port, timeout_s=0.2, attempts=2, listener=events.append)
            await resolver.resolve("localhost")

    asyncio.run(ask())
    assert names(events, "lookup") == ["lookup-started", "lookup-ended"]
    assert sorted(names(events, "dns")) == ["question-ended", *["question-sent"] * 3, "question-unanswered"]
    ended = named(events, "question-ended")
    assert (ended.subject, ended.fields["outcome"]) == ("localhost.", "answer")
    assert ended.fields["addresses"] == ("10.66.0.3",)
    assert named(events, "question-unanswered").fields == {"resolver": "127.0.0.1", "type": "AAAA", "attempts": 2}


def test_a_connection_and_a_handshake_are_followed(open_trap: "OpenTrap", authority: trustme.CA) -> None:
    """Also the second handshake, which looks at a certificate that is not trusted; of it the subject, and no key."""
    events: list[Event] = []

    async def connect() -> None:
        tcp = Tcp(events.append)
        async with open_trap(healthy, tls=server_context(authority.issue_cert("x.example", common_name="me"))) as trap:
            await tcp.connect("127.0.0.1", trap.port)
            await tcp.handshake("127.0.0.1", trap.port, "127.0.0.1")
            await tcp.old_tls("127.0.0.1", trap.port, "127.0.0.1")

    asyncio.run(connect())
    assert names(events, "tcp.connect") == [
        *("connect-started", "connect-ended", "tls-started", "tls-repeated-untrusted", "tls-ended"),
        *("old-tls-offered", "old-tls-answered"),
    ]
    ended = named(events, "tls-ended").fields
    assert ended["outcome"] == "untrusted"
    assert "CN=me" in str(ended["certificate_subject"])
    assert named(events, "old-tls-answered").fields["refused"] is True


def test_a_transfer_is_reported_with_what_tcp_counted(open_trap: "OpenTrap") -> None:
    """How large its segments were, and whether any had to be sent again."""
    events: list[Event] = []

    async def talk() -> None:
        async with open_trap(healthy) as trap:
            request = b"GET / HTTP/1.0\r\n\r\n"
            await Tcp(events.append).transfer("127.0.0.1", trap.port, request, max_segment=1000)

    asyncio.run(talk())
    assert names(events, "tcp.transfer") == ["transfer-started", "transfer-ended"]
    assert named(events, "transfer-started").fields["max_segment_bytes"] == 1000
    assert 0 < int(str(named(events, "transfer-ended").fields["sent_segment_bytes"])) <= 1000


def test_the_kernel_s_answers_are_reported() -> None:
    """Which way a packet would take is half of many a diagnosis."""
    events: list[Event] = []
    kernel = Kernel(events.append)
    asyncio.run(kernel.links())
    asyncio.run(kernel.route_to("127.0.0.1"))
    kernel.reverse_path_filter()
    kernel.clock()
    assert names(events, "kernel") == ["links-read", "route-read", "reverse-path-filter-read", "clock-read"]
    assert "dev lo" in str(named(events, "route-read").fields["route"])


def test_a_request_is_followed_to_its_answer_and_repeated(open_trap: "OpenTrap") -> None:
    """Each stage with its time; status and size, but no header and no word of the body."""
    events: list[Event] = []
    said = iter(
        [
            answer("429 Too Many Requests", b"come back, s3cr3t", retry_after="0", x_populi_feature="x"),
            answer(body=b'{"schema_version": 1, "nodes": []}', x_populi_feature="x"),
        ]
    )

    async def talk() -> None:
        async with open_trap(lambda request: next(said)) as trap:
            client = ControlClient(
                parse_control_url(trap.url), token=SecretStr(BEARER), environment={}, listener=events.append
            )
            await client.nodes(patient=True)
            await client.aclose()

    asyncio.run(talk())
    one = ["request-started", "request-stage", "request-stage", "request-stage", "answer-received"]
    assert names(events, "control.client") == [*one, "request-repeats", "request-started", *one[2:]]
    stages = [event.fields["stage"] for event in events if event.name == "request-stage"]
    assert stages == ["connected", "sent", "answer-began", "sent", "answer-began"]
    received = named(events, "answer-received").fields
    assert (received["request"], received["http_status"], received["body_bytes"]) == ("GET /v1/populi/nodes", 200, 34)
    assert "s3cr3t" not in str(events)


def test_a_request_without_an_answer_is_reported_with_its_kind() -> None:
    """Refused, timed out, not HTTP: the words of the contract."""
    events: list[Event] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def talk() -> None:
        client = ControlClient(parse_control_url(f"http://localhost:{port}"), environment={}, listener=events.append)
        with pytest.raises(ControlError):
            await client.health()
        await client.aclose()

    asyncio.run(talk())
    assert names(events, "lookup") == ["lookup-started", "lookup-ended"]
    assert named(events, "request-failed").fields == {"request": "GET /health", "kind": "refused"}


def test_a_copy_of_a_client_tells_the_same_listener(open_trap: "OpenTrap") -> None:
    """The client with the bought credential, and the one past the proxy, are part of the run too."""
    events: list[Event] = []
    asked: list[Request] = []

    def respond(request: Request) -> bytes:
        asked.append(request)
        return healthy(request)

    async def talk() -> None:
        async with open_trap(respond) as trap:
            client = ControlClient(parse_control_url(trap.url), environment={}, listener=events.append)
            for copy in (client.direct(), client.with_token(SecretStr(BEARER))):
                await copy.health()
                await copy.aclose()
            await client.aclose()

    asyncio.run(talk())
    assert names(events, "control.client").count("answer-received") == len(asked) == 2


def enrolled(url: str, source: str = "control.enroll") -> list[Event]:
    """What an enrolment reports, from its first call to its last."""
    events: list[Event] = []
    settings = Settings(
        control=ControlSettings(url=url, scope_id="lab"),
        secrets=Secrets(token=SecretStr(WORKER)),
        enrolment=Enrolment(None, None),
    )

    async def run() -> None:
        net = Net(settings, events.append)
        session = net.enrolment()
        try:
            while await session.advance() is not None:
                pass
        finally:
            await session.end()
            await net.aclose()

    asyncio.run(run())
    return [event for event in events if event.source == source]


def test_an_enrolment_is_followed_from_call_to_call(start_control_plane: "StartControlPlane") -> None:
    """Each call with its attempt and how it ended, and each step with what comes next."""
    events = enrolled(start_control_plane().url)
    calls = [event.fields["state"] for event in events if event.name == "call"]
    assert calls == ["look", "join", "heartbeat", "heartbeat-again", "list", "leave"]
    assert [event.fields["state"] for event in events if event.name == "call-succeeded"] == calls
    steps = [(event.fields["step"], event.fields["problem"]) for event in events if event.name == "step-ended"]
    assert steps == [(step, None) for step in ("join", "heartbeat", "listed", "leave")]


def test_an_enrolment_asks_for_the_list_while_the_second_heartbeat_is_under_way(
    start_control_plane: "StartControlPlane",
) -> None:
    """One round trip less on a long way, and no request more."""
    events = enrolled(start_control_plane().url, "control.client")
    started = [event.fields["request"] for event in events if event.name == "request-started"]
    words = ["nodes", "join", "heartbeat", "heartbeat", "nodes", "leave"]
    assert sorted(str(each).rpartition("/")[2] for each in started) == sorted(words)
    told = [(event.name, event.fields.get("request")) for event in events]
    asked = max(n for n, each in enumerate(told) if each == ("request-started", "GET /v1/populi/nodes"))
    taken = max(n for n, each in enumerate(told) if each == ("answer-received", "POST /v1/populi/heartbeat"))
    assert asked < taken


def test_a_refused_enrolment_tells_the_status_and_no_word_of_the_server(open_trap: "OpenTrap") -> None:
    """The status shows why it is not tried again; what the server wrote may quote a token."""

    async def talk() -> list[Event]:
        async with open_trap(lambda request: answer("403 Forbidden", b"s3cr3t", x_populi_feature="x")) as trap:
            return await asyncio.to_thread(enrolled, trap.url)

    events = asyncio.run(talk())
    (failed,) = (event for event in events if event.name == "call-failed")
    assert (failed.fields["kind"], failed.fields["http_status"]) == ("status", 403)
    assert failed.fields["again_in_s"] is None
    assert "s3cr3t" not in str(events)
