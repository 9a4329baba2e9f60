"""Complaints of a daemon: a warning, until the run bears them out."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from preflight_checks.overlay_health import judge, judge_names, overlay_health

from preflight.api import Peer, Result, Status
from preflight.model.complaint import Complaint
from preflight.model.facts import EchoFacts, NameFacts
from preflight.model.overlay import OverlayPeer, OverlayState, Withheld
from preflight.proto.control.url import parse_control_url
from preflight.settings.load import Settings
from tests.sample_facts import sample

TAILNET = OverlayState("tailscale", "tailscale0", up=True, mtu=1280)
OFFLINE = Complaint("overlay.offline", "the control server does not see this node", cuts=True)
OVERWRITTEN = Complaint("overlay.dns-overwritten", "/etc/resolv.conf overwritten", names=True)
ROUTES = Complaint("overlay.routes-not-accepted", "some peers are advertising routes")


@pytest.mark.parametrize(
    ("complaint", "silent", "nameless", "status", "words"),
    [
        (OFFLINE, False, False, Status.WARN, "tailscale on tailscale0: the control server does not see this node"),
        (OFFLINE, True, False, Status.FAIL, "; no peer answers in this run"),
        (OVERWRITTEN, True, False, Status.WARN, "/etc/resolv.conf overwritten"),
        (OVERWRITTEN, False, True, Status.FAIL, "; the control plane's name is not found"),
        (ROUTES, True, True, Status.WARN, "advertising routes"),
    ],
)
def test_traffic_decides(complaint: Complaint, silent: bool, nameless: bool, status: Status, words: str) -> None:
    """What would account for the trouble of this run fails; what would not stays a warning at no station."""
    result = judge(TAILNET, complaint, silent=silent, nameless=nameless)
    assert (result.status, str(result.code)) == (status, complaint.code)
    assert result.message.endswith(words)
    assert (result.station is not None) is (status is Status.FAIL and silent)


@pytest.mark.parametrize(("product", "name"), [("tailscale", "nb"), ("zerotier", "leaf")])
def test_a_direct_path_goes_on_without_the_servers(product: str, name: str) -> None:
    """Then something else stops the peers, and this node's way to its servers is a warning; a root is no such peer."""
    peer = OverlayPeer(key="k", name=name, endpoint="192.0.2.2:41641")
    state = replace(TAILNET, product=product, peers=(peer,))
    assert judge(state, OFFLINE, silent=True).status is Status.WARN
    assert judge(replace(state, peers=(replace(peer, endpoint=None),)), OFFLINE, silent=True).status is Status.FAIL
    root = replace(state, product="zerotier", peers=(replace(peer, name="planet"),))
    assert judge(root, OFFLINE, silent=True).status is Status.FAIL


def test_a_relay_that_is_the_only_path_fails_with_it() -> None:
    """Which paths carry nothing is in the sentence."""
    gone = Complaint("overlay.relay-unreachable", "could not connect to the relay server")
    state = replace(TAILNET, peers=(OverlayPeer(key="k", name="nb", relay="lab"),))
    result = judge(state, gone, silent=True)
    assert result.status is Status.FAIL
    assert result.message.endswith(
        "no peer answers in this run: there is no direct path, and the relay lab carries nothing"
    )


def test_the_products_lever() -> None:
    """Routes are accepted by the daemon's own command."""
    assert judge(TAILNET, ROUTES, silent=False).remedy == "tailscale set --accept-routes"
    before = replace(TAILNET, version="1.32.3", control_server="https://hs.example")
    older = judge(before, ROUTES, silent=False).remedy or ""
    assert older.startswith("tailscale up --accept-routes --login-server=https://hs.example   # this version has")


def asked(url: str, *, found: bool, domain: str = "h2.ts.net") -> list[Result]:
    """The check on a node whose overlay resolves names in a domain, and is not let."""

    async def names(product: str) -> tuple[Withheld, ...]:
        return (Withheld(domain),)

    addresses = ("100.64.0.3",) if found else ()
    known = NameFacts(addresses=addresses, lookup_ms=1.0, resolvers_asked=1, resolvers_answering=1)
    context: Any = SimpleNamespace(
        tunnels=(TAILNET,),
        overlay=TAILNET,
        peers=(),
        settings=SimpleNamespace(control=SimpleNamespace(usable_url=parse_control_url(url))),
        net=SimpleNamespace(overlay_names=names),
        facts=lambda kind, _: (known,) if kind is NameFacts else (),
    )

    async def results() -> list[Result]:
        return [each async for each in overlay_health.function(context)]

    return asyncio.run(results())


def test_a_name_that_the_overlay_knows() -> None:
    """Only where the control plane's name is in its domain and is not found: a node may well do without."""
    lost = [each for each in asked("http://control.h2.ts.net:9847", found=False) if each.status is Status.FAIL]
    assert [str(each.code) for each in lost] == ["overlay.names-not-accepted"]
    assert "resolves names in h2.ts.net" in lost[0].message
    assert lost[0].remedy == "tailscale set --accept-dns"
    for url, found in (("http://control.h2.ts.net:9847", True), ("http://xh2.ts.net:9847", False)):
        assert [each.status for each in asked(url, found=found)] == [Status.PASS]


