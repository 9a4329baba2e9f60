"""All observers of a tunnel together, and the place that follows from them."""

from dataclasses import replace

from preflight.model.peer_tunnel import PeerTunnel
from preflight.model.tapped import TapPacket
from preflight.proto.way.inference import Followed, infer
from preflight.proto.way.observation import Observation
from preflight.proto.way.stations import PACKET
from preflight.proto.way.tunnel import mirrored, observe_tunnel
from tests.proto.way.seeing import (
    BURST,
    KEY_B,
    KEY_C,
    OWN,
    PORT,
    ROUTER,
    THERE,
    THIRD,
    B,
    C,
    grown,
    inner,
    outer,
    peer,
    refusal,
    state,
    told,
    view,
)

NEVER = state(peer(last_handshake_unix_s=0.0, rx_bytes=0, tx_bytes=0))
ASKED = (outer("initiation", out=True, sender=7, at_s=0.1), outer("initiation", out=True, sender=8, at_s=5.2))
SENT = tuple(outer("data", out=True) for _ in range(10))
VNI = 42


def followed(observations: tuple[Observation, ...], direction: str) -> Followed:
    """The way in one direction."""
    return infer(PACKET, [each for each in observations if each.direction == direction])


def place(found: Followed) -> str:
    """Where it died, in short."""
    return f"{found.place.id}@{found.place.host}" if found.place else ""


def test_silence_after_the_wire_names_no_place() -> None:
    """This node cannot see where what left dies; both ways stay open."""
    found = observe_tunnel(view(*BURST, *SENT))
    for direction in ("forward", "reverse"):
        way = followed(found, direction)
        assert (way.place, way.gap, way.death) == (None, (), None)
    before = followed(found, "forward").before()
    assert before is not None
    assert (before.id, before.host) == ("wire", "sender")


def test_another_preshared_key_is_the_place_although_the_peers_own_calls_are_accepted() -> None:
    """Both ends call: each reads the other's call, which has no preshared key in it, and refuses the answer to its own.

    The counter of what this end accepted grew by one call.
    """
    after = state(peer(last_handshake_unix_s=0.0, rx_bytes=148, tx_bytes=240, preshared=True))
    calls = (
        outer("initiation", out=False, sender=3, greets=True, at_s=0.05),
        outer("response", out=True, sender=6, receiver=3, at_s=0.06),
    )
    answer = outer("response", out=False, sender=9, receiver=7, at_s=0.2)
    seen = observe_tunnel(view(*BURST, *calls, *ASKED, answer, before=NEVER, after=after))
    way = followed(seen, "reverse")
    assert place(way) == "session@receiver"
    assert way.death is not None
    assert way.death.code.slug == "overlay.preshared-key"


def test_a_refusal_is_the_place() -> None:
    """What left here is seen on the wire, and a router says that it refuses it."""
    way = followed(observe_tunnel(view(*BURST, *SENT, refusal(ROUTER, "prohibited"))), "forward")
    assert place(way) == "network@network"
    assert way.death is not None
    assert way.death.code.slug == "reach.no-forward"


def test_the_preshared_key_is_the_place_of_the_answers() -> None:
    """They come in on the wire, and this node's session takes none."""
    answer = outer("response", out=False, sender=9, receiver=7, at_s=0.2)
    way = followed(observe_tunnel(view(*BURST, *ASKED, answer, before=NEVER)), "reverse")
    assert place(way) == "session@receiver"
    assert way.death is not None
    assert way.death.code.slug == "overlay.preshared-key"


def test_an_accepted_call_does_not_hide_the_preshared_key() -> None:
    """No preshared key is in a call, so that the session takes it says nothing of the peer's answers."""
    call, reply = outer("initiation", out=False, sender=3, at_s=2.0), outer("response", out=True, receiver=3, at_s=2.1)
    answer = outer("response", out=False, sender=9, receiver=7, at_s=0.2)
    seen = view(*BURST, *ASKED, answer, call, reply, before=NEVER, after=grown(NEVER, rx_bytes=148))
    way = followed(observe_tunnel(seen), "reverse")
    assert place(way) == "session@receiver"
    assert way.death is not None
    assert way.death.code.slug == "overlay.preshared-key"


def test_packets_for_another_peer_do_not_hide_a_wrong_owner() -> None:
    """An exit that takes everything gets them, so they leave: not on the way to the target."""
    own = state(peer(address="10.66.0.20"), peer(KEY_C, "0.0.0.0/0", f"{THIRD}:{PORT}"))
    data = [outer("data", out=True, remote=(THIRD, PORT)) for _ in range(10)]
    way = followed(observe_tunnel(view(*BURST, *data, before=own, others=())), "forward")
    assert (place(way), way.likely and way.likely.code.slug) == ("", "overlay.allowed-ips")


def test_the_peer_says_which_entry_is_its_own() -> None:
    """Two entries lack the address: only the peer's own word names one, and heals."""
    own = state(peer(address="10.66.0.20"), peer(KEY_C, C, f"{THIRD}:{PORT}"))
    seen = view(*BURST, before=own, others=())
    alone = followed(observe_tunnel(seen), "forward").death
    assert alone is not None
    assert alone.facts is not None
    assert alone.facts.public_key is None
    tunnel = PeerTunnel(interface="wg9", public_key=KEY_B, knows_key=True)
    word = followed(observe_tunnel(seen, tunnel, "b by mailbox"), "forward").death
    assert word is not None
    assert word.facts is not None
    assert word.facts.public_key == KEY_B
    assert [remedy.kind for remedy in word.remedies] == ["fix"]


