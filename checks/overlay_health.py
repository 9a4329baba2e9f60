"""What does the overlay's daemon itself say is wrong with this node?"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

from preflight.api import (
    CONTROL,
    NODE,
    Context,
    Direction,
    Peer,
    Remedies,
    Result,
    Station,
    check,
    codes,
    facts,
    failed,
    look,
    passed,
    warned,
)
from preflight.model.complaint import Complaint
from preflight.model.facts import MemberFacts
from preflight.model.overlay import OverlayState, Withheld
from preflight.proto.tunnel import levers
from preflight.proto.tunnel.levers import another_exit, tailscale_takes, zerotier_takes
from preflight.proto.tunnel.members import NOT_ADMITTED, said_of, targets_on
from preflight.proto.tunnel.reason_levers import let_alone, of_warning
from preflight.proto.tunnel.silence import only_silence

ROOTS = ("planet", "moon")
DROPS = codes.OVERLAY_POLICY_DROP.slug
"""A log has it of packets that are long gone; it is a finding where nothing comes through."""
SENT_S = 0.2
"""After this long Nebula has called a member and read its answer."""
MOST, CONNECTED_S = 6, 1.2
"""How many peers are asked by TCP; a connection that is not answered the first time is tried again after a second."""
RELAYS = look("tailscale netcheck   # which relays answer from here, and is UDP open?", root=True)
SERVERS = {
    "tailscale": "tailscale netcheck   # is UDP open here, and does the control server answer?",
    "zerotier": "zerotier-cli peers   # the roots are PLANET and MOON; UDP 9993 must get out to them",
    "nebula": "journalctl -u nebula -n 30   # handshakes with the lighthouse",
}


@check(
    "overlay.health",
    title="The overlay's daemon has no complaint",
    subject="node",
    needs=("overlay.interface",),
    after=("reach.udp", "reach.icmp", "control.dns"),
    reads=(facts.AnswerFacts, facts.EchoFacts, facts.NameFacts),
    timeout=5,
    codes=(
        codes.OVERLAY_OFFLINE,
        codes.OVERLAY_NOT_AUTHORIZED,
        codes.OVERLAY_RELAY_UNREACHABLE,
        codes.OVERLAY_DNS_OVERWRITTEN,
        codes.OVERLAY_NAMES_NOT_ACCEPTED,
        codes.OVERLAY_ROUTES_NOT_ACCEPTED,
        codes.OVERLAY_ROUTES_NOT_APPROVED,
        codes.OVERLAY_EXIT_NODE_GONE,
        codes.OVERLAY_UNHEALTHY,
        codes.OVERLAY_POLICY_DROP,
        codes.OVERLAY_DUPLICATE_KEY,
    ),
)
async def overlay_health(ctx: Context) -> AsyncGenerator[Result, None]:
    """Reads the complaints in the state of the run's tunnels.

    A complaint is about the past. It is a warning, and a failure where this run bears it out: no peer of that tunnel
    answered anything, or the control plane's name was not found while name resolution is what the complaint is about.
    Where no peer answered echoes or UDP it tries TCP to the responder's port of a few: that may pass where a policy
    drops the rest.
    """
    nameless = any(not each.addresses for each in ctx.facts(facts.NameFacts, CONTROL))
    for known in ctx.tunnels:
        state = await _after_asking(ctx, known)
        silent = any(_cuts(state, each) for each in state.complaints) and await _silent(ctx, state)
        complaints = [each for each in state.complaints if silent or each.code != DROPS]
        if not complaints:
            yield replace(_calm(state), aspect=state.interface or "")
        for complaint in complaints:
            overwritten = complaint.code == codes.OVERLAY_DNS_OVERWRITTEN.slug
            writer = ctx.net.dns.files("").signed if overwritten else ""
            result = judge(state, complaint, silent=silent, nameless=nameless, writer=writer)
            yield replace(result, aspect=f"{state.interface} {complaint.code}", facts=_members(ctx, known))
    for state in _not_admitted(ctx):
        yield judge_left_out(state)
    if nameless:
        for state, withheld in await _withheld(ctx):
            yield judge_names(state, withheld)


def _not_admitted(ctx: Context) -> list[OverlayState]:
    """The overlays that this run leaves out, and that have not let this node in, which somebody here has joined."""
    used = {(each.interface, each.network) for each in ctx.tunnels}
    url = ctx.settings.control.usable_url
    if ctx.overlay is not None and url is not None and url.address is not None:
        having = ctx.overlay.tunnel_for(url.host)  # of that control.url reports
        used |= {(having.interface, having.network)} if having.claims(url.host) >= 0 else set()
    others = ctx.overlay.tunnels if ctx.overlay is not None else ()
    return [each for each in others if each.condition == NOT_ADMITTED and (each.interface, each.network) not in used]


def judge_left_out(state: OverlayState) -> Result:
    """Another network of this node, or of another product, on which nobody of this run is."""
    message, code = f"this run has nobody on {said_of(state)}", codes.OVERLAY_NOT_AUTHORIZED
    aspect = state.interface or state.network or ""
    return warned(code, NODE, Direction.LOCAL, message, aspect=aspect, remedies=levers.admit(state))


def _members(ctx: Context, state: OverlayState) -> MemberFacts | None:
    """Whom it concerns, where others are on other overlays of this node."""
    if ctx.overlay is None:
        return None
    url = ctx.settings.control.usable_url
    control = str(url.address) if url is not None and url.address is not None else None
    concerned = targets_on(ctx.overlay, state, ctx.peers, control)
    return MemberFacts(members=concerned) if concerned is not None else None


async def _withheld(ctx: Context) -> list[tuple[OverlayState, Withheld]]:
    """The overlays of this node that know the control plane's name, and of which this node does not take it."""
    url = ctx.settings.control.usable_url
    host = url.host.lower().rstrip(".") if url is not None else ""
    found: list[tuple[OverlayState, Withheld]] = []
    for state in ctx.overlay.tunnels if ctx.overlay is not None else ():
        names = await ctx.net.overlay_names(state.product)
        fitting = (each for each in names if each.network in (None, state.network))
        found += [(state, each) for each in fitting if f".{host}".endswith(f".{each.domain}")]
    return found


