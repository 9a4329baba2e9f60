"""States that daemons report and that were not recorded: recorded ones with the fields of the state in question.

The words are those of the daemons' own sources.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from preflight_checks import overlay_health, overlay_interface

from preflight.api import Peer, Status
from preflight.model.kernel import Link
from preflight.model.overlay import OverlayState
from preflight.overlay import nebula, tailscale, zerotier
from preflight.overlay.read import choose
from preflight.settings.peers import overlay_peers
from tests.overlay.replay.fake_daemon import tailscale_now
from tests.overlay.test_sample_causes import (
    LIGHTHOUSE,
    NOW_UNIX_S,
    POLICY,
    SAMPLES,
    UNREACHABLE,
    Cause,
    device,
    first_cause,
    holds,
    zerotier_sample,
)

RELAYED: Cause = ("overlay.relayed", "relays the traffic to nb through lab")
LOCKED: Cause = ("overlay.not-authorized", "this node is locked out")
EXPIRED_TLS = (
    "Tailscale could not establish an encrypted connection with '\"controlplane.tailscale.com\"': x509: certificate "
    "has expired or is not yet valid: current time 2020-01-01T00:00:07Z is before 2026-10-01T00:00:00Z"
)
HEALTH: Mapping[str, tuple[str, Cause, Cause]] = {
    # By its warning, where the peer is relayed: while the peer answers, and while it does not.
    "locked": ("this node is locked out; it will not have connectivity until it is signed.", LOCKED, LOCKED),
    "down": (
        "Tailscale cannot connect because the network is down. Check your Internet connection.",
        *2 * (("overlay.offline", "the network is down"),),
    ),
    "tls": (EXPIRED_TLS, *2 * (("overlay.offline", "current time 2020-01-01"),)),
    "portal": (
        "This network requires you to log in using your web browser.",
        *2 * (("overlay.offline", "log in using your web browser"),),
    ),
    "middlebox": (
        'Network equipment from "Fortinet" may be blocking Tailscale traffic on this network. Connect to another.',
        *2 * (("overlay.offline", 'equipment from "Fortinet"'),),
    ),
    "derp": (
        "Tailscale could not establish an encrypted connection with '\"derp7.tailscale.com\"': EOF",
        *2 * (("overlay.relay-unreachable", "derp7.tailscale.com"),),
    ),
    "region": ("The relay server #1 is reporting an issue: overloaded", RELAYED, UNREACHABLE),
    "unbound": ("Tailscale couldn't listen for incoming UDP connections.", RELAYED, UNREACHABLE),
}


def tailnet(*said: str, own: Any = None, peer: Any = None, **change: Any) -> OverlayState:
    """A healthy state with these warnings and fields."""
    status = json.loads((SAMPLES / "tailscale/live2/status-healthy.json").read_text(encoding="utf-8"))
    status |= {"Health": list(said), **change}
    status["Self"] |= own or {}
    for each in (status["Peer"] or {}).values():
        each |= peer or {}
    return tailscale.parse_status(tailscale_now(status, NOW_UNIX_S), TUN, NOW_UNIX_S)


TUN = [device("tailscale0", "100.64.0.1/32")]
NB = Peer("100.64.0.2", "nb")


@pytest.mark.parametrize("name", HEALTH)
def test_a_warning_that_accounts_for_silence(name: str) -> None:
    """The narrowest of what the daemon says is the cause; a warning about something else explains no silence."""
    said, answering, silent = HEALTH[name]
    unseen = answering is not None and answering[0] == "overlay.offline"
    general = ["Tailscale hasn't received a network map from the coordination server in 2m."] * unseen
    state = tailnet(*general, said, own={"Online": not unseen}, peer={"CurAddr": ""})
    holds(first_cause(state, NB, TUN, NOW_UNIX_S, silent=False), answering)
    holds(first_cause(state, NB, TUN, NOW_UNIX_S, silent=True), silent)


@pytest.mark.parametrize(
    "said",
    [
        "This is an unstable version of Tailscale meant for testing and development purposes.",
        "SELinux is enabled; Tailscale SSH may not work. See https://tailscale.com/s/ssh-selinux",
        "Tailscale SSH enabled, but access controls don't allow anyone to access this device.",
        "The local log is misconfigured: open /x: permission denied",
        "Tailnet Lock state is only being stored in-memory. Set --statedir to store state on disk.",
        "Stateful filtering is enabled and Docker was detected; this may prevent Docker containers from resolving DNS",
        "Tailscale is starting. Please wait.",
        "Fetching TLS certificate via ACME for: na.tail1234.ts.net",
        "Could not collect device serial numbers for posture checking. (exit status 1)",
    ],
)
def test_what_concerns_no_peer_is_no_finding(said: str) -> None:
    """A node with such a warning is healthy; and where a policy drops, that is the cause as without it."""
    holds(first_cause(tailnet(said), NB, TUN, NOW_UNIX_S, silent=False), None)
    holds(first_cause(tailnet(said), NB, TUN, NOW_UNIX_S, silent=True), POLICY)


def test_a_daemon_that_goes_on_starting() -> None:
    """It stays so until a relay or a peer answers."""
    state = tailnet(BackendState="Starting", peer={"CurAddr": "", "Active": False})
    for silent in (False, True):
        holds(first_cause(state, NB, TUN, NOW_UNIX_S, silent=silent), ("overlay.offline", "its state is Starting"))


def test_a_daemon_that_cannot_read_its_state_is_not_logged_out() -> None:
    """A login would not help it."""
    said = "State store failed to initialize, Tailscale will not work until this is resolved. Error: TPM"
    holds(
        first_cause(tailnet(said, BackendState="NoState"), NB, TUN, NOW_UNIX_S, silent=True),
        ("overlay.daemon-down", "Error: TPM"),
    )


@pytest.mark.parametrize(
    ("preferences", "leaving", "gone"),
    [
        ({"ExitNodeID": "n7CNTRL"}, False, True),
        ({"ExitNodeID": "n7CNTRL"}, True, False),
        ({"ExitNodeID": "auto:any"}, False, False),
        ({"ExitNodeID": "", "ExitNodeIP": ""}, False, False),
        ({}, False, False),
    ],
)
def test_an_exit_node_that_is_not_in_the_tailnet(preferences: Any, leaving: bool, gone: bool) -> None:
    """Only the preferences still name it."""
    state = tailscale.with_preferences(tailnet(), preferences, leaving=leaving)
    assert [each.code for each in state.complaints] == ["overlay.exit-node-gone"] * gone


@pytest.mark.parametrize(
    "change",
    [
        # The two dozen relays of Tailscale's funnel, which call this node and never answer it.
        {"HostName": "funnel-ingress-node", "DNSName": "", "OS": "", "ShareeNode": True, "Tags": ["tag:ingress"]},
        {"HostName": "phone-of-a-friend", "ShareeNode": True},
        {"HostName": "us-nyc-wg-301", "DNSName": "us-nyc-wg-301.mullvad.ts.net.", "Tags": ["tag:mullvad-exit-node"]},
    ],
)
def test_who_is_listed_and_no_member(change: Mapping[str, Any]) -> None:
    """A run towards everyone leaves out whom this node cannot reach in a healthy tailnet."""
    whole, less = tailnet(), tailnet(peer=change)
    assert [peer.target for peer in overlay_peers((), whole)] == ["nb"]
    assert overlay_peers((), less) == ()
    assert overlay_peers((NB,), less) == (NB,)


@pytest.mark.parametrize(
    "said",
    [
        # The words of iptables on a kernel without it; the second is one warning of several lines.
        "running [/usr/sbin/iptables -t filter -N ts-input --wait]: exit status 3: iptables v1.8.7 (legacy): can't "
        "initialize iptables table `filter': Table does not exist (do you need to insmod?)",
        "multiple errors:\n adding [-m mark --mark 0x40000/0xff0000 -j MASQUERADE] in nat/ts-postrouting: running "
        "[/usr/sbin/iptables -t nat -A ts-postrouting]: exit status 2: Chain 'MASQUERADE' does not exist\n",
    ],
)
def test_a_daemon_that_cannot_set_its_rules(said: str) -> None:
    """A warning with the daemon's lever, for which a policy that drops is not excused."""
    holds(first_cause(tailnet(said), NB, TUN, NOW_UNIX_S, silent=False), ("overlay.unhealthy", "iptables"))
    holds(first_cause(tailnet(said), NB, TUN, NOW_UNIX_S, silent=True), POLICY)
    (complaint,) = tailnet(said).complaints
    result = overlay_health.judge(tailnet(), complaint, silent=False)
    assert "TS_DEBUG_FIREWALL_MODE=nftables" in (result.remedy or "")
    assert "\n" not in result.message


