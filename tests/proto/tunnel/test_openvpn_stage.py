"""How far an OpenVPN client has come, by logs of version 2.6.14."""

from pathlib import Path

import pytest

from preflight.proto.tunnel.openvpn_stage import garbled, stage, verdict

LOGS = Path(__file__).parents[2] / "overlay" / "samples" / "openvpn"
THERE = "its remote end at 10.203.0.2:1194"
UNMADE, SILENT = "overlay.not-joined", "overlay.offline"


def log(name: str) -> list[str]:
    """The lines of a recorded log."""
    return (LOGS / f"{name}.log").read_text().splitlines()


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("server_expired", UNMADE, f"not accept the certificate of {THERE} (CN=b): certificate has expired"),
        ("own_expired", "overlay.key-expired", f"this node's certificate has expired, and {THERE}"),
        ("own_other_ca", UNMADE, f"{THERE} answers, and completes no session: it may not accept this node's cert"),
        ("wrong_port", SILENT, "1195 refuses what it sends: nobody listens there by UDP, or a filter is there"),
        ("wrong_proto", SILENT, "nobody listens there by TCP"),
        ("wrong_host", SILENT, "there is no way to its remote end at 10.203.0.77:1194 (EHOSTUNREACH)"),
        ("remote_name", SILENT, "is not found: vpn.invalid:1194 (Temporary failure in name resolution)"),
        ("tls_auth_missing", SILENT, f"{THERE} has answered nothing yet"),
        ("data_ciphers", "overlay.not-authorized", "AUTH_FAILED,Data channel cipher negotiation failed"),
        ("auth_user", "overlay.not-authorized", f"{THERE} refuses this node: AUTH_FAILED"),
        ("persist_down", SILENT, f"nothing came from {THERE} for as long as ping-restart allows"),
        ("server_down_restart", SILENT, f"the host of {THERE} refuses what it sends"),
        ("fw_a_out", SILENT, "this node's own firewall lets out nothing"),
    ],
)
def test_why_it_is_not_connected(name: str, code: str, words: str) -> None:
    """The reason that its log has, with the remote end."""
    found = verdict(stage(log(name)))
    assert found is not None
    assert (found.code, found.quiet) == (code, code == SILENT)
    assert words in found.said


@pytest.mark.parametrize(
    ("pushed", "inside"),
    [
        ("topology subnet,route-gateway 10.8.0.1,ifconfig 10.8.0.2 255.255.255.0", ("10.8.0.1",)),
        ("route 10.8.0.1,topology net30,ifconfig 10.8.0.6 10.8.0.5", ("10.8.0.1",)),
        ("route 192.168.7.0 255.255.255.0,route-gateway dhcp,ifconfig-ipv6 fd66::1/64 fd66::3", ("fd66::3",)),
        ("redirect-gateway def1,ping 10", ()),
    ],
)
def test_where_its_remote_end_is_inside(pushed: str, inside: tuple[str, ...]) -> None:
    """By what that pushes, in each topology; another session's is forgotten."""
    lines = [f"PUSH: Received control message: 'PUSH_REPLY,{pushed}'", "Initialization Sequence Completed"]
    assert stage(lines).inside == inside
    assert stage([*lines, "UDPv4 link remote: [AF_INET]192.0.2.1:1194"]).inside == ()


@pytest.mark.parametrize("name", ["mtu_mismatch", "complzo_client", "fragment_mismatch"])
def test_connected(name: str) -> None:
    """Nothing keeps it from its server, whatever was before; nor is anything known without a log."""
    assert verdict(stage([*log("server_expired"), *log(name)])) is None
    assert verdict(stage([])) is None
    assert verdict(stage(log(name)[-3:])) is None


def test_packets_that_it_cannot_read() -> None:
    """Which option differs, as far as the log shows it; what was before this session is over."""
    assert "comp-lzo or compress in its own configuration" in (garbled(stage(log("complzo_client"))) or "")
    assert "fragment is not the same" in (garbled(stage(log("fragment_mismatch"))) or "")
    assert garbled(stage(log("mtu_mismatch"))) is None
    byte = "Bad LZO decompression header byte: {}"
    completed = "Initialization Sequence Completed"
    assert "not the same" in (garbled(stage([completed, byte.format(42)])) or "")
    plain = [completed, byte.format(42), byte.format(69)]
    assert "in its own configuration it should be" in (garbled(stage(plain)) or "")
    pushed = "PUSH: Received control message: 'PUSH_REPLY,comp-lzo yes,ping 10'"
    assert "not the same" in (garbled(stage([pushed, *plain])) or "")
    assert garbled(stage([*log("complzo_client"), *log("mtu_mismatch")])) is None


def test_times_before_the_lines() -> None:
    """They are there unless an option leaves them out."""
    stamped = [f"2026-12-01 01:04:38 us=12 {line}" for line in log("server_expired")]
    assert verdict(stage(stamped)) == verdict(stage(log("server_expired")))


def test_keys_that_differ() -> None:
    """A static key, tls-auth or tls-crypt, or the algorithm of `auth`."""
    lines = ["UDPv4 link remote: [AF_INET]192.0.2.1:1194"]
    found = verdict(stage([*lines, "Authenticate/Decrypt packet error: packet HMAC authentication failed"]))
    assert found is not None
    assert "does not fit this node's key" in found.said


def test_a_time_out_of_the_handshake() -> None:
    """Its remote end was heard before, or not at all."""
    lines = ["UDPv4 link remote: [AF_INET]192.0.2.1:1194", "TLS: Initial packet from [AF_INET]192.0.2.1:1194, sid=1"]
    ended = "TLS Error: TLS key negotiation failed to occur within 60 seconds (check your network connectivity)"
    restart = "SIGUSR1[soft,tls-error] received, process restarting"
    found = verdict(stage([*lines, ended, restart, lines[0]]))
    assert found is not None
    assert "completes no session" in found.said
    found = verdict(stage([lines[0], ended, restart]))
    assert found is not None
    assert found.said.endswith("answers nothing")


def test_options_that_it_refuses() -> None:
    """It never began."""
    found = verdict(stage(["Options error: Unrecognized option in vpn.conf:6: typo (2.6.14)", "Use --help"]))
    assert found is not None
    assert (found.code, found.said) == (
        "overlay.daemon-down",
        "it refuses its options: Unrecognized option in vpn.conf:6: typo (2.6.14)",
    )