def test_the_names_of_a_network() -> None:
    """ZeroTier's lever has the network's number."""
    network = replace(TAILNET, product="zerotier", interface="zt0", network="cccccccc03cbed70")
    result = judge_names(network, Withheld("lab.example", "cccccccc03cbed70"))
    assert result.remedy == "zerotier-cli set cccccccc03cbed70 allowDNS=1"


def test_who_wrote_the_resolvers_is_in_the_sentence() -> None:
    """By the comment in the file; the daemon's own name there would say that nothing is overwritten."""
    by = judge(TAILNET, OVERWRITTEN, silent=False, nameless=True, writer="NetworkManager")
    assert "; the file says that NetworkManager wrote it; the control plane's name is not found" in by.message
    assert "wrote it" not in judge(TAILNET, OVERWRITTEN, silent=False, writer="tailscale").message


def test_a_membership_that_ended_takes_direct_paths_too() -> None:
    """Unlike a server that is away."""
    locked = Complaint("overlay.not-authorized", "this node is locked out", cuts=True)
    direct = replace(TAILNET, peers=(OverlayPeer(key="k", name="nb", endpoint="192.0.2.2:41641"),))
    assert judge(direct, locked, silent=True).status is Status.FAIL
    assert judge(direct, locked, silent=False).status is Status.WARN


def test_a_warning_about_names_fails_where_a_name_is_not_found() -> None:
    """It explains nothing else."""
    names = Complaint("overlay.unhealthy", "Tailscale can't reach the configured DNS servers", names=True)
    assert judge(TAILNET, names, silent=True).status is Status.WARN
    assert judge(TAILNET, names, silent=False, nameless=True).status is Status.FAIL


@pytest.mark.parametrize(
    ("outcome", "status"), [("open", Status.WARN), ("refused", Status.WARN), ("timeout", Status.FAIL)]
)
def test_a_peer_that_answers_only_tcp_is_not_silent(outcome: str, status: Status) -> None:
    """Then something behind the session drops the rest, and the daemon's servers are not why."""
    peer = Peer("100.64.0.2", "nb")

    async def connect(address: str, port: int, timeout_s: float) -> Any:
        assert (address, port) == (peer.address, peer.responder_port)
        return SimpleNamespace(outcome=outcome)

    context: Any = SimpleNamespace(
        tunnels=(replace(TAILNET, complaints=(OFFLINE,)),),
        overlay=TAILNET,
        settings=SimpleNamespace(control=SimpleNamespace(usable_url=None)),
        peers=(peer,),
        tunnel=lambda _: TAILNET.interface,
        net=SimpleNamespace(tcp=SimpleNamespace(connect=connect)),
        facts=lambda kind, _: (sample(EchoFacts, sent=4, received=0),) if kind is EchoFacts else (),
    )

    async def results() -> list[Result]:
        return [each async for each in overlay_health.function(context)]

    assert [each.status for each in asyncio.run(results())] == [status]


NEBULA = OverlayState("nebula", "nebula1", up=True, mtu=1300)
GARBLED = Complaint("overlay.unhealthy", "`cipher` is aes, and there it is chachapoly", cuts=True)


@pytest.mark.parametrize(("received", "status"), [(0, Status.FAIL), (4, Status.PASS)])
def test_members_of_nebula_are_called_where_no_peer_answers(received: int, status: Status) -> None:
    """Of one whom nobody called its log has nothing, and a cipher that all others lack takes two of them."""
    called = (OverlayPeer(key="10.66.0.2"), OverlayPeer(key="10.66.0.3"))
    state, sent = replace(NEBULA, called=called), list[str]()

    async def connect(address: str, port: int, timeout_s: float) -> Any:
        return SimpleNamespace(outcome="timeout")

    async def overlay() -> OverlayState:
        return replace(state, complaints=(GARBLED,))

    icmp = SimpleNamespace(provoke_handshake=lambda address, interface: sent.append(address))
    context: Any = SimpleNamespace(
        settings=Settings(),
        tunnels=(state,),
        overlay=state,
        peers=(Peer("10.66.0.2", "b"),),
        tunnel=lambda _: state.interface,
        net=SimpleNamespace(tcp=SimpleNamespace(connect=connect), icmp=icmp, overlay=overlay),
        facts=lambda kind, _: (sample(EchoFacts, sent=4, received=received),) if kind is EchoFacts else (),
    )

    async def results() -> list[Result]:
        return [each async for each in overlay_health.function(context)]

    (result,) = asyncio.run(results())
    assert result.status is status
    assert result.facts is None, "the state that was read again is of the same overlay: it concerns all targets"
    assert sent == ([] if received else ["10.66.0.2", "10.66.0.3"])
    if not received:
        assert result.remedies[0].lines == (
            "Set `cipher: chachapoly` in nebula's configuration here, and restart nebula.",
        )