def test_a_tailnet_of_one() -> None:
    """A fresh node without any peer, and one that the server has not given addresses yet."""
    assert ((alone := tailnet(Peer=None)).peers, alone.complaints, overlay_peers((), alone)) == ((), (), ())
    assert tailnet(TailscaleIPs=None).product == "tailscale"


CLOCK_MS = zerotier_sample("live2/healthy.info")["clock"]


def path(address: str, heard_ms: int, sent_ms: int, **more: Any) -> dict[str, Any]:
    """A path as the service reports it; times in milliseconds before now, 0 of `heard_ms` means never."""
    times = {"lastReceive": CLOCK_MS - heard_ms if heard_ms else 0, "lastSend": CLOCK_MS - sent_ms}
    return {
        "active": True,
        "address": address,
        "expired": False,
        "preferred": True,
        "trustedPathId": 0,
        **times,
        **more,
    }


TCP: Cause = ("overlay.relayed", "relays the traffic to bbbbbbbb02, the only other member that it knows, through")
HEARD: Cause = ("overlay.policy-drop", "zerotier heard bbbbbbbb02")
ZEROTIER: Mapping[str, tuple[dict[str, Any], Cause, Cause]] = {
    "udp blocked, by TCP": (
        {"info": {"tcpFallbackActive": True}, "leaf": {"tunneled": True, "paths": [path("9.9.9.9/9993", 200, 100)]}},
        TCP,
        HEARD,
    ),
    "by TCP, and the peer in the LAN": ({"info": {"tcpFallbackActive": True}, "leaf": {"tunneled": True}}, None, HEARD),
    "a path that never answered": (
        {"leaf": {"paths": [path("10.232.2.1/9993", 0, 500)], "latency": -1}},
        None,
        ("overlay.peer-lost", "sends to bbbbbbbb02 at 10.232.2.1:9993, and has never heard it there"),
    ),
    "a root that never answered": (
        {
            "info": {"online": False},
            "root": {"paths": [path("192.0.2.3/9993", 0, 4000)], "latency": -1},
            "leaf": {"paths": [], "latency": -1},
        },
        *2
        * (("overlay.offline", "the root cccccccc03 at 192.0.2.3:9993 has never answered, and was last sent to 4 s"),),
    ),
    "several paths at once": (
        {
            "leaf": {
                "isBonded": True,
                "bondingPolicyStr": "balance-xor",
                "paths": [path("10.232.2.1/9993", 200, 100, ifname="eth0"), path("10.233.2.1/9993", 200, 100)],
            }
        },
        None,
        HEARD,
    ),
    "single sign-on ended": (
        {"network": {"status": "AUTHENTICATION_REQUIRED", "authenticationURL": "https://id", "ssoEnabled": True}},
        *2 * (("overlay.logged-out", "AUTHENTICATION_REQUIRED"),),
    ),
    "single sign-on goes on": ({"network": {"authenticationURL": "", "ssoEnabled": True}}, None, HEARD),
    "a default route by a member": (
        {"network": {"routes": [{"target": "0.0.0.0/0", "via": "10.88.0.1", "flags": 0, "metric": 0}]}},
        None,
        HEARD,
    ),
    "no device": (
        {"network": {"status": "PORT_ERROR", "portError": -1, "portDeviceName": "", "assignedAddresses": []}},
        *2 * (("overlay.down", "PORT_ERROR"),),
    ),
}


