"""Is the connection to the control plane private: TLS that a client trusts, or plain HTTP inside the overlay?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from preflight.api import (
    CONTROL,
    Code,
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
    skipped,
    warned,
)
from preflight.model.fix import ClockSync
from preflight.model.host_port import join_host_port
from preflight.model.overlay import OverlayState
from preflight.model.printable import excerpt
from preflight.model.tcp import Certificate, Handshake
from preflight.proto.control.http import header, http_date
from preflight.proto.control.placement import OUTSIDE, PRIVATE, placement, wanted_inside, way_text
from preflight.proto.control.url import ControlUrl

HANDSHAKE_TIMEOUT_S = 4.0
DAY_S = 86400
NAMES_SHOWN, NAMES_KEPT, NAME_SHOWN = 5, 50, 80
RENEW = by_hand(
    "Renew the certificate of the TLS terminator in front of the control plane, and reload it.", where="control host"
)

_CODES = {
    "expired": codes.CONTROL_TLS_EXPIRED,
    "not-yet-valid": codes.CONTROL_TLS_NOT_YET_VALID,
    "untrusted": codes.CONTROL_TLS_UNTRUSTED,
    "name": codes.CONTROL_TLS_NAME,
    "failed": codes.CONTROL_TLS_FAILED,
    "timeout": codes.CONTROL_TIMEOUT,
    "refused": codes.CONTROL_REFUSED,
    "unreachable": codes.CONTROL_UNREACHABLE,
}


@check(
    "control.tls",
    title="Connection to the control plane is private",
    subject="control",
    codes=(*_CODES.values(), codes.CONTROL_TLS_EXPIRING, codes.CONTROL_CLOCK_SKEW, codes.CONTROL_PLAIN_HTTP),
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
        yield judge_plain(url, addresses, overlay, ctx.url_source)
    else:
        yield judge(url, await measure(ctx, url), datetime.now(UTC), ctx.settings.thresholds.certificate_days)


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
    overlay = await ctx.net.with_routes(ctx.overlay, addresses)
    if all(placement(address, overlay) in PRIVATE for address in addresses):
        return addresses, overlay
    connections = await asyncio.gather(*(ctx.net.tcp.connect(address, url.port) for address in addresses))
    return [each.address for each in connections if each.outcome == "open"] or addresses, overlay


def judge_plain(
    url: ControlUrl, addresses: Sequence[str], overlay: OverlayState | None, source: str | None = None
) -> Result:
    """Plain HTTP is acceptable on loopback and inside the tunnel, which encrypts; nowhere else.

    source: where the URL comes from.
    """
    if not addresses:
        return _undecided(f"programs on this node get no address for {url.host} any more")
    places = {address: placement(address, overlay) for address in addresses}
    beyond = [address for address, place in places.items() if place not in PRIVATE]
    if not beyond:
        where = "this node itself" if set(places.values()) == {"loopback"} else "the overlay, which encrypts it"
        return passed(CONTROL, Direction.ROUND_TRIP, f"plain HTTP to {', '.join(addresses)} stays on {where}")
    outside = [address for address in beyond if places[address] in OUTSIDE]
    if overlay is not None and not outside:
        return _undecided(
            f"it is not known where this node sends packets for {', '.join(beyond)}, so {url} cannot be judged",
            look(f"ip route get {beyond[0]}"),
        )
    where = f"off the overlay: {way_text(outside[0], overlay)}" if overlay else "and no overlay is known on this node"
    return failed(
        codes.CONTROL_PLAIN_HTTP,
        CONTROL,
        Direction.ROUND_TRIP,
        f"{url} sends bearers in clear text: it leads to {', '.join(beyond)}, {where}",
        remedies=wanted_inside(url, beyond, overlay, source),
    )


def judge(url: ControlUrl, handshakes: Sequence[Handshake], now: datetime, soon_days: int = 14) -> Result:
    """The first certificate that a client would refuse; silent addresses count only if no address answers.

    soon_days: warn about a certificate that expires within this many days.
    """
    dead = ("timeout", "refused", "unreachable")
    answering = [handshake for handshake in handshakes if handshake.outcome not in dead] or list(handshakes)
    if not answering:
        return _undecided(f"programs on this node get no address for {url.host} any more")
    bad = next((handshake for handshake in answering if handshake.outcome != "trusted"), None)
    if bad is None:
        ending = min(answering, key=lambda handshake: _seconds_left(handshake, now))
        if _seconds_left(ending, now) < soon_days * DAY_S:
            return _expiring(url, ending, now)
        return _good(answering[0], now)
    skewed = _skew(bad, now)
    if skewed is not None:
        return skewed
    return _bad(_CODES[bad.outcome], _explain(url, bad, now), _remedies(url, bad), bad, now)


def _seconds_left(handshake: Handshake, now: datetime) -> float:
    certificate = handshake.certificate
    return inf if certificate is None else (certificate.not_after - now).total_seconds()


def _expiring(url: ControlUrl, handshake: Handshake, now: datetime) -> Result:
    assert handshake.certificate is not None
    left = _seconds_left(handshake, now) / DAY_S
    return warned(
        codes.CONTROL_TLS_EXPIRING,
        CONTROL,
        Direction.ROUND_TRIP,
        f"the certificate of {url.host} ({handshake.place}) expires in {left:.1f} days, on "
        f"{_day(handshake.certificate.not_after)}; after that no client connects",
        remedies=RENEW,
        measurements=_measured(handshake, now),
        evidence=(_evidence(handshake),),
    )


def _skew(handshake: Handshake, now: datetime) -> Result | None:
    """A certificate looks out of date, but is valid at the server's time: the clocks differ."""
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
    return _bad(
        codes.CONTROL_CLOCK_SKEW,
        f"this node's clock says {_day(now)} and the control plane's {_day(server)}: the certificate, valid from "
        f"{_day(certificate.not_before)} to {_day(certificate.not_after)}, looks {handshake.outcome} only to this node",
        heal(ClockSync),
        handshake,
        now,
    )


