"""A peer that is not where the tunnel sends: what the tunnel's file says of it, with its name looked up again."""

from dataclasses import replace
from typing import Any

import pytest

from preflight.model.facts import DeathFacts
from preflight.model.overlay import ConfiguredEnd, ConfiguredPeer, ConfiguredTunnel
from preflight.model.remedy import as_text
from preflight.proto.way.configured_end import SILENT_NS, configured_end, is_moved, observe_configured_end
from preflight.proto.way.tunnel import observe_tunnel
from preflight.proto.way.tunnel_view import TunnelView
from tests.proto.way.seeing import BURST, KEY_B, ROUTER, THERE, B, outer, peer, refusal, state, view

FILE = "/etc/wireguard/wg0.conf"
MOVED = ConfiguredEnd(FILE, "b.example", 51820, ("198.51.100.77",))


def silent(end: ConfiguredEnd | None = MOVED, *packets: Any, for_ns: int = SILENT_NS, **peers: Any) -> TunnelView:
    """A tunnel from whose peer nothing has come in this run, whose file has this end for it."""
    seen = view(*(packets or BURST), before=state(peer(**peers)))
    return replace(seen, configured=end, begun=seen.before, first_sent_ns=seen.read_ns - for_ns)


@pytest.mark.parametrize(
    ("peers", "code"),
    [
        ({"last_handshake_unix_s": 0.0, "rx_bytes": 0}, "overlay.no-handshake"),
        ({"last_handshake_unix_s": 1.0}, "overlay.handshake-stale"),
        ({}, "reach.no-forward"),
    ],
    ids=["never", "stale", "session alive"],
)
def test_a_name_that_leads_elsewhere_now_is_the_reason(peers: dict[str, Any], code: str) -> None:
    """WireGuard keeps the address that the name had when the tunnel was set up; one line gives it the new one."""
    (found,) = observe_configured_end(silent(**peers))
    death = found.death
    assert death is not None
    assert death.code.slug == code
    assert (found.station.id, found.station.host) == ("session", "sender")
    assert f"{FILE} says b.example:51820, which is 198.51.100.77 now" in death.message
    assert death.facts == DeathFacts(endpoint=f"{THERE}:51820", file=FILE, public_key=KEY_B)
    assert is_moved(death.facts)
    text = as_text(death.remedies) or ""
    assert f"peer {KEY_B} endpoint 198.51.100.77:51820" in text
    assert "reresolve-dns.sh" in text


@pytest.mark.parametrize(
    "seen",
    [
        silent(None),
        silent(replace(MOVED, addresses=())),
        silent(replace(MOVED, addresses=("198.51.100.77", THERE))),
        silent(MOVED, *BURST, outer("data", out=False)),
        silent(for_ns=SILENT_NS - 1),
        replace(silent(), arrived=True),
        replace(silent(), first_sent_ns=0),
        silent(MOVED, *BURST, refusal(ROUTER)),
    ],
    ids=[
        *("no file", "no answer", "it is there", "it is heard", "too early", "it came before", "nothing sent"),
        "a router refuses",
    ],
)
def test_a_peer_that_may_be_there_is_not_looked_for_elsewhere(seen: TunnelView) -> None:
    """Protects a peer that has moved and is heard, and one that is silent for another reason."""
    assert observe_configured_end(seen) == ()


def test_its_old_address_may_have_another_owner_now_or_none() -> None:
    """A provider gives it to another customer, whose host refuses, or its router says that nobody has it."""
    assert observe_configured_end(silent(MOVED, *BURST, refusal(THERE)))
    assert observe_configured_end(silent(MOVED, *BURST, refusal(ROUTER, "host")))
    at_once = silent(MOVED, *BURST, refusal(ROUTER, "host"), for_ns=SILENT_NS - 1)
    assert observe_configured_end(at_once), "a router that says so spares the wait"


def test_an_address_in_the_file_is_not_called_a_name() -> None:
    """An endpoint that followed a stranger's packet is set back, and no timer has to look anything up."""
    end = ConfiguredEnd(FILE, "198.51.100.9", 51820, ("198.51.100.9",))
    (found,) = observe_configured_end(silent(end))
    assert found.death is not None
    assert "now" not in found.death.message
    assert "reresolve" not in (as_text(found.death.remedies) or "")


@pytest.mark.parametrize(
    ("endpoint", "end"),
    [
        ("b.example:51820", ConfiguredEnd(FILE, "b.example", 51820)),
        ("[2001:db8::2]:7", ConfiguredEnd(FILE, "2001:db8::2", 7)),
        ("$(reboot):7", None),
        ("b.example", None),
        (None, None),
    ],
)
def test_what_the_file_says(endpoint: str | None, end: ConfiguredEnd | None) -> None:
    """Only a host and a port are taken from it."""
    file = ConfiguredTunnel(FILE, peers=(ConfiguredPeer(KEY_B, endpoint=endpoint),))
    assert configured_end(replace(state(peer()), configured=file), B) == end
    assert configured_end(state(peer()), B) is None


def test_where_the_own_router_refuses_the_file_s_endpoint_is_its_remedy() -> None:
    """One fault, two sights of it: that the endpoint is the own router's says why, and the file says where the peer is.

    Where the host of another endpoint refuses, the file alone is the reason.
    """
    hairpin = "44.128.0.9"
    error = refusal(hairpin, ttl=64, destination=hairpin)
    seen = silent(MOVED, *BURST, error, endpoint=f"{hairpin}:51820", last_handshake_unix_s=0.0, rx_bytes=0)
    deaths = [each.death for each in observe_tunnel(seen) if each.death is not None]
    (death,) = deaths
    assert death.code.slug == "overlay.endpoint-hairpin"
    assert "endpoint 198.51.100.77:51820" in (as_text(death.remedies) or "")
    stranger = silent(MOVED, *BURST, refusal(THERE))
    told = {each.death.code.slug for each in observe_tunnel(stranger) if each.death is not None}
    assert "overlay.endpoint-hairpin" not in told
