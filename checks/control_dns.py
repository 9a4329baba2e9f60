"""Does the control host's name resolve alike for every program on this node, and to the overlay?"""

from collections.abc import AsyncGenerator, Mapping, Sequence

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
    look,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.dns import Lookup, Resolution
from preflight.model.facts import NameFacts
from preflight.model.overlay import OverlayState
from preflight.proto.control.placement import OUTSIDE, leak, placement, wanted_inside, way_text
from preflight.proto.control.url import SERVER_PORT, ControlUrl

SHOWN, KEPT = 8, 64
"""Addresses of one name shown in a message and in the report."""


@check(
    "control.dns",
    title="Control host's name resolves alike everywhere",
    subject="control",
    codes=(
        codes.CONTROL_DNS_NXDOMAIN,
        codes.CONTROL_DNS_TIMEOUT,
        codes.CONTROL_DNS_SPLIT,
        codes.CONTROL_URL_OFF_OVERLAY,
        codes.CONTROL_PLAIN_HTTP,
        codes.OVERLAY_ROUTE_LEAK,
    ),
    needs=("control.url",),
    timeout=15,
)
async def control_dns(ctx: Context) -> AsyncGenerator[Result, None]:
    """Ask the system and each configured resolver for A and AAAA, and compare the answers."""
    url = ctx.settings.control.usable_url
    if url is None:
        yield _not_applicable("there is no usable control URL")
    elif url.address is not None:
        yield _not_applicable(f"the control URL names an address, {url.host}, so there is no name to resolve")
    elif (proxy := ctx.net.control.proxy) is not None:
        yield _not_applicable(f"{proxy.variable} hands the name {url.host} to the proxy {proxy.place} to resolve")
    else:
        resolution = await ctx.net.dns.resolve(url.host)
        overlay = await ctx.net.with_routes(ctx.overlay, _all_addresses(resolution))
        yield judge(resolution, url, overlay, ctx.url_source)


def judge(resolution: Resolution, url: ControlUrl, overlay: OverlayState | None, source: str | None = None) -> Result:
    """Judge all answers together; programs use the system's. source: where the URL comes from."""
    if resolution.system.outcome == "answer":
        return _judge_answer(resolution, url, overlay, source)
    silent = [lookup for lookup in resolution.resolvers if lookup.outcome == "timeout"]
    if any(lookup.outcome == "answer" for lookup in resolution.resolvers):
        return _no_system_answer(resolution, silent)
    asked = resolution.resolvers or (resolution.system,)
    said_no = [lookup for lookup in asked if lookup.outcome in ("nxdomain", "no-address")]
    if said_no and resolution.system.outcome not in ("timeout", "failed"):
        exists = any(lookup.outcome == "no-address" for lookup in said_no)
        return _bad(
            codes.CONTROL_DNS_NXDOMAIN,
            resolution,
            f"the control host's name {resolution.name} " + ("has no address" if exists else "does not exist"),
            by_hand(
                f"Give {resolution.name} the control plane's overlay address in DNS or /etc/hosts, "
                f"or put that address into the control URL: {url.scheme}://OVERLAY-ADDRESS:{SERVER_PORT}"
            ),
        )
    return _bad(
        codes.CONTROL_DNS_TIMEOUT,
        resolution,
        f"no resolver answers for the control host's name {resolution.name}",
        look(
            f"dig @{asked[0].source} {resolution.name}" if resolution.resolvers else f"getent ahosts {resolution.name}"
        ),
    )


def _no_system_answer(resolution: Resolution, silent: list[Lookup]) -> Result:
    """A resolver knows the name but programs get nothing: they wait for a silent one, or do not ask that one."""
    if silent and resolution.system.outcome == "timeout":
        return _bad(
            codes.CONTROL_DNS_TIMEOUT,
            resolution,
            f"programs on this node get no answer in time about {resolution.name}; {silent[0].source} is silent",
            look(f"dig @{silent[0].source} {resolution.name}   # then repair it or remove it from /etc/resolv.conf"),
        )
    return _bad(
        codes.CONTROL_DNS_SPLIT,
        resolution,
        f"programs on this node get no address for {resolution.name}, although a resolver has one",
        look(f"getent ahosts {resolution.name}; cat /etc/nsswitch.conf /etc/resolv.conf"),
    )


def _judge_answer(resolution: Resolution, url: ControlUrl, overlay: OverlayState | None, source: str | None) -> Result:
    name, used = resolution.name, resolution.system.addresses
    places = {address: placement(address, overlay) for address in used}
    if _disagree(resolution, overlay):
        off = any(place in OUTSIDE for place in places.values())
        where = ", which is not on the overlay" if off else ""
        better = [address for address in _all_addresses(resolution) if placement(address, overlay) == "overlay"]
        return _bad(
            codes.CONTROL_DNS_SPLIT,
            resolution,
            f"the answers about {name} differ; programs on this node use {_list(used)}{where}",
            by_hand(
                f"echo '{better[0]} {name}' | sudo tee -a /etc/hosts   # and correct the record that differs"
                if off and better
                else f"Make every resolver in /etc/resolv.conf and /etc/hosts give {name} the same overlay address.",
                root=True,
            ),
            fatal=off,
        )
    if overlay is not None and places and all(place in OUTSIDE for place in places.values()):
        leaks = [address for address, place in places.items() if place == "leak"]
        if leaks:
            return _leaking(resolution, leaks[0], overlay)
        return _off_overlay(resolution, url, overlay, source)
    return _good(resolution, off=[address for address, place in places.items() if place in OUTSIDE])


