"""Nebula's log, in lines of its version 1.6.1."""

from preflight.model.overlay import OverlayPeer
from preflight.overlay.nebula_log import own_cipher, peers_in, with_reasons

B = "10.99.0.2"
SENT = (
    'time="2026-12-01T01:04:38Z" level=info msg="Handshake message sent" handshake="map[stage:1 style:ix_psk0]" '
    'initiatorIndex=162768315 udpAddrs="[10.203.0.2:4242 [fd00::2]:4242]" vpnIp=10.99.0.2'
)
TIMED_OUT = (
    'level=info msg="Handshake timed out" durationNs=9111880766 handshake="map[stage:1 style:ix_psk0]" '
    'initiatorIndex=1774828184 remoteIndex=0 udpAddrs="[]" vpnIp=10.99.0.2'
)
MADE = (
    'level=info msg="Handshake message received" certName=b durationNs=3858981 fingerprint=95df '
    'handshake="map[stage:2 style:ix_psk0]" initiatorIndex=3800552187 udpAddr="10.203.0.2:4242" vpnIp=10.99.0.2'
)
INVALID = (
    r'level=error msg="Invalid certificate from host" cert="NebulaCertificate {\n\tDetails {\n\t\tName: b\n}" '
    'error="certificate validation failed: certificate is expired" handshake="map[stage:2 style:ix_psk0]" '
    'udpAddr="10.203.0.2:4242" vpnIp=10.99.0.2'
)
UNREAD = (
    'level=error msg="Failed to call noise.ReadMessage" error="cipher: message authentication failed" '
    'udpAddr="10.203.0.2:4242" vpnIp=10.99.0.2'
)


def only(*lines: str) -> OverlayPeer:
    """The one member in the lines."""
    (peer,) = peers_in(lines)
    assert peer.key == B
    return peer


def test_a_session() -> None:
    """Where the member is, and where it went; what was wrong before is over."""
    made = OverlayPeer(B, "10.203.0.2:4242", only(MADE).addresses, session=3800552187)
    assert only(INVALID, SENT, MADE) == made
    roamed = 'level=info msg="Host roamed to new udp ip/port." newAddr="192.0.2.9:4242" vpnIp=10.99.0.2'
    assert (only(MADE, roamed).endpoint, only(MADE, roamed).session) == ("192.0.2.9:4242", 3800552187)


def test_a_session_that_the_member_began() -> None:
    """This node's answer to its call is not an attempt: the session is there."""
    called = MADE.replace("stage:2", "stage:1")
    answered = SENT.replace("stage:1", "stage:2").replace("udpAddrs=", "udpAddr=")
    assert only(called, answered).endpoint == "10.203.0.2:4242"


def test_no_answer() -> None:
    """The places that are tried, if any: it is the same as in the list of pending hosts."""
    peer = only(MADE, SENT)
    assert (peer.endpoint, peer.last_handshake_unix_s, peer.refused) == (None, 0.0, "")
    assert peer.tried == ("10.203.0.2:4242", "[fd00::2]:4242")
    assert only(TIMED_OUT).tried == ()


def test_a_refusal() -> None:
    """Its reason stays while the same is tried again."""
    assert only(SENT, INVALID).refused == "certificate is expired"
    assert only(INVALID, SENT).refused == "certificate is expired"
    assert "another `cipher`" in only(UNREAD).refused
    other = 'level=info msg="Incorrect host responded to handshake" haveVpnIp=10.99.0.3 vpnIp=10.99.0.2'
    assert only(other).refused == "10.99.0.3 answers there"


def test_another_member_that_answers() -> None:
    """Its place stays known, although nebula calls it no more, and takes that place from the member's list."""
    other = (
        'level=info msg="Incorrect host responded to handshake" certName=c haveVpnIp=10.99.0.3 intendedVpnIp=10.99.0.2 '
        'udpAddr="10.203.0.3:4242"'
    )
    peer = only(SENT.replace("10.203.0.2:4242 [fd00::2]:4242", "10.203.0.3:4242"), other, TIMED_OUT)
    assert (peer.refused, peer.tried) == ("10.99.0.3 answers there", ("10.203.0.3:4242",))


def test_a_cipher_that_no_member_has() -> None:
    """Of one member it is open whose must change, and where one has a session it is not this node's."""
    both = peers_in([UNREAD, UNREAD.replace(B, "10.99.0.3")])
    found = own_cipher({"cipher": "chachapoly"}, both)
    assert found is not None
    assert (found.code, found.cuts) == ("overlay.unhealthy", True)
    assert "10.99.0.2 and 10.99.0.3 do not decrypt" in found.said
    assert found.said.endswith("`cipher` in its configuration is chachapoly, and there it is aes")
    assert (own_cipher({}, both) or found).said.endswith("is aes, and there it is chachapoly")
    assert own_cipher({}, both[:1]) is None
    assert own_cipher({}, (*both, *peers_in([MADE.replace(B, "10.99.0.4")]))) is None
    assert own_cipher({"cipher": "rot13"}, both) is None


def test_another_start() -> None:
    """A log that several processes wrote one after the other shows the last one's members."""
    started = 'level=info msg="Nebula interface is active" build=1.6.1 interface=nebula1 network=10.99.0.1/24'
    assert peers_in((UNREAD, MADE.replace(B, "10.99.0.3"), started)) == ()
    assert only(UNREAD, started, MADE).refused == ""


def test_json() -> None:
    """The other format of its log."""
    line = '{"level":"info","msg":"Handshake message sent","udpAddrs":["10.203.0.2:4242"],"vpnIp":"10.99.0.2"}'
    assert only(line).tried == ("10.203.0.2:4242",)
    line = '{"msg":"Handshake message received","udpAddr":{"ip":"10.203.0.2","port":4242},"vpnIp":"10.99.0.2"}'
    assert only(line).endpoint == "10.203.0.2:4242"


def test_other_lines() -> None:
    """Nothing is made of them, nor of a session through a relay."""
    relayed = MADE + " relay=10.99.0.3"
    assert peers_in(("", "{", "msg=x vpnIp=y", 'msg="Tunnel status" vpnIp=10.99.0.2', relayed)) == ()


def test_next_to_the_host_map() -> None:
    """A reason is added where there is no session, and a member that the host map has forgotten."""
    logged = peers_in((INVALID,))
    live, pending = OverlayPeer(B, "10.203.0.2:4242"), OverlayPeer(B, last_handshake_unix_s=0.0)
    assert with_reasons((live,), logged) == (live,)
    assert with_reasons((pending,), logged)[0].refused == "certificate is expired"
    assert with_reasons((), logged) == logged
    assert with_reasons((), peers_in((MADE,))) == ()
