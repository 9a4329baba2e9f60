"""control.url, control.dns and control.connect: their judges, by table."""

from dataclasses import replace
from ipaddress import ip_interface, ip_network

import pytest
from preflight_checks import control_connect, control_dns, control_url

from preflight.api import Status, codes, request
from preflight.model.dns import Lookup, LookupOutcome, NameFiles, Resolution
from preflight.model.facts import DeathFacts
from preflight.model.overlay import OverlayPeer, OverlayState
from preflight.model.remedy import by_hand, look
from preflight.model.tcp import Connection, ConnectOutcome
from preflight.proto.control.url import ControlUrl, parse_control_url
from preflight.proto.way.observation import Death
from tests.kernel_says import routed

TUNNEL = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.1/24"), ip_interface("fd66::1/64")),
    peers=(OverlayPeer("k", "192.0.2.3:51820", (ip_network("10.66.0.3/32"), ip_network("fd66::3/128"))),),
)
NAME = "control.overlay.test"
GOOD, LAN, GOOD6, LAN6 = "10.66.0.3", "192.0.2.3", "fd66::3", "2001:db8::3"
OVERLAY = routed(TUNNEL, inside=[GOOD, GOOD6], outside=[LAN, LAN6])


@pytest.mark.parametrize(
    ("raw", "overlay", "code"),
    [
        (None, OVERLAY, "control.url-missing"),
        ("  ", OVERLAY, "control.url-missing"),
        ("ftp://x", OVERLAY, "control.url-invalid"),
        ("http://0.0.0.0:9847", OVERLAY, "control.url-bind-all"),
        ("[::]:9847", OVERLAY, "control.url-bind-all"),
        (f"http://{LAN}:9847", OVERLAY, "control.url-off-overlay"),
        (f"http://[{LAN6}]:9847", OVERLAY, "control.url-off-overlay"),
        (f"http://{LAN}:9847", None, None),
        (f"http://{GOOD}:9847", OVERLAY, None),
        (f"http://[{GOOD6}]", OVERLAY, None),
        ("http://127.0.0.1:9847", OVERLAY, None),
        (f"http://{NAME}:9847", OVERLAY, None),
    ],
)
def test_control_url(raw: str | None, overlay: OverlayState | None, code: str | None) -> None:
    """Missing, malformed, bind-all, off the overlay; without an overlay nothing is off it; names are judged later."""
    url = parse_control_url(raw) if raw is not None else None
    result = control_url.judge(url, "VOX_MESH_CONTROL_ADDR", overlay)
    assert (result.code.slug if result.code else None) == code
    assert (result.status is Status.PASS) == (code is None)
    assert result.code is None or result.remedy
    assert raw is None or not raw.strip() or "VOX_MESH_CONTROL_ADDR" in result.message


def test_the_advice_for_a_lan_address() -> None:
    """What was found of a way inside is what the finding says; a placeholder where nothing was found."""
    url, found = parse_control_url(f"{LAN}:9847"), look("this way")
    result = control_url.judge(url, None, OVERLAY, tried=control_url.Tried(way_inside=found))
    assert result.remedies == found
    assert "wg0 (10.66.0.0/24, fd66::/64)" in result.message
    assert "http://ADDRESS-IN-10.66.0.0/24:9847" in (control_url.judge(url, None, OVERLAY).remedy or "")


@pytest.mark.parametrize(
    "raw", ["http://user:s3cr3t@0.0.0.0", "http://h?token=s3cr3t", "user:s3cr3t/@h", "http://h#s3cr3t"]
)
def test_what_may_be_a_secret_in_a_url_is_not_shown(raw: str) -> None:
    """A mistaken URL is quoted without what could be a password or a token."""
    result = control_url.judge(parse_control_url(raw), None, OVERLAY)
    assert result.status is Status.FAIL
    assert "s3cr3t" not in f"{result}"


def answer(source: str, *addresses: str) -> Lookup:
    return Lookup(source, "answer", addresses, 1.0)