@pytest.mark.parametrize("name", ZEROTIER)
def test_zerotier(name: str) -> None:
    """From the service's answers to the first cause."""
    change, answering, silent = ZEROTIER[name]
    info, networks, peers = (zerotier_sample(f"live2/healthy.{w}") for w in ("info", "listnetworks", "listpeers"))
    info |= change.get("info", {})
    networks[0] |= change.get("network", {})
    for each in peers:
        each |= change.get("leaf" if each["role"] == "LEAF" else "root", {})
    links = [device(each["portDeviceName"], *each["assignedAddresses"]) for each in networks if each["portDeviceName"]]
    (state,) = zerotier.parse(info, networks, peers, links)
    peer = Peer("10.88.0.31", "nb")
    holds(first_cause(state, peer, links, CLOCK_MS / 1000, silent=False), answering)
    holds(first_cause(state, peer, links, CLOCK_MS / 1000, silent=True), silent)


CERTIFICATE = {"ips": ["10.77.0.10/24"], "notAfter": "2027-11-23T07:44:59Z", "issuer": "aa"}
AUTHORITY = {"fingerprint": "aa", "details": {"notAfter": "2027-11-24T00:00:00Z"}}
ENDED = {"fingerprint": "aa", "details": {"notAfter": "2026-11-01T00:00:00Z"}}
AT_A_LIGHTHOUSE = {"tun": {"dev": "neb0"}, "lighthouse": {"am_lighthouse": True, "hosts": ["10.77.0.2"]}}
HOST = {"vpnAddrs": ["10.77.0.20", "fd77::20"], "localIndex": 1, "remoteAddrs": ["192.0.2.2:4242"]}
MET = [
    HOST | {"currentRemote": "192.0.2.2:4242", "currentRelaysToMe": []},
    HOST | {"vpnAddrs": ["10.77.0.1"], "currentRemote": "192.0.2.1:4242", "currentRelaysToMe": []},
]
NEBULA: Mapping[str, tuple[dict[str, Any], Cause, Cause]] = {
    "authority expired": (
        {"authorities": [ENDED], "certificate": {"details": CERTIFICATE}},
        *2 * (("overlay.key-expired", "authority that signed this node's expired at 2026-11-01T00:00:00Z"),),
    ),
    "not valid yet": (
        {"certificate": {"details": CERTIFICATE | {"notBefore": "2026-12-24T00:00:00Z"}}},
        *2 * (("overlay.key-expired", "valid from 2026-12-24T00:00:00Z on, and this node's clock says 2026-11-28"),),
    ),
    "without interface": (
        {"config": {"tun": {"disabled": True}}, "links": []},
        *2 * (("overlay.down", "tun.disabled is set"),),
    ),
    "a lighthouse that knows another": ({"config": AT_A_LIGHTHOUSE, "peers": ()}, None, UNREACHABLE),
    "host map of version 1.10": ({"peers": nebula.parse_hostmap(MET, [])}, None, UNREACHABLE),
}


