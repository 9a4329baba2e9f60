"""Is the connection to the control plane private: TLS that a client trusts, or plain HTTP inside the overlay?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
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
    heal,
    inconclusive,
    look,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.facts import DeathFacts
from preflight.model.fix import ClockSync
from preflight.model.kernel import NeedsPlatform
from preflight.model.overlay import OverlayState
from preflight.model.printable import excerpt
from preflight.model.tcp import Certificate, Handshake
from preflight.proto.control.http import header, http_date
from preflight.proto.control.placement import OUTSIDE, PRIVATE, placement, set_url, way_text
from preflight.proto.control.populi import HEALTHY, is_populi
from preflight.proto.control.tls import (
    CODES,
    NAME_SHOWN,
    OLDER,
    RENEW,
    Trouble,
    day,
    demands_certificate,
    is_explained,
    names,
    trouble,
)
from preflight.proto.control.tls import speaks_plain as spoken_plain
from preflight.proto.control.url import ControlUrl

HANDSHAKE_TIMEOUT_S = 4.0
DAY_S = 86400
LAST_PART = 1 / 3
"""Of its life a certificate is renewed before this is left: some live for hours, such as those that Caddy makes."""
PLAIN_S = 2.0
OWN_CLOCK = "this node's clock"
SET_THEIRS = by_hand(
    "timedatectl set-ntp true   # and then renew the certificate, if it is out of date", where="control host"
)
NAMES_KEPT = 50


@check(
    "control.tls",
    title="Connection to the control plane is private",
    subject="control",
    codes=(*CODES.values(), codes.CONTROL_TLS_EXPIRING, codes.CONTROL_CLOCK_SKEW, codes.CONTROL_PLAIN_HTTP),
    needs=("control.connect",),
    timeout=15,
)
async def control_tls(ctx: Context) -> AsyncGenerator[Result, None]:
    """Do a TLS handshake with each address as a client would; without TLS, judge the addresses."""
    url = ctx.settings.control.usable_url
    if url is None:
        yield _not_applicable("there is no usable control URL")
    elif (proxy := ctx.net.control.proxy) is not None:
        yield _not_applicable(f"{proxy.variable} sends clients of {url} to the proxy {proxy.place}")
    elif url.scheme == "http":
        addresses, overlay = await measure_plain(ctx, url)
        beyond = [address for address in addresses if placement(address, overlay) not in PRIVATE]
        way_inside = await ctx.net.way_inside(url, beyond, overlay, ctx.url_source) if beyond else ()
        yield judge_plain(url, addresses, overlay, way_inside)
    else:
        handshakes = [await explained(ctx, url, each) for each in await measure(ctx, url)]
        plain = await speaks_plain(ctx, url, handshakes)
        days, right = ctx.settings.thresholds.certificate_days, _synchronised(ctx)
        yield judge(url, handshakes, datetime.now(UTC), days, plain, synchronised=right)


async def explained(ctx: Context, url: ControlUrl, handshake: Handshake) -> Handshake:
    """The same, and whether the server goes on with an older version, where it ended the handshake silently."""
    if handshake.outcome not in ("failed", "reset") or handshake.asks_certificate or is_explained(handshake):
        return handshake
    old = await ctx.net.tcp.old_tls(handshake.address, url.port, url.host)
    if old.version is None:
        return handshake
    return replace(handshake, outcome="failed", detail=f"{handshake.detail}, and {OLDER} ({old.version})")


async def speaks_plain(ctx: Context, url: ControlUrl, handshakes: Sequence[Handshake]) -> Remedies | None:
    """Where the server does not speak TLS but plain HTTP: what to do; else None."""
    no_tls = any("WRONG_VERSION_NUMBER" in handshake.detail for handshake in handshakes)
    # A server may also wait for the end of a request that it takes the handshake for.
    if not no_tls and any(handshake.outcome != "timeout" for handshake in handshakes):
        return None
    plain = replace(url, scheme="http", port_given=True)
    answer = await ctx.net.health_at(plain, PLAIN_S)
    if answer is None:
        return None
    addresses = [handshake.address for handshake in handshakes]
    overlay = await ctx.net.with_routes(ctx.overlay, addresses, url.port)
    private = all(placement(address, overlay) in PRIVATE for address in addresses)
    if private and is_populi(answer) and answer.status == HEALTHY:
        return set_url(str(plain), ctx.url_source)
    return by_hand("Let the TLS terminator in front of the control plane speak TLS on this port.", where="control host")


async def measure(ctx: Context, url: ControlUrl) -> Sequence[Handshake]:
    """One handshake with each address; a server whose certificate is refused is asked for its time and nothing else."""
    ask = f"GET {url.path}/health HTTP/1.1\r\nHost: {url.authority}\r\nConnection: close\r\n\r\n".encode("ascii")
    ca_file = ctx.settings.control.ca_file
    return await asyncio.gather(
        *(
            ctx.net.tcp.handshake(address, url.port, url.host, ca_file=ca_file, timeout_s=HANDSHAKE_TIMEOUT_S, send=ask)
            for address in await ctx.net.dns.addresses(url)
        )
    )


async def measure_plain(ctx: Context, url: ControlUrl) -> tuple[Sequence[str], OverlayState | None]:
    """The addresses that a client's plain HTTP would use: those that accept a connection, if any does; and the overlay
    with the kernel's ways to them.
    """
    addresses = await ctx.net.dns.addresses(url)
    overlay = await ctx.net.with_routes(ctx.overlay, addresses, url.port)
    if all(placement(address, overlay) in PRIVATE for address in addresses):
        return addresses, overlay
    asked = [address for address in addresses if not ctx.net.tcp.silent(address, url.port)]
    connections = await asyncio.gather(*(ctx.net.tcp.connect(address, url.port) for address in asked))
    return [each.address for each in connections if each.outcome == "open"] or addresses, overlay


def judge_plain(
    url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None, way_inside: Remedies = ()
) -> Result:
    """Plain HTTP is acceptable on loopback and inside the tunnel, which encrypts; nowhere else.

    way_inside: how clients are led through the tunnel.
    """
    if not addresses:
        return _undecided(f"programs on this node get no address for {url.host} any more")
    places = {address: placement(address, overlay) for address in addresses}
    beyond = [address for address, place in places.items() if place not in PRIVATE]
    if not beyond:
        where = "this node itself" if set(places.values()) == {"loopback"} else "the overlay, which encrypts it"
        message = f"plain HTTP to {', '.join(addresses)} stays on {where}"
        return passed(CONTROL, Direction.ROUND_TRIP, message, station=request("route"))
    outside = [address for address in beyond if places[address] in OUTSIDE]
    if overlay is not None and not outside:
        doubt = overlay.routes[beyond[0]].doubt if beyond[0] in overlay.routes else None
        why = f": {doubt}" if doubt is not None else ""
        return _undecided(
            f"it is not known where this node sends packets for {', '.join(beyond)}, so {url} cannot be judged{why}",
            look(f"ip route get {beyond[0]}"),
        )
    where = f"off the overlay: {way_text(outside[0], overlay)}" if overlay else "and no overlay is known on this node"
    return failed(
        codes.CONTROL_PLAIN_HTTP,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{url} sends bearers in clear text: it leads to {', '.join(beyond)}, {where}",
        remedies=way_inside,
        station=request("route"),
    )


def judge(
    url: ControlUrl,
    handshakes: Sequence[Handshake],
    now: datetime,
    soon_days: int = 14,
    plain: Remedies | None = None,
    *,
    synchronised: bool = False,
) -> Result:
    """The first certificate that a client would refuse; silent addresses count only if no address answers.

    soon_days: warn about a certificate that expires within this many days, and is in the last part of its life. plain:
    what to do where the server answers in plain HTTP. synchronised: this node's clock is.
    """
    dead = ("timeout", "refused", "unreachable")
    answering = [handshake for handshake in handshakes if handshake.outcome not in dead] or list(handshakes)
    if not answering:
        return _undecided(f"programs on this node get no address for {url.host} any more")
    bad = next((each for each in answering if each.outcome != "trusted" or demands_certificate(each)), None)
    if bad is None:
        ending = min(answering, key=lambda handshake: _seconds_left(handshake, now))
        if _seconds_left(ending, now) < min(soon_days * DAY_S, _life_s(ending) * LAST_PART):
            return _expiring(url, ending, now)
        return _good(answering[0], now)
    skewed = _skew(bad, now, synchronised=synchronised)
    if skewed is not None:
        return skewed
    found = trouble(url, bad, now) if plain is None else spoken_plain(url, bad, plain)
    return _bad(found, bad, now)


def _seconds_left(handshake: Handshake, now: datetime) -> float:
    certificate = handshake.certificate
    return inf if certificate is None else (certificate.not_after - now).total_seconds()


def _life_s(handshake: Handshake) -> float:
    certificate = handshake.certificate
    return inf if certificate is None else (certificate.not_after - certificate.not_before).total_seconds()


def _expiring(url: ControlUrl, handshake: Handshake, now: datetime) -> Result:
    assert handshake.certificate is not None
    left = _seconds_left(handshake, now) / DAY_S
    return warned(
        codes.CONTROL_TLS_EXPIRING,
        CONTROL,
        Direction.ROUND_TRIP,
        f"the certificate of {url.host} ({handshake.place}) expires in {left:.1f} days, on "
        f"{day(handshake.certificate.not_after)}; after that no client connects",
        remedies=RENEW,
        measurements=_measured(handshake, now),
        evidence=(_evidence(handshake),),
    )


def _skew(handshake: Handshake, now: datetime, *, synchronised: bool) -> Result | None:
    """A certificate looks out of date, but is valid at the server's time: the clocks differ.

    synchronised: the kernel says that this node's is right.
    """
    certificate = handshake.certificate
    date = http_date(header(handshake.reply, "date"))
    if handshake.outcome not in ("expired", "not-yet-valid") or certificate is None or date is None:
        return None
    server = datetime.fromtimestamp(date, UTC)
    if (
        not certificate.not_before <= server <= certificate.not_after
        or certificate.not_before <= now <= certificate.not_after
    ):
        return None
    message = (
        f"{OWN_CLOCK} says {day(now)} and the control plane's {day(server)}: the certificate, valid from "
        f"{day(certificate.not_before)} to {day(certificate.not_after)}, looks {handshake.outcome} only to this node"
    )
    remedies = heal(ClockSync)
    if synchronised:
        message += "; the kernel says that its clock is synchronised, so the control plane's is the wrong one"
        remedies = SET_THEIRS
    decided = DeathFacts(problem=OWN_CLOCK)
    return _bad(Trouble(codes.CONTROL_CLOCK_SKEW, message, remedies, decided), handshake, now)


def _synchronised(ctx: Context) -> bool:
    try:
        return ctx.net.kernel.clock().synchronised
    except NeedsPlatform:
        return False


def _good(handshake: Handshake, now: datetime) -> Result:
    certificate = handshake.certificate
    life = ""
    if certificate is not None:
        left = (certificate.not_after - now).days
        life = f", certificate for {names(certificate)}, {left} days left"
    return passed(
        CONTROL,
        Direction.ROUND_TRIP,
        f"{handshake.place} speaks {handshake.version}{life}",
        measurements=_measured(handshake, now),
        evidence=(_evidence(handshake),),
        station=request("tls"),
    )


def _bad(found: Trouble, handshake: Handshake, now: datetime) -> Result:
    return failed(
        found.code,
        CONTROL,
        Direction.ROUND_TRIP,
        found.message,
        remedies=found.remedies,
        measurements=_measured(handshake, now) | found.decided.measurements(),
        evidence=(_evidence(handshake),),
        station=request(found.station),
    )


def _undecided(message: str, remedies: Remedies = ()) -> Result:
    return inconclusive(codes.RUN_NO_ANSWER, CONTROL, Direction.ROUND_TRIP, message, remedies=remedies)


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)


def _measured(handshake: Handshake, now: datetime) -> dict[str, Any]:
    certificate = handshake.certificate
    days = {} if certificate is None else {"certificate_days_left": (certificate.not_after - now).days}
    return {"handshake_ms": round(handshake.elapsed_ms, 3), "tls_version": handshake.version, **days}


def _evidence(handshake: Handshake) -> Evidence:
    return Evidence(
        "tls",
        f"the handshake with {handshake.place}",
        {
            "outcome": handshake.outcome,
            "detail": handshake.detail,
            "version": handshake.version,
            "asks_certificate": handshake.asks_certificate,
            "chain": [excerpt(each.subject, NAME_SHOWN) for each in handshake.chain],
            "certificate": _facts(handshake.certificate),
        },
    )


def _facts(certificate: Certificate | None) -> dict[str, Any] | None:
    if certificate is None:
        return None
    return {
        "subject": excerpt(certificate.subject, NAME_SHOWN),
        "issuer": excerpt(certificate.issuer, NAME_SHOWN),
        "names": [excerpt(name, NAME_SHOWN) for name in certificate.names[:NAMES_KEPT]],
        "not_before": certificate.not_before.isoformat(),
        "not_after": certificate.not_after.isoformat(),
    }
