"""Does the control host accept TCP connections, on every address of the URL?"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Remedies,
    Result,
    by_hand,
    check,
    codes,
    failed,
    look,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.facts import ControlConnectFacts, ControlTunnelFacts, DeathFacts
from preflight.model.host_port import join_host_port
from preflight.model.kernel import Route
from preflight.model.measurement import Measurement
from preflight.model.name_fixes import HOSTS_FILE
from preflight.model.overlay import OverlayState
from preflight.model.peer import Peer
from preflight.model.remedy import Where
from preflight.model.tcp import Connection
from preflight.proto.control.half_dead import half_dead
from preflight.proto.control.naming import named_here
from preflight.proto.control.placement import OUTSIDE, outside_of, placeholder, placement, set_url, way_text
from preflight.proto.control.url import SERVER_PORT, ControlUrl
from preflight.proto.tunnel.handed_on import NOTHING, led_behind
from preflight.proto.tunnel.wireguard import REJECT_AFTER_S
from preflight.proto.way.observation import Death

Meant = tuple[str, Remedies]
CONNECT_TIMEOUT_S = 2.5  # a lost SYN is sent again after 1 s, and then after 3 s
QUICK_S = 2.0
"""Where packets wait in no queue of this node's line: the second SYN has a second."""

_DEAD = (("refused", codes.CONTROL_REFUSED), ("timeout", codes.CONTROL_TIMEOUT))
_CODES = dict(_DEAD) | {"unreachable": codes.CONTROL_UNREACHABLE}


@dataclass(frozen=True, slots=True)
class Tunnel:
    """The WireGuard tunnel that carries an address. handshake_age_s: None: never."""

    interface: str
    endpoint: str | None
    handshake_age_s: float | None


@check(
    "control.connect",
    title="Control host accepts TCP connections",
    subject="control",
    codes=(
        codes.CONTROL_REFUSED,
        codes.CONTROL_TIMEOUT,
        codes.CONTROL_UNREACHABLE,
        codes.CONTROL_ADDRESS_FAMILY,
        codes.CONTROL_DEAD_ADDRESS,
        codes.CONTROL_URL_OFF_OVERLAY,
        codes.CONTROL_DNS_TIMEOUT,
        codes.HOST_FIREWALL_DROP,
    ),
    needs=("control.dns",),
    timeout=12,
)
async def control_connect(ctx: Context) -> AsyncGenerator[Result, None]:
    """Connect to each address of the control host separately, so that a good one does not hide a dead one."""
    url = ctx.settings.control.usable_url
    if url is None:
        yield _not_applicable("there is no usable control URL")
    elif (proxy := ctx.net.control.proxy) is not None:
        yield _not_applicable(f"{proxy.variable} sends clients of {url} to the proxy {proxy.place}")
    else:
        connections = await measure(ctx, url)
        silent = next((c.address for c in connections if c.outcome == "timeout"), None)
        after = await ctx.net.overlay() if silent else None  # the packets sent there provoked a handshake
        tunnel = tunnel_to(silent, after, time.time()) if silent else None
        overlay = await ctx.net.with_routes(ctx.overlay, [each.address for each in connections], url.port)
        by_file = ctx.net.dns.files(url.host).hosts
        refusal = await _refusal(ctx, connections, url, overlay) or await _filtered(ctx, connections)
        if not connections:
            yield _unresolved(url)
            return
        refused = all(connection.outcome == "refused" for connection in connections)
        better = await ctx.net.better_url(url, connections[0].address, overlay) if refused else None
        meant = (str(better), _led_to(ctx, url, better)) if better is not None else None
        meant = meant or (await _outside(ctx, url, connections[0].address, overlay) if refused else None)
        result = judge(connections, url, overlay, tunnel, by_file, refusal, meant)
        yield _noted(result, ctx.net.proxy_passed_over(url))


async def _outside(ctx: Context, url: ControlUrl, address: str, overlay: OverlayState | None) -> Meant | None:
    """A control plane that listens at its host's other address only, and what to do there."""
    outer = outside_of(url, address, overlay)
    if outer is None or not await ctx.net.control_lives(outer, CONNECT_TIMEOUT_S):
        return None
    line = by_hand(f"Let the control plane listen at {join_host_port(address, url.port)}.", where="control host")
    return f"{outer}, outside the overlay,", line