def no(source: str, outcome: LookupOutcome, detail: str = "") -> Lookup:
    return Lookup(source, outcome, detail=detail)


NX, SILENT, ERROR = no("r", "nxdomain"), no("r", "timeout"), no("r", "failed")


@pytest.mark.parametrize(
    ("system", "resolvers", "code", "status"),
    [
        # all agree
        (answer("system", GOOD), (answer("r1", GOOD),), None, "pass"),
        (answer("system", GOOD, GOOD6), (answer("r1", GOOD6, GOOD), answer("r2", GOOD)), None, "pass"),
        (answer("system", GOOD), (answer("r1", GOOD), no("r2", "timeout", "silent")), None, "pass"),
        # the hosts file alone knows it, or there is no resolver at all
        (answer("system", GOOD), (NX,), None, "pass"),
        (answer("system", GOOD), (), None, "pass"),
        # a dead AAAA off the overlay is control.connect's to judge
        (answer("system", GOOD, LAN6), (answer("r1", GOOD, LAN6),), None, "pass"),
        # different answers
        (answer("system", LAN), (answer("r1", LAN), answer("r2", GOOD)), "control.dns-split", "fail"),
        (answer("system", GOOD), (answer("r1", GOOD), answer("r2", LAN)), "control.dns-split", "warn"),
        (answer("system", GOOD), (answer("r1", LAN),), "control.dns-split", "warn"),
        (answer("system", LAN), (answer("r1", GOOD),), "control.dns-split", "fail"),
        (answer("system", GOOD), (answer("r1", GOOD), NX), "control.dns-split", "warn"),
        (answer("system", GOOD), (answer("r1", GOOD), answer("r2", GOOD, LAN)), "control.dns-split", "warn"),
        (NX, (answer("r1", GOOD),), "control.dns-split", "fail"),
        # nobody knows it
        (no("system", "nxdomain"), (NX,), "control.dns-nxdomain", "fail"),
        (no("system", "no-address"), (no("r1", "no-address"),), "control.dns-nxdomain", "fail"),
        (no("system", "nxdomain"), (), "control.dns-nxdomain", "fail"),
        # nobody answers
        (no("system", "timeout"), (SILENT,), "control.dns-timeout", "fail"),
        (no("system", "timeout"), (SILENT, NX), "control.dns-timeout", "fail"),
        (no("system", "timeout"), (ERROR,), "control.dns-timeout", "fail"),
        (no("system", "nxdomain"), (SILENT,), "control.dns-timeout", "fail"),
        (no("system", "timeout"), (SILENT, answer("r2", GOOD)), "control.dns-timeout", "fail"),
        # all agree on a place off the overlay: with plain HTTP that leaks
        (answer("system", LAN), (answer("r1", LAN),), "control.plain-http", "fail"),
    ],
)
def test_control_dns(system: Lookup, resolvers: tuple[Lookup, ...], code: str | None, status: str) -> None:
    """What the system and the resolvers say together."""
    url, inward = ControlUrl("http", NAME, 9847), look("this way")
    result = control_dns.judge(Resolution(NAME, system, resolvers), url, OVERLAY, inward)
    assert (result.code.slug if result.code else None, result.status.value) == (code, status)
    assert NAME in result.message
    assert result.code is None or result.remedy


@pytest.mark.parametrize("nowhere", ["0.0.0.0", "::"])
def test_a_filter_that_blocks_the_name(nowhere: str) -> None:
    """Who gives an address that no host has is named, before clear text or a refusal is spoken of."""
    resolution = Resolution("control.mesh", answer("system", nowhere), (answer("10.0.0.53", nowhere),))
    result = control_dns.judge(resolution, ControlUrl("http", NAME, 9847), None)
    assert result.code is codes.CONTROL_DNS_REFUSED
    assert "10.0.0.53 gives" in result.message
    assert (result.measurements["problem"], result.measurements["resolver"]) == ("blocked", "10.0.0.53")