def _explain(url: ControlUrl, handshake: Handshake, now: datetime) -> str:
    place = f"{url.host} ({handshake.place})"
    certificate = handshake.certificate
    if handshake.outcome in ("timeout", "refused", "unreachable"):
        return f"no TLS handshake with {place}: {handshake.detail}"
    if handshake.outcome == "failed" or certificate is None:
        plain = "; the server there does not speak TLS" if "WRONG_VERSION_NUMBER" in handshake.detail else ""
        return f"the TLS handshake with {place} failed: {handshake.detail}{plain}"
    if handshake.outcome == "name":
        return f"the certificate of {place} is for {_names(certificate)}, not for {url.host}"
    if handshake.outcome == "untrusted":
        issuer = excerpt(certificate.issuer) or "without a name"
        return f"the certificate of {place} is not trusted here: {handshake.detail}; issuer {issuer}"
    if certificate.not_before <= now <= certificate.not_after:
        return f"a certificate that signed the one of {place} is {handshake.outcome}"
    when = certificate.not_after if handshake.outcome == "expired" else certificate.not_before
    verb = "expired on" if handshake.outcome == "expired" else "is not valid before"
    return f"the certificate of {place} {verb} {_day(when)}; this node's clock says {_day(now)}"


def _remedies(url: ControlUrl, handshake: Handshake) -> Remedies:
    """A name in a stranger's certificate is never a place for this node's bearers, and its issuer nobody to trust."""
    shake = f"openssl s_client -connect {join_host_port(url.host, url.port)} -servername {url.host} </dev/null"
    match handshake.outcome:
        case "expired":
            return RENEW
        case "not-yet-valid":
            return look(f"{shake} | openssl x509 -noout -dates")
        case "untrusted":
            return look(
                "control: {ca_file: /path/to/the-ca-that-signed-it.pem}   # in preflight.yaml, if it is yours",
                f"{shake} -showcerts   # or is an intermediate certificate missing?",
            )
        case "name":
            return (
                *by_hand(f"Issue a certificate for {url.host} at the control plane.", where="control host"),
                *look(f"{shake}   # which server is this?"),
            )
        case _:
            return look(shake)


def _good(handshake: Handshake, now: datetime) -> Result:
    certificate = handshake.certificate
    life = ""
    if certificate is not None:
        left = (certificate.not_after - now).days
        life = f", certificate for {_names(certificate)}, {left} days left"
    return passed(
        CONTROL,
        Direction.ROUND_TRIP,
        f"{handshake.place} speaks {handshake.version}{life}",
        measurements=_measured(handshake, now),
        evidence=(_evidence(handshake),),
    )


def _bad(code: Code, message: str, remedies: Remedies, handshake: Handshake, now: datetime) -> Result:
    return failed(
        code,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        remedies=remedies,
        measurements=_measured(handshake, now),
        evidence=(_evidence(handshake),),
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


def _names(certificate: Certificate) -> str:
    """A few of the certificate's names, which are untrusted text, for a message."""
    names = [excerpt(name, NAME_SHOWN) for name in certificate.names[:NAMES_SHOWN]]
    more = [f"and {len(certificate.names) - NAMES_SHOWN} more"] if len(certificate.names) > NAMES_SHOWN else []
    return ", ".join([*names, *more]) or "no name"


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