def _led_to(ctx: Context, url: ControlUrl, better: ControlUrl) -> Remedies:
    """Where another address of the host is right: in the hosts file, if that gives the wrong one, else in the URL."""
    files = ctx.net.dns.files(url.host)
    moved = files.hosts and better.port == url.port and better.host != url.host
    return named_here(url.host, better.host, files) if moved else set_url(str(better), ctx.url_source)


async def measure(ctx: Context, url: ControlUrl) -> Sequence[Connection]:
    """One connection to each address that programs on this node get for the host, at the same time."""
    addresses = await ctx.net.dns.addresses(url)
    limits: Any = {"timeout_s": CONNECT_TIMEOUT_S, "sooner_s": QUICK_S, "enough": lambda: ctx.net.path.quick}
    return await asyncio.gather(*(ctx.net.tcp.connect(each, url.port, **limits) for each in addresses))


async def _filtered(ctx: Context, connections: Sequence[Connection]) -> Death | None:
    """The rule of this node's own firewall that stops them, or the answers; a reset may be its own too."""
    if any(each.outcome == "open" for each in connections):
        return None
    for each in connections:
        if (death := await ctx.net.filtered(each.address, each.port)) is not None:
            return death
    return None


async def _refusal(
    ctx: Context, connections: Sequence[Connection], url: ControlUrl, overlay: OverlayState | None
) -> Death | None:
    """What of this node's own refuses, where nothing else answered anything."""
    if any(connection.outcome != "unreachable" or connection.offender for connection in connections):
        return None
    for connection in connections:
        host = Peer(connection.address, "the control host")
        if (refusal := await ctx.net.refusal_of(host, url.port, overlay)) is not None:
            return refusal
    return None


def _unresolved(url: ControlUrl) -> Result:
    message = f"programs on this node get no address for {url.host}, so there is nothing to connect to"
    about = {"remedies": look(f"getent ahosts {url.host}"), "station": request("name")}
    return failed(codes.CONTROL_DNS_TIMEOUT, CONTROL, Direction.LOCAL, message, **about)


def tunnel_to(address: str, overlay: OverlayState | None, now_unix_s: float) -> Tunnel | None:
    """What the overlay reports about the tunnel to a silent address; None if it reports nothing."""
    state = overlay and overlay.tunnel_for(address)
    peer = state.peer_for(address) if state is not None and state.product == "wireguard" else None
    if state is None or peer is None or peer.last_handshake_unix_s is None:
        return None
    age_s = now_unix_s - peer.last_handshake_unix_s if peer.last_handshake_unix_s else None
    return Tunnel(state.interface or "", peer.endpoint, age_s)


def judge(
    connections: Sequence[Connection],
    url: ControlUrl,
    overlay: OverlayState | None,
    tunnel: Tunnel | None = None,
    by_file: Sequence[str] = (),
    refusal: Death | None = None,
    meant: Meant | None = None,
) -> Result:
    """Nothing open: the most informative failure. Some open: is another one dead, is an open one off the overlay?

    tunnel: the one to the first silent address, if known. by_file: the host's addresses in this node's hosts file.
    refusal: why this node's own kernel sends nothing there. meant: another URL, at which a control plane answers, and
    how to set it.
    """
    if refusal is not None:
        return _refused_here(refusal, connections)
    opened = [connection for connection in connections if connection.outcome == "open"]
    if not opened:
        return _dead(connections, url, overlay, tunnel, meant, by_file)
    off_overlay = [one for one in opened if placement(one.address, overlay) in OUTSIDE]
    if overlay is not None and off_overlay and len(off_overlay) < len(connections):
        return _astray(off_overlay, connections, url, overlay)
    half = half_dead(url.host, connections, _outcomes(connections), by_file)
    if half is not None:
        return warned(
            half.code,
            CONTROL,
            Direction.ROUND_TRIP,
            half.message,
            remedies=half.remedies,
            facts=_connected(opened, connections),
            measurements=half.decided.measurements(),
            evidence=(_evidence(connections),),
            station=request(half.station),
        )
    return _good(opened, connections)