def test_a_name_off_the_overlay_with_tls() -> None:
    """Nothing leaks, and it is still not the overlay."""
    resolution = Resolution(NAME, answer("system", LAN), (answer("r1", LAN),))
    result = control_dns.judge(resolution, ControlUrl("https", NAME, 443, port_given=False), OVERLAY)
    assert result.code is not None
    assert result.code.slug == "control.url-off-overlay"
    assert control_dns.judge(resolution, ControlUrl("https", NAME, 443, port_given=False), None).status is Status.PASS


def test_a_split_tells_who_says_what() -> None:
    """The message names each source with its answer, and the advice names the address on the overlay."""
    resolution = Resolution(NAME, answer("system", LAN), (answer("192.0.2.53", LAN), answer("10.66.0.53", GOOD)))
    result = control_dns.judge(resolution, ControlUrl("http", NAME, 80, port_given=False), OVERLAY)
    for part in (f"192.0.2.53: {LAN}", f"10.66.0.53: {GOOD}", "not on the overlay"):
        assert part in result.message
    assert (result.remedy or "").startswith(f"{GOOD} {NAME}   # in /etc/hosts")


def test_the_odd_one_is_named() -> None:
    """Programs get the right address, so the resolver that differs decides, not the one that they ask first."""
    resolution = Resolution(NAME, answer("system", GOOD), (answer("r1", GOOD), answer("r2", LAN)))
    result = control_dns.judge(resolution, ControlUrl("http", NAME, 9847), OVERLAY)
    assert result.measurements["resolver"] == "r2"
    assert result.measurements["answered_address"] == LAN
    assert "r2 does not give that" in result.message


def test_the_hosts_file_settles_it() -> None:
    """Programs that have the address from their hosts file ask no resolver."""
    url, files = ControlUrl("http", NAME, 9847), NameFiles(hosts=(GOOD,))
    for others in ((answer("r1", LAN),), (NX,), (answer("r1", GOOD), answer("r2", LAN))):
        settled = Resolution(NAME, answer("system", GOOD), others, files=files)
        assert control_dns.judge(settled, url, OVERLAY).status is Status.PASS
    stale = Resolution(NAME, answer("system", LAN), (answer("r1", GOOD),), files=NameFiles(hosts=(LAN,)))
    assert control_dns.judge(stale, url, OVERLAY).status is Status.FAIL


def tried(address: str, outcome: ConnectOutcome) -> Connection:
    return Connection(address, 9847, outcome, 12.5, "" if outcome == "open" else "the system's words")


@pytest.mark.parametrize(
    ("outcomes", "code", "status"),
    [
        ({GOOD: "open"}, None, "pass"),
        ({GOOD: "open", GOOD6: "open"}, None, "pass"),
        ({GOOD: "refused"}, "control.refused", "fail"),
        ({GOOD: "timeout"}, "control.timeout", "fail"),
        ({GOOD: "unreachable"}, "control.unreachable", "fail"),
        ({GOOD6: "unreachable", GOOD: "refused"}, "control.refused", "fail"),
        ({GOOD6: "unreachable", GOOD: "timeout"}, "control.timeout", "fail"),
        ({GOOD6: "timeout", GOOD: "open"}, "control.address-family", "warn"),
        ({LAN6: "timeout", GOOD: "open"}, "control.address-family", "warn"),
        ({GOOD6: "open", GOOD: "refused"}, "control.address-family", "warn"),
        ({GOOD: "open", "10.66.0.4": "timeout"}, "control.dead-address", "warn"),
        ({GOOD: "open", "10.66.0.4": "refused"}, "control.dead-address", "warn"),
        ({GOOD: "open", GOOD6: "timeout", "10.66.0.4": "timeout"}, "control.address-family", "warn"),
        ({GOOD: "open", LAN: "open"}, "control.url-off-overlay", "fail"),
        ({GOOD: "timeout", LAN: "open"}, "control.url-off-overlay", "fail"),
        ({LAN: "open"}, None, "pass"),
    ],
)
def test_control_connect(outcomes: dict[str, ConnectOutcome], code: str | None, status: str) -> None:
    """The most informative failure of all addresses; a dead family next to a good one; an open door off the overlay."""
    connections = [tried(address, outcome) for address, outcome in outcomes.items()]
    result = control_connect.judge(connections, ControlUrl("http", NAME, 9847), OVERLAY)
    assert (result.code.slug if result.code else None, result.status.value) == (code, status)
    for address in outcomes:
        assert address in result.message
    assert "9847" in result.message
    assert "IPv" in result.message