def judge_names(state: OverlayState, withheld: Withheld) -> Result:
    """The control plane's name is in a domain that the overlay serves, and is not found without it."""
    setting, remedies = "--accept-dns is false", tailscale_takes(state, "accept-dns")
    if state.product == "zerotier":
        setting, remedies = "allowDNS is off", zerotier_takes(withheld.network or "", "allowDNS")
    return failed(
        codes.OVERLAY_NAMES_NOT_ACCEPTED,
        NODE,
        Direction.LOCAL,
        f"{state.product} on {state.interface} resolves names in {withheld.domain}, as the control plane's is, and "
        f"this node does not take that ({setting}); the control plane's name is not found",
        aspect=f"{state.interface} names",
        remedies=remedies,
    )


def _calm(state: OverlayState) -> Result:
    return passed(NODE, Direction.LOCAL, f"{state.product} says nothing of {state.interface} that is wrong")


async def _after_asking(ctx: Context, state: OverlayState) -> OverlayState:
    """Nebula's state after its members were called, where no peer answers: of one that is not it says nothing."""
    if state.product != "nebula" or not state.called or not _nothing_came(ctx, state):
        return state
    for member in state.called[:MOST]:
        await asyncio.to_thread(ctx.net.icmp.provoke_handshake, member.key, state.interface)
    await asyncio.sleep(SENT_S)
    overlay = await ctx.net.overlay()
    return (overlay.at(state.interface) if overlay is not None else None) or state


def _asked_in(ctx: Context, state: OverlayState) -> list[Peer]:
    return [peer for peer in ctx.peers if ctx.tunnel(peer.address) == state.interface]


