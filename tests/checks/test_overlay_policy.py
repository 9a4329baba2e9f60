"""A living session behind which everything is dropped."""

from preflight_checks.overlay_policy import judge

from preflight.api import Peer
from preflight.proto.tunnel.session_life import Life

NB = Peer("100.64.0.2", name="nb")


def test_what_is_dropped_behind_the_session() -> None:
    """The place is the peer's end, or this node's if its daemon sent nothing; who drops stays open."""
    there = judge(NB, Life("tailscale's own ping of nb goes through the session (12 ms)"), "tailscale")
    here = judge(NB, Life("zerotier has sent nothing to bbbbbbbb02 for 11 s", here=True), "zerotier")
    assert there is not None
    assert here is not None
    assert (str(there.code), str(here.code)) == ("overlay.policy-drop", "overlay.policy-drop")
    assert [each.station and each.station.host for each in (there, here)] == ["receiver", "sender"]
    assert "the tailnet's access rules do not allow it" in there.message
    assert "flow rules" in here.message


def test_two_machines_with_one_key() -> None:
    """A path without any handshake is another finding; and without anything seen there is not one."""
    found = judge(NB, Life("tailscale reaches nb, and no handshake is answered", unkeyed=True), "tailscale")
    assert found is not None
    assert str(found.code) == "overlay.duplicate-key"
    assert judge(NB, None, "tailscale") is None


def test_tcp_alone_gets_an_answer() -> None:
    """The sentence does not say that nothing is answered, and the rules are Nebula's own."""
    found = judge(NB, Life("nb answers TCP through the tunnel", partly=True), "nebula")
    assert found is not None
    assert found.message.startswith("nb answers TCP through the tunnel; echoes and UDP stay without any answer: ")
    assert "the inbound rules of nb's Nebula" in found.message
    assert "firewall.inbound" in (found.remedy or "")


def test_a_trusted_path() -> None:
    """What uses it is not encrypted, and whether the peer takes that only the peer knows: it is said first."""
    seen = Life("zerotier heard bbbbbbbb02 0.1 s ago", trusted="10.232.2.1:9993 by the trusted path 42")
    found = judge(NB, seen, "zerotier")
    assert found is not None
    assert "by the trusted path 42, without encryption, which nb drops unless it has that path too; or" in found.message
    assert [each.where for each in found.remedies[:2]] == ["node", "peer"]
    assert "local.conf" in found.remedies[0].lines[0]
