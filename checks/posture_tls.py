"""Does the control plane's TLS still accept versions that are no longer safe?"""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Result,
    by_hand,
    check,
    codes,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.model.host_port import join_host_port
from preflight.model.tcp import OldTls
from preflight.proto.control.url import ControlUrl


@check(
    "posture.tls",
    title="TLS of the control plane refuses versions before 1.2",
    subject="control",
    codes=(codes.POSTURE_TLS_OLD,),
    needs=("control.tls",),
    timeout=15,
)
async def posture_tls(ctx: Context) -> AsyncGenerator[Result, None]:
    """Offer at most TLS 1.1 to each address, and hang up after the answer; send nothing over such a session."""
    url = ctx.settings.control.usable_url
    if url is None or url.scheme != "https":
        yield _not_applicable("the control URL has no TLS to judge")
    elif ctx.net.control.proxy is not None:
        yield _not_applicable("a proxy is in front of the control plane, so its TLS is not visible from here")
    else:
        yield judge(url, await measure(ctx, url))


async def measure(ctx: Context, url: ControlUrl) -> Sequence[OldTls]:
    """One ClientHello to each address of the URL."""
    addresses = await ctx.net.dns.addresses(url)
    return await asyncio.gather(*(ctx.net.tcp.old_tls(address, url.port, url.host) for address in addresses))


def judge(url: ControlUrl, hellos: Sequence[OldTls]) -> Result:
    """One address that accepts is a finding; silence proves nothing. One that takes no connection has no TLS here."""
    hellos = [hello for hello in hellos if hello.connected] or hellos
    where = (CONTROL, Direction.ROUND_TRIP)
    accepting = next((hello for hello in hellos if hello.version is not None), None)
    if accepting is not None:
        return warned(
            codes.POSTURE_TLS_OLD,
            *where,
            f"{url.host} ({join_host_port(accepting.address, url.port)}) accepts {accepting.version}, "
            "which RFC 8996 has deprecated",
            remedies=by_hand(
                "ssl_protocols TLSv1.2 TLSv1.3;   # nginx; or the like in the TLS terminator, then reload it",
                where="control host",
            ),
            measurements={"tls_version_accepted": accepting.version},
        )
    refused = [hello for hello in hellos if hello.refused]
    if len(refused) < len(hellos) or not hellos:
        silent = next((hello.detail for hello in hellos if not hello.refused), "it has no address")
        message = f"whether {url.host} accepts TLS 1.1 is not known: {silent}; run again later"
        return inconclusive(codes.RUN_NO_ANSWER, *where, message)
    return passed(*where, f"TLS 1.0 and 1.1 are refused ({refused[0].detail})")


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)