def _nothing_came(ctx: Context, state: OverlayState) -> bool:
    """Whether echoes and UDP of this run brought nothing from any peer of the tunnel."""
    peers = _asked_in(ctx, state)
    echoes = (each for peer in peers for each in ctx.facts(facts.EchoFacts, peer.target))
    return only_silence(echoes, (each for peer in peers for each in ctx.facts(facts.AnswerFacts, peer.target)))


async def _silent(ctx: Context, state: OverlayState) -> bool:
    """Whether this run asked peers of the tunnel, and none of them answered anything, TCP included."""
    if not _nothing_came(ctx, state):
        return False
    peers = _asked_in(ctx, state)[:MOST]
    asked = (ctx.net.tcp.connect(peer.address, peer.responder_port, timeout_s=CONNECTED_S) for peer in peers)
    return all(each.outcome not in ("open", "refused") for each in await asyncio.gather(*asked))


def judge(
    state: OverlayState, complaint: Complaint, *, silent: bool, nameless: bool = False, writer: str = ""
) -> Result:
    """One complaint as a finding.

    silent: no peer of the tunnel answered. nameless: the control plane's name failed. writer: who has overwritten the
    list of resolvers, by the comment in it.
    """
    code = codes.ALL[complaint.code]
    by = f"; the file says that {writer} wrote it" if writer not in ("", state.product) else ""
    message = f"{state.product} on {state.interface}: {complaint.said}{by}"
    remedies = _remedies(state, complaint, writer)
    borne_out = ""
    if silent and _cuts(state, complaint):
        borne_out = f"no peer answers in this run{_no_path(state)}"
    elif nameless and complaint.names:
        borne_out = "the control plane's name is not found"
    if not borne_out:
        return warned(code, NODE, Direction.LOCAL, message, remedies=remedies)
    told, place = f"{message}; {borne_out}", Station("session") if silent else None
    return failed(code, NODE, Direction.LOCAL, told, remedies=remedies, station=place)


def _cuts(state: OverlayState, complaint: Complaint) -> bool:
    """Whether it accounts for silent peers: direct paths go on, and these products keep them only while they work.

    A node whose membership has ended loses those too, after a while.
    """
    if complaint.code == codes.OVERLAY_NOT_AUTHORIZED.slug:
        return complaint.cuts
    members = (peer for peer in state.peers if peer.name not in ROOTS)
    if state.product in ("tailscale", "zerotier") and any(member.endpoint is not None for member in members):
        return False
    return complaint.cuts or complaint.code == codes.OVERLAY_RELAY_UNREACHABLE.slug


def _no_path(state: OverlayState) -> str:
    """Which paths carry nothing, where the product knows them."""
    relays = sorted({peer.relay for peer in state.peers if peer.relay is not None})
    if not relays or any(peer.endpoint is not None for peer in state.peers if peer.name not in ROOTS):
        return ""
    return f": there is no direct path, and the relay {' or '.join(relays)} carries nothing"


def _remedies(state: OverlayState, complaint: Complaint, writer: str) -> Remedies:
    """The product's own lever; where the daemon only says that it is cut off, what shows more."""
    if (known := of_warning(state, complaint.said)) is not None:
        return known
    if complaint.code == "overlay.routes-not-accepted":
        return tailscale_takes(state, "accept-routes")
    if complaint.code == "overlay.routes-not-approved":
        return levers.approval(state)
    if complaint.code == "overlay.exit-node-gone":
        return another_exit(state)
    if complaint.code == "overlay.dns-overwritten":
        return let_alone(writer)
    if complaint.code == "overlay.unhealthy" and state.product == "nebula":
        return levers.nebula_cipher(complaint.said)
    if state.product == "openvpn":
        return levers.openvpn(replace(state, health=(complaint.said,)), complaint.code)
    command = SERVERS.get(state.product)
    if complaint.code == "overlay.relay-unreachable" and state.product == "tailscale":
        return RELAYS
    return look(command, root=True) if command is not None and complaint.code == "overlay.offline" else ()