def test_what_this_node_itself_refuses_is_said_first() -> None:
    """The rule or route is the reason; `cannot be reached` is only its effect."""
    why = "this node's kernel refuses TCP port 9847 for the control host (10.66.0.3): its rule `x` is of type prohibit"
    refusal = Death(
        code=codes.REACH_NO_FORWARD, message=why, facts=DeathFacts(route_type="prohibit"), remedies=look("this")
    )
    connections = [tried(GOOD, "unreachable")]
    result = control_connect.judge(connections, ControlUrl("http", GOOD, 9847), OVERLAY, refusal=refusal)
    assert result.code is codes.CONTROL_UNREACHABLE
    assert why in result.message
    assert (result.station, result.measurements["route_type"]) == (request("route"), "prohibit")
    assert result.remedies == look("this")


def test_a_rule_of_this_nodes_own_firewall_is_the_cause() -> None:
    """Its code is that of any rule here, so one rule that stops a peer too is one cause."""
    why = "this node's own firewall drops packets to 10.66.0.3 TCP port 9847: rule 2 of table inet t, chain output"
    rule = Death(code=codes.HOST_FIREWALL_DROP, message=why, facts=DeathFacts(rule_handle=2), remedies=look("this"))
    result = control_connect.judge([tried(GOOD, "timeout")], ControlUrl("http", GOOD, 9847), OVERLAY, refusal=rule)
    assert (result.code, result.station) == (codes.HOST_FIREWALL_DROP, request("connect"))
    assert why in result.message
    assert result.measurements["rule_handle"] == 2


def test_a_url_without_a_port_gets_a_hint() -> None:
    """Port 80 refused: the control plane's own port may have been meant."""
    connection = Connection(GOOD, 80, "refused", 0.2, "Connection refused")
    result = control_connect.judge([connection], ControlUrl("http", GOOD, 80, port_given=False), OVERLAY)
    assert "9847" in result.message
    assert (result.remedy or "").startswith(f"curl -si --max-time 15 http://{GOOD}:9847/health ")
    assert [remedy.kind for remedy in result.remedies] == ["next"]


@pytest.mark.parametrize(
    ("handshake_unix_s", "said", "measured", "remedy"),
    [
        (0.0, "; the tunnel to it with 192.0.2.3:51820 never had a handshake", None, "wg show wg0 "),
        (600.0, "; the tunnel to it with 192.0.2.3:51820 had its last handshake 400 s ago", 400.0, "wg show wg0 "),
        (
            990.0,
            "; the tunnel to it with 192.0.2.3:51820 had its last handshake 10 s ago",
            10.0,
            "Let TCP port 9847 in",
        ),
    ],
    ids=["never", "stale", "alive"],
)
def test_silence_tells_of_its_tunnel(handshake_unix_s: float, said: str, measured: float | None, remedy: str) -> None:
    """A control host that is nobody's peer in the settings still has a tunnel, and that may be what is dead."""
    overlay = replace(OVERLAY, peers=(replace(OVERLAY.peers[0], last_handshake_unix_s=handshake_unix_s),))
    tunnel = control_connect.tunnel_to(GOOD, overlay, 1000.0)
    result = control_connect.judge([tried(GOOD, "timeout")], ControlUrl("http", GOOD, 9847), overlay, tunnel)
    assert said in result.message
    assert result.measurements["tunnel_handshake_age_s"] == measured
    assert (result.remedy or "").startswith(remedy)