def test_nothing_leaves_although_there_is_work() -> None:
    """Between the device and the wire: the stations there are named together."""
    way = followed(observe_tunnel(view(*BURST)), "forward")
    assert way.gap[0].id == "session"
    assert way.gap[-1].id == "wire"


def test_a_peer_that_is_heard_and_does_not_hear() -> None:
    """The handshakes die on the way there: between this node's wire and the peer's session."""
    call = outer("initiation", out=False, sender=3, greets=True, at_s=3)
    answer = outer("response", out=True, receiver=3, at_s=3.1)
    after = grown(NEVER, rx_bytes=148)
    way = followed(observe_tunnel(view(*BURST, ASKED[0], call, answer, before=NEVER, after=after)), "forward")
    assert way.gap[0].id == "network"
    assert way.gap[-1].id == "session"


def _vxlan(out: bool, remote: str, *, inner_source: str, inner_destination: str) -> TapPacket:
    return outer(
        "data", out=out, remote=(remote, 4789), product="vxlan", vni=VNI, inner_source=inner_source,
        inner_destination=inner_destination,
    )  # fmt: skip


HARDWARE = "02:00:00:00:00:99"


def test_vxlan_that_sends_to_the_wrong_end() -> None:
    """The addresses inside are readable: what is for b goes to one host, what is from b comes from another."""
    own = state(peer(THIRD, "", f"{THIRD}:4789"), product="generic", interface="vx0", listen_port=None)
    out = [_vxlan(True, THIRD, inner_source=OWN, inner_destination=B) for _ in range(10)]
    into = [_vxlan(False, THERE, inner_source=B, inner_destination=OWN) for _ in range(2)]
    burst = [inner(out=True, device="vx0") for _ in range(10)]
    seen = view(*burst, *out, *into, before=own, carrier="vxlan")
    way = followed(tuple(each for each in observe_tunnel(seen) if each.finding == "killed"), "forward")
    assert place(way) == "session@sender"
    assert way.death is not None
    assert way.death.facts is not None
    assert way.death.facts.endpoint == f"{THIRD}:4789"
    assert f"{THIRD}:4789" in way.death.message
    assert way.death.remedies[0].lines[0].startswith("bridge fdb show dev vx0")
    framed = [replace(each, tunnel=replace(each.tunnel, inner_hardware=HARDWARE)) for each in out if each.tunnel]
    known = followed(observe_tunnel(view(*burst, *framed, *into, before=own, carrier="vxlan")), "forward")
    assert known.death is not None
    assert known.death.remedies[0].lines == (f"bridge fdb replace {HARDWARE} dev vx0 dst {THERE} self permanent",)
    answer = outer("neighbours", out=False, remote=(THERE, 4789), product="vxlan", vni=VNI, inner_source=B)
    asked = observe_tunnel(view(*burst, *out, answer, before=own, carrier="vxlan"))
    assert place(followed(asked, "forward")) == "session@sender"
    right = [_vxlan(True, THERE, inner_source=OWN, inner_destination=B) for _ in range(10)]
    fine = observe_tunnel(view(*burst, *right, *into, before=own, carrier="vxlan"))
    assert [each for each in fine if each.finding == "killed"] == []


def test_openvpn_is_answered_from_another_address() -> None:
    """It takes packets of its one remote end only."""
    own = state(product="generic", interface="tun0", listen_port=None, peers=())
    burst = [inner(out=True, device="tun0") for _ in range(10)]
    out = [outer("data", out=True, product="openvpn", local_port=40404) for _ in range(10)]
    answers = [
        outer("data", out=False, product="openvpn", local_port=40404, remote=("198.51.100.78", PORT)) for _ in range(10)
    ]
    found = observe_tunnel(view(*burst, *out, *answers, before=own, carrier="openvpn"))
    way = followed(found, "reverse")
    assert place(way) == "session@receiver"
    assert way.death is not None
    assert way.death.facts is not None
    assert way.death.facts.answered_from == "198.51.100.78"
    assert way.death.facts.answered_from in way.death.message


def test_a_healthy_burst_kills_nothing() -> None:
    """Both directions are passed as far as this node sees."""
    burst = view().burst
    answered = type(burst)(flow=burst.flow, sent=10, answered=10)
    answers = [*[outer("data", out=False)] * 10, *[inner(out=False)] * 10]
    after = grown(state(), rx_bytes=5000)
    found = observe_tunnel(view(*BURST, *SENT, *answers, after=after, burst=answered))
    assert {each.finding for each in found} == {"seen"}


def test_what_the_peer_saw_is_told_the_other_way_round() -> None:
    """Its forward way is this node's reverse one; the hosts of a way keep their names."""
    found = mirrored(observe_tunnel(view(*BURST, *SENT)), "b by mailbox")
    assert told(found)[0] == ("reverse", "tunnel", "sender", "seen", "inner")
    assert {each.by for each in found} == {"b by mailbox"}