def _leaking(resolution: Resolution, address: str, overlay: OverlayState) -> Result:
    """The name is right, and the route to its address is not."""
    message, remedies = leak(address, overlay)
    leads = f"{resolution.name} resolves to {_list(resolution.system.addresses)}"
    about = {"interface": overlay.routes[address].interface}
    return _bad(codes.OVERLAY_ROUTE_LEAK, resolution, f"{leads}: {message}", remedies, route=about)


def _off_overlay(resolution: Resolution, url: ControlUrl, overlay: OverlayState, source: str | None) -> Result:
    """All sources agree on an address off the overlay: without TLS the bearers leak first of all."""
    addresses = resolution.system.addresses
    leads = f"{resolution.name} resolves to {_list(addresses)}"
    remedies = wanted_inside(url, addresses, overlay, source)
    about = {"answered_address": addresses[0], "interface": overlay.routes[addresses[0]].interface}
    if url.scheme == "http":
        message = f"{url} would send bearers in clear text: {leads}, off the overlay: {way_text(addresses[0], overlay)}"
        return _bad(codes.CONTROL_PLAIN_HTTP, resolution, message, remedies, route=about)
    message = f"{leads}, which is not on the overlay: {way_text(addresses[0], overlay)}"
    return _bad(codes.CONTROL_URL_OFF_OVERLAY, resolution, message, remedies, route=about)


def _good(resolution: Resolution, off: list[str]) -> Result:
    agreeing = [lookup for lookup in resolution.resolvers if lookup.outcome == "answer"]
    notes = [
        f"{len(agreeing)} of {len(resolution.resolvers)} resolvers agree" if agreeing else "from this node's files"
    ]
    notes += [f"{lookup.source}: {lookup.detail}" for lookup in resolution.resolvers if lookup.outcome == "timeout"]
    notes += [f"{_list(off)} is off the overlay"] if off else []
    rtt_ms = resolution.system.rtt_ms
    return passed(
        CONTROL,
        Direction.LOCAL,
        f"{resolution.name} resolves to {_list(resolution.system.addresses)} ({'; '.join(notes)})",
        facts=NameFacts(
            addresses=resolution.system.addresses[:KEPT],
            lookup_ms=round(rtt_ms, 3) if rtt_ms is not None else None,
            resolvers_asked=len(resolution.resolvers),
            resolvers_answering=len(agreeing),
        ),
        evidence=(_evidence(resolution),),
    )


def _bad(
    code: Code,
    resolution: Resolution,
    message: str,
    remedies: Remedies,
    *,
    fatal: bool = True,
    route: Mapping[str, str | None] | None = None,
) -> Result:
    """route: what is measured of the way to the address, where the name is right and the way is not."""
    said = "; ".join(_said(lookup) for lookup in (resolution.system, *resolution.resolvers))
    make = failed if fatal else warned
    return make(
        code,
        CONTROL,
        Direction.LOCAL,
        f"{message} ({said})",
        remedies=remedies,
        measurements=route or {},
        evidence=(_evidence(resolution),),
        station=None if route is None else request("route"),
    )


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.LOCAL, message)


def _disagree(resolution: Resolution, overlay: OverlayState | None) -> bool:
    """Two sources share no address, one is on the overlay and one is not, or only some resolvers know the name."""
    answers = [lookup for lookup in (resolution.system, *resolution.resolvers) if lookup.outcome == "answer"]
    sets = [set(lookup.addresses) for lookup in answers]
    if any(one.isdisjoint(other) for one in sets for other in sets):
        return True
    if len({any(placement(address, overlay) in OUTSIDE for address in one) for one in sets}) > 1:
        return True
    outcomes = {lookup.outcome for lookup in resolution.resolvers}
    return "answer" in outcomes and bool(outcomes & {"nxdomain", "no-address"})


def _all_addresses(resolution: Resolution) -> list[str]:
    every = (address for lookup in (resolution.system, *resolution.resolvers) for address in lookup.addresses)
    return list(dict.fromkeys(every))


def _said(lookup: Lookup) -> str:
    words = {"nxdomain": "no such name", "no-address": "no address", "timeout": "silent", "failed": "error"}
    if lookup.outcome == "answer":
        return f"{lookup.source}: {_list(lookup.addresses)}"
    detail = f" ({lookup.detail})" if lookup.detail else ""
    return f"{lookup.source}: {words[lookup.outcome]}{detail}"


def _list(addresses: Sequence[str]) -> str:
    """A few of them: a name can have thousands."""
    more = [f"and {len(addresses) - SHOWN} more"] if len(addresses) > SHOWN else []
    return ", ".join([*addresses[:SHOWN], *more])


def _evidence(resolution: Resolution) -> Evidence:
    rows = [
        {
            "source": lookup.source,
            "outcome": lookup.outcome,
            "addresses": list(lookup.addresses[:KEPT]),
            "rtt_ms": round(lookup.rtt_ms, 3) if lookup.rtt_ms is not None else None,
            "detail": lookup.detail,
        }
        for lookup in (resolution.system, *resolution.resolvers)
    ]
    return Evidence("dns", f"what each source says about {resolution.name}", rows)