@pytest.mark.parametrize("name", NEBULA)
def test_nebula(name: str) -> None:
    """From configuration, certificates and host map to the first cause."""
    change, answering, silent = NEBULA[name]
    links = change.get("links", [device("neb0", "10.77.0.10/24")])
    state = nebula.state_from(
        change.get("config", LIGHTHOUSE),
        change.get("certificate", {"details": CERTIFICATE}),
        change.get("peers"),
        links,
        NOW_UNIX_S,
        None,
        change.get("authorities", [AUTHORITY]),
    )
    peer = Peer("10.77.0.20", "nb")
    holds(first_cause(state, peer, links, NOW_UNIX_S, silent=False), answering)
    holds(first_cause(state, peer, links, NOW_UNIX_S, silent=True), silent)


def test_a_member_with_addresses_of_both_versions() -> None:
    """It is found by either of them."""
    (state,) = [nebula.state_from(LIGHTHOUSE, None, nebula.parse_hostmap(MET, []), [], NOW_UNIX_S)]
    assert {peer.endpoint for a in ("10.77.0.20", "fd77::20") if (peer := state.peer_for(a))} == {"192.0.2.2:4242"}


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (
            'time="2026-11-29T05:58:02Z" level=info msg="pki:\\n  key: SECRET"\n'
            'time="2026-11-29T05:58:02Z" level=error msg="Failed to initialize lighthouse handler" '
            'error="lighthouse 10.77.0.1 does not have a static_host_map entry"\n',
            "Failed to initialize lighthouse handler: lighthouse 10.77.0.1 does not have a static_host_map entry",
        ),
        ('time=x level=ERROR msg="Failed to start" error=refused\n', "Failed to start: refused"),
        ('{"level":"info","msg":"SECRET"}\n{"level":"error","msg":"Failed","error":"no key"}\n', "Failed: no key"),
        ('level=info msg="SECRET"\n', None),
        ("", None),
    ],
)
def test_why_nebula_would_not_start(log: str, why: str | None) -> None:
    """Its own test names the entry; the rest of the log repeats the configuration, with its keys, and is left out."""
    said = nebula.refusal(log)
    assert (said.partition("configuration: ")[2] if said else None) == why