def _dead(
    connections: Sequence[Connection],
    url: ControlUrl,
    overlay: OverlayState | None,
    tunnel: Tunnel | None,
    meant: Meant | None,
    by_file: Sequence[str],
) -> Result:
    # A refusal proves that the host is up; silence says more than a missing route of the other family.
    worst = next(c for kind in _CODES for c in connections if c.outcome == kind)
    here = overlay is not None and all(placement(c.address, None) == "loopback" for c in connections)
    if worst.outcome == "refused" and here:
        return _here(connections, url, meant, by_file={c.address for c in connections} <= set(by_file))
    without_port = not url.port_given and url.port != SERVER_PORT
    hint = f"; the URL has no port; the server's default is {SERVER_PORT}" if without_port else ""
    fact, facts = _session(tunnel, connections, overlay.routes.get(worst.address) if overlay is not None else None)
    lost = overlay.tunnel_for(worst.address) if overlay is not None and worst.outcome == "timeout" else None
    led, further = led_behind(lost, worst.address) if lost is not None else NOTHING
    remedies = (*further, *_what_next(worst, tunnel, url if without_port else None))
    if meant is not None:
        hint, remedies = f"{hint}; at {meant[0]} a control plane answers", meant[1]
    return failed(
        _CODES[worst.outcome],
        CONTROL,
        Direction.ROUND_TRIP,
        f"no TCP connection to the control plane: {_outcomes(connections)}{fact}{f'; {led}' if led else ''}{hint}",
        remedies=remedies,
        facts=facts,
        measurements=_measured(connections) | DeathFacts(offender=worst.offender).measurements(),
        evidence=(_evidence(connections),),
        station=request("connect"),
    )


def _what_next(worst: Connection, tunnel: Tunnel | None, without_port: ControlUrl | None) -> Remedies:
    """Where to look. without_port: the URL, if it has no port and that of the server is another one."""
    if without_port is not None and without_port.scheme == "http":
        other = without_port.at(without_port.host, SERVER_PORT)
        return look(f"curl -si --max-time 15 {other}/health   # if a control plane answers, it is the right URL")
    listens = f"ss -ltn 'sport = :{worst.port}'   # on the control host: does it listen on {worst.address}?"
    return {
        "refused": look(listens, where="control host"),
        "timeout": _let_in(worst, tunnel),
        "unreachable": _who_rejects(worst),
    }[worst.outcome]


def _refused_here(refusal: Death, connections: Sequence[Connection]) -> Result:
    by_rule = refusal.code is codes.HOST_FIREWALL_DROP
    return failed(
        refusal.code if by_rule else codes.CONTROL_UNREACHABLE,
        CONTROL,
        Direction.ROUND_TRIP,
        f"no TCP connection to the control plane: {refusal.message}",
        remedies=refusal.remedies,
        facts=refusal.facts,
        measurements=_measured(connections),
        evidence=(_evidence(connections),),
        station=request("connect" if by_rule else "route"),
    )


def _here(connections: Sequence[Connection], url: ControlUrl, meant: Meant | None, *, by_file: bool) -> Result:
    """A URL, or a line of the hosts file, that was copied from the control host: it names each node itself."""
    answers = f"; at {meant[0]} a control plane answers" if meant is not None else ""
    what = f"{HOSTS_FILE} gives {url.host}" if by_file else f"the control URL {url} has"
    by_owner = by_hand(placeholder(str(url.at("OVERLAY-ADDRESS"))))
    return failed(
        codes.CONTROL_URL_OFF_OVERLAY,
        CONTROL,
        Direction.LOCAL,
        f"{what} a loopback address, which means this node itself and is right on the control host only, and nobody "
        f"listens here: {_outcomes(connections)}{answers}",
        remedies=meant[1] if meant is not None else by_owner,
        measurements=_measured(connections)
        | DeathFacts(problem="loopback", file=HOSTS_FILE if by_file else None).measurements(),
        evidence=(_evidence(connections),),
        station=request("name" if by_file else "parse"),
    )


def _who_rejects(rejected: Connection) -> Remedies:
    if rejected.offender is None:
        return look(f"ip route get {rejected.address}")
    at_host = rejected.offender == rejected.address
    where: Where = "control host" if at_host else "router"
    return look(f"nft list ruleset | grep -n reject   # on {rejected.offender}", where=where, root=True)


