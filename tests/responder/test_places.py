"""Where the responder listens and whom it serves: read strictly, refused in one sentence."""

from ipaddress import ip_interface, ip_network

import pytest

from preflight.model.overlay import OverlayState
from preflight.responder import places
from preflight.responder.places import Place, ResponderError

STATE = OverlayState(
    product="wireguard",
    interface="wg0",
    up=True,
    mtu=1420,
    addresses=(ip_interface("10.66.0.2/24"), ip_interface("fd66::2/64"), ip_interface("fe80::2/64")),
    prefixes=(ip_network("10.77.0.0/16"),),
)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("10.66.0.2", "10.66.0.2:862"),
        ("10.66.0.2:8620", "10.66.0.2:8620"),
        ("fd66::2", "[fd66::2]:862"),
        ("[fd66::2]", "[fd66::2]:862"),
        ("[fd66::2]:0", "[fd66::2]:0"),
        ("0.0.0.0:1", "0.0.0.0:1"),
    ],
)
def test_places(text: str, place: str) -> None:
    """An address with or without a port, STAMP's by default, in both families."""
    assert str(places.read_place(text)) == place


@pytest.mark.parametrize(
    "text",
    ["", ":862", "b:862", "10.66.0.2:", "10.66.0.2:x", "10.66.0.2:65536", "[fd66::2", "[fd66::2]862", "fd66::2]:1"],
)
def test_no_places(text: str) -> None:
    """A text that is not an address is refused with the form that is expected."""
    with pytest.raises(ResponderError, match=r"--bind .*expected ADDRESS"):
        places.read_place(text)


def test_prefixes() -> None:
    """A prefix, or an address as a prefix of itself; host bits are ignored."""
    assert str(places.read_prefix("10.66.0.7/24")) == "10.66.0.0/24"
    assert str(places.read_prefix("fd66::2")) == "fd66::2/128"
    with pytest.raises(ResponderError, match="--allow everybody"):
        places.read_prefix("everybody")


def test_the_overlay_by_default() -> None:
    """Without --bind the overlay's addresses serve the overlay's prefixes; link-local ones serve nobody."""
    assert list(map(str, places.overlay_places(STATE))) == ["10.66.0.2:862", "[fd66::2]:862"]
    assert "10.77.0.0/16" in map(str, places.overlay_prefixes(STATE))
    assert places.overlay_prefixes(None) == []
    with pytest.raises(ResponderError, match="--bind ADDRESS"):
        places.overlay_places(None)


def test_somebody_must_be_provisioned() -> None:
    """A responder that could serve nobody does not start; a key is enough."""
    allowed = places.provisioned([ip_network("10.66.0.0/24")], ["10.66.0.7"], [], keyed=False)
    assert list(map(str, allowed)) == ["10.66.0.0/24", "10.66.0.7/32"]
    assert places.provisioned([], [], [], keyed=True) == ()
    with pytest.raises(ResponderError, match=r"--allow PREFIX.*--key-file FILE"):
        places.provisioned([], [], [], keyed=False)


def test_all_sockets_or_none() -> None:
    """If one place cannot be opened, the others are closed again; the sentence names the place."""
    (first,) = places.open_all([places.read_place("127.0.0.1:0")])
    with first:
        taken = places.read_place(f"127.0.0.1:{first.getsockname()[1]}")
        free = places.read_place("127.0.0.2:0")
        with pytest.raises(ResponderError, match=rf"{taken} is in use.*ss -lunp"):
            places.open_all([free, taken])


def test_an_address_of_another_node() -> None:
    """An overlay address that is not here (yet) is named."""
    with pytest.raises(ResponderError, match=r"192\.0\.2\.1 is not an address of this node"):
        places.open_all([Place(places.read_place("192.0.2.1").address)])