def test_a_key_that_will_expire_is_in_the_line_that_passes() -> None:
    """No trouble yet, and a date to know; nothing is said of one that is past, where sessions go on, as if it came."""
    for expiry, said in (("2026-12-01T01:10:00Z", True), ("2026-11-27T00:00:00Z", False)):
        status = json.loads((SAMPLES / "tailscale/live2/status-healthy.json").read_text(encoding="utf-8"))
        status["Self"] |= {"KeyExpiry": expiry}
        moved = tailscale_now(status, NOW_UNIX_S)
        moved["Self"]["KeyExpiry"] = expiry
        result = overlay_interface.judge(tailscale.parse_status(moved, TUN, NOW_UNIX_S), TUN, None)
        assert result.status is Status.PASS
        assert ("its key expires at" in result.message) is said


def both() -> tuple[OverlayState, OverlayState, list[Link]]:
    """A node that runs Tailscale and ZeroTier, as each was recorded."""
    info, networks, peers = (zerotier_sample(f"live2/healthy.{w}") for w in ("info", "listnetworks", "listpeers"))
    links = [*TUN, device(networks[0]["portDeviceName"], *networks[0]["assignedAddresses"])]
    (network,) = zerotier.parse(info, networks, peers, links)
    return tailnet(), network, links


@pytest.mark.parametrize(("address", "product"), [("100.64.0.2", "tailscale"), ("10.88.0.31", "zerotier")])
def test_two_products_at_once(address: str, product: str) -> None:
    """The peer decides which is meant, and the other is not left out in silence."""
    *states, links = both()
    chosen = choose(states, [address])
    assert chosen is not None
    assert chosen.product == product
    (other,) = (each for each in states if each is not chosen)
    whole = replace(chosen, further=(other,))
    result = overlay_interface.judge(whole, links, None, used=(whole,))
    assert f"ignores the other overlays of this node: {other.product} on {other.interface}" in result.message
    holds(first_cause(whole, Peer(address, "nb"), links, NOW_UNIX_S, silent=False), None)
    assert whole.tunnel_for("100.64.0.2").product == "tailscale"
    assert whole.tunnel_for("10.88.0.31").product == "zerotier"


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (["config.yml", "lab.yml"], "config.yml"),
        (["lab.yml", "ca.crt"], "lab.yml"),
        (["lab.yml", "home.yml"], None),
        ([], None),
    ],
)
def test_a_configuration_with_the_name_of_its_network(
    files: list[str], taken: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A unit nebula@lab reads lab.yml; of several it is not known which one runs."""
    for name in files:
        (tmp_path / name).write_text("tun: {dev: neb0}\n", encoding="utf-8")
    monkeypatch.setattr(nebula, "FOLDER", tmp_path)
    if taken is None:
        assert asyncio.run(nebula.read([])) == []
        return
    config, file = nebula.configuration()
    assert (config, Path(file).name) == ({"tun": {"dev": "neb0"}}, taken)