def _session(
    tunnel: Tunnel | None, connections: Sequence[Connection], route: Route | None
) -> tuple[str, ControlTunnelFacts]:
    """What the message and the facts say about the tunnel and the route, if no connection could be opened."""
    age_s = tunnel.handshake_age_s if tunnel is not None else None
    facts = ControlTunnelFacts(
        addresses=len(connections),
        addresses_open=0,
        tunnel_handshake_age_s=None if age_s is None else round(age_s, 1),
        source=route.source if route is not None else None,
    )
    if tunnel is None:
        return "", facts
    ever = "never had a handshake" if age_s is None else f"had its last handshake {age_s:.0f} s ago"
    end = f" with {tunnel.endpoint}" if tunnel.endpoint else ""
    return f"; the tunnel to it{end} {ever}", facts


def _let_in(silent: Connection, tunnel: Tunnel | None) -> Remedies:
    """Where to look first: at a tunnel without a session, else at the firewalls of both ends."""
    if tunnel is not None and (tunnel.handshake_age_s is None or tunnel.handshake_age_s > REJECT_AFTER_S):
        return look(f"wg show {tunnel.interface}   # and on the control host: keys and endpoints must match", root=True)
    sentence = f"Let TCP port {silent.port} in from the overlay on the control host, and let the answers in here."
    return look(sentence, where="control host")


def _astray(
    off_overlay: Sequence[Connection], connections: Sequence[Connection], url: ControlUrl, overlay: OverlayState
) -> Result:
    """A name with addresses on and off the overlay: a client may take those off it."""
    return failed(
        codes.CONTROL_URL_OFF_OVERLAY,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{url.host} also resolves to {', '.join(c.address for c in off_overlay)}, which answers from outside the "
        f"overlay: {way_text(off_overlay[0].address, overlay)}; {_outcomes(connections)}",
        remedies=by_hand(
            f"Take {off_overlay[0].address} out of the records of {url.host}, or put an overlay address into the URL."
        ),
        measurements=_measured(connections),
        evidence=(_evidence(connections),),
        station=request("name"),
    )


def _noted(result: Result, passed_over: tuple[str, str] | None) -> Result:
    """With a word about a proxy that other programs of this node may use, where connections do without it."""
    if passed_over is None or result.code is not None:
        return result
    variable, scheme = passed_over
    note = f"; {variable} names a proxy for {scheme}, which curl uses, and workers do not"
    return replace(result, message=result.message + note)


def _good(opened: Sequence[Connection], connections: Sequence[Connection]) -> Result:
    return passed(
        CONTROL,
        Direction.ROUND_TRIP,
        _outcomes(connections),
        facts=_connected(opened, connections),
        evidence=(_evidence(connections),),
        station=request("connect"),
    )


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)


def _outcomes(connections: Sequence[Connection]) -> str:
    words = {"refused": "refuses", "timeout": "is silent", "unreachable": "cannot be reached"}

    def one(connection: Connection) -> str:
        if connection.outcome == "open":
            return f"{connection.place} ({connection.family}) accepts in {connection.elapsed_ms:.1f} ms"
        by = f", says {connection.offender}" if connection.offender else ""
        return f"{connection.place} ({connection.family}) {words[connection.outcome]} ({connection.detail}{by})"

    return "; ".join(map(one, connections))


def _connected(opened: Sequence[Connection], connections: Sequence[Connection]) -> ControlConnectFacts:
    return ControlConnectFacts(
        addresses=len(connections),
        addresses_open=len(opened),
        connect_ms=round(min(connection.elapsed_ms for connection in opened), 3),
    )


def _measured(connections: Sequence[Connection]) -> dict[str, Measurement]:
    opened = [connection.elapsed_ms for connection in connections if connection.outcome == "open"]
    counts: dict[str, Measurement] = {"addresses": len(connections), "addresses_open": len(opened)}
    return counts | ({"connect_ms": round(min(opened), 3)} if opened else {})


def _evidence(connections: Sequence[Connection]) -> Evidence:
    rows = [
        {
            "address": connection.address,
            "port": connection.port,
            "outcome": connection.outcome,
            "elapsed_ms": round(connection.elapsed_ms, 3),
            "detail": connection.detail,
        }
        for connection in connections
    ]
    return Evidence("tcp", "one connection to each address of the control host", rows)