def test_of_a_tunnel_that_tells_nothing_nothing_is_said() -> None:
    """Without privilege, with another product, and where no peer has the address, there is no handshake to report."""
    for overlay in (None, OVERLAY, replace(OVERLAY, product="nebula"), replace(OVERLAY, peers=())):
        assert control_connect.tunnel_to(GOOD, overlay, 1000.0) is None


@pytest.mark.parametrize("host", [GOOD, "127.0.0.1"])
def test_a_better_url_that_was_found_is_the_fix(host: str) -> None:
    """Nobody listens at the URL, and a control plane answers at its usual port, or at the member that was meant."""
    refused = Connection(host, 80, "refused", 0.2, "Connection refused")
    meant = (f"http://{GOOD}:9847", by_hand("set it"))
    result = control_connect.judge([refused], ControlUrl("http", host, 80), OVERLAY, meant=meant)
    assert f"at http://{GOOD}:9847 a control plane answers" in result.message
    assert result.remedies == by_hand("set it")


def test_a_loopback_address_of_the_hosts_file_is_named_with_its_file() -> None:
    """A hosts file that was copied from the control host: the URL is right, and the line is not."""
    own = "127.0.1.1"
    refused = Connection(own, 9847, "refused", 0.2, "Connection refused")
    url = ControlUrl("http", NAME, 9847)
    by_line = control_connect.judge([refused], url, OVERLAY, by_file=(own,))
    by_dns = control_connect.judge([refused], url, OVERLAY)
    assert by_line.measurements["file"] == "/etc/hosts"
    assert by_line.message.startswith(f"/etc/hosts gives {NAME} a loopback address")
    assert (by_line.station, by_dns.station) == (request("name"), request("parse"))
    assert "file" not in by_dns.measurements


def test_a_hosts_file_that_leads_where_nobody_listens() -> None:
    """That is the cause, and not only a difference: an address that a resolver gives accepts connections."""
    stale = "10.66.0.9"
    overlay = routed(TUNNEL, inside=[GOOD, stale], outside=[])
    files = NameFiles("files dns", (stale,))
    resolution = Resolution(NAME, answer("system", stale), (answer("r1", GOOD),), files=files)
    url = ControlUrl("http", NAME, 9847)
    dead = control_dns.judge(resolution, url, overlay, accepting=frozenset([GOOD]))
    assert (dead.status, dead.measurements["file"]) == (Status.FAIL, "/etc/hosts")
    assert GOOD in (dead.remedy or "")
    assert control_dns.judge(resolution, url, overlay, accepting=frozenset([GOOD, stale])).status is Status.WARN


@pytest.mark.parametrize(
    ("resolvers", "said", "fixes"),
    [
        ([Lookup("r1", "timeout"), answer("r2", GOOD)], "the first resolver, r1, does not answer", 0),
        (
            [Lookup("192.0.2.7", "timeout"), Lookup("192.0.2.8", "timeout"), answer("r3", GOOD)],
            "the first resolvers, 192.0.2.7, 192.0.2.8, do not answer",
            2,
        ),
        ([replace(answer("r1", GOOD), unanswered="AAAA")], "leaves questions for AAAA records without an answer", 1),
    ],
)
def test_what_makes_look_ups_slow(resolvers: list[Lookup], said: str, fixes: int) -> None:
    """Each dead resolver before the first that answers costs its time, as does one that drops half the questions."""
    slow = replace(answer("system", GOOD), rtt_ms=5000.0)
    url = ControlUrl("http", NAME, 9847)
    result = control_dns.judge(Resolution(NAME, slow, tuple(resolvers)), url, OVERLAY)
    assert (result.status, result.code) == (Status.WARN, codes.CONTROL_SLOW)
    assert said in result.message
    assert sum(remedy.fix is not None for remedy in result.remedies) == fixes
    quick = replace(slow, rtt_ms=5.0)
    assert control_dns.judge(Resolution(NAME, quick, tuple(resolvers)), url, OVERLAY).status is Status.PASS
