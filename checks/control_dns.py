"""Does the control host's name resolve alike for every program on this node, and to the overlay?"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from ipaddress import ip_address

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
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.dns import Lookup, Resolution
from preflight.model.facts import DeathFacts, NameFacts
from preflight.model.name_fixes import HOSTS_FILE, RESOLVERS_FILE
from preflight.model.overlay import OverlayState
from preflight.proto.control.nameless import address_of, half_silent, nameless
from preflight.proto.control.naming import listed, named_here, said, without_resolver
from preflight.proto.control.placement import OUTSIDE, leak, placement, way_text
from preflight.proto.control.url import ControlUrl

KEPT = 64
"""Addresses of one name in the report."""
MOST_TRIED, TRIED_S = 8, 2.5
SLOW_MS = 1000.0
"""The C library asks the next resolver after seconds, never sooner."""


@check(
    "control.dns",
    title="Control host's name resolves alike everywhere",
    subject="control",
    codes=(
        codes.CONTROL_DNS_NXDOMAIN,
        codes.CONTROL_DNS_TIMEOUT,
        codes.CONTROL_DNS_REFUSED,
        codes.CONTROL_DNS_TRUNCATED,
        codes.CONTROL_DNS_STRIPPED,
        codes.CONTROL_DNS_SEARCH,
        codes.CONTROL_DNS_SPLIT,
        codes.CONTROL_SLOW,
        codes.CONTROL_URL_OFF_OVERLAY,
        codes.CONTROL_PLAIN_HTTP,
        codes.OVERLAY_ROUTE_LEAK,
        codes.HOST_FIREWALL_DROP,
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
        if (kept_in := await _filtered(ctx, resolution)) is not None:
            yield kept_in
            return
        overlay = await ctx.net.with_routes(ctx.overlay, resolution.all_addresses, url.port)
        used = resolution.system.addresses
        off = bool(used) and all(placement(address, overlay) == "off" for address in used)
        inward = await ctx.net.way_inside(url, used, overlay, ctx.url_source) if off else ()
        yield judge(resolution, url, overlay, inward, await accepting(ctx, resolution, url, overlay))


async def _filtered(ctx: Context, resolution: Resolution) -> Result | None:
    """The rule of this node's own firewall for which no program here gets an answer of a resolver."""
    if resolution.system.outcome == "answer":
        return None
    for lookup in resolution.resolvers:
        if lookup.outcome not in ("timeout", "unreachable", "refused"):
            continue
        if (death := await ctx.net.unasked(lookup.source, resolution.name)) is not None:
            message = f"programs on this node get no address for {resolution.name}: {death.message}"
            decided = death.facts or DeathFacts()
            # As facts, so that the rule that stops other things too is one cause of all of them.
            return replace(_bad(death.code, resolution, message, death.remedies, decided=decided), facts=decided)
    return None


async def accepting(
    ctx: Context, resolution: Resolution, url: ControlUrl, overlay: OverlayState | None
) -> frozenset[str]:
    """Which of the addresses accept connections, where sources differ about them."""
    if resolution.system.outcome != "answer" or not _disagree(resolution, overlay):
        return frozenset()
    tried = resolution.all_addresses[:MOST_TRIED]
    connections = await asyncio.gather(*(ctx.net.tcp.connect(address, url.port, TRIED_S) for address in tried))
    return frozenset(each.address for each in connections if each.outcome == "open")


def judge(
    resolution: Resolution,
    url: ControlUrl,
    overlay: OverlayState | None,
    inward: Remedies = (),
    accepting: frozenset[str] = frozenset(),
) -> Result:
    """Judge all answers together; programs use the system's. inward: how clients are led through the tunnel.

    accepting: addresses at which somebody listens, where sources differ.
    """
    if resolution.system.outcome == "answer":
        return _judge_answer(resolution, url, overlay, inward, accepting)
    found = nameless(resolution, url, overlay)
    return _bad(found.code, resolution, found.message, found.remedies, decided=found.decided)


def _judge_answer(
    resolution: Resolution,
    url: ControlUrl,
    overlay: OverlayState | None,
    inward: Remedies,
    accepting: frozenset[str],
) -> Result:
    used = resolution.system.addresses
    if all(ip_address(address).is_unspecified for address in used):
        return _blocked(resolution)
    off = [address for address in used if placement(address, overlay) in OUTSIDE]
    if (searched := _searched(resolution, overlay)) is not None:
        return searched
    if _disagree(resolution, overlay):
        return _split(resolution, overlay, off=bool(off), accepting=accepting)
    if overlay is not None and used and len(off) == len(used):
        leaks = [address for address in off if placement(address, overlay) == "leak"]
        if leaks:
            return _leaking(resolution, leaks[0], overlay)
        return _off_overlay(resolution, url, overlay, inward)
    return _late(resolution) or _good(resolution, off=off)


def _blocked(resolution: Resolution) -> Result:
    """No host has the address that a filter gives in the place of the right one."""
    name, by_file = resolution.name, _by_file(resolution)
    source = next((each for each in resolution.resolvers if each.outcome == "answer"), resolution.system)
    who = HOSTS_FILE if by_file else source.source
    message = (
        f"{who} gives {listed(resolution.system.addresses)} for {name}, which no host has: so filters do with names "
        "that they block"
    )
    line = f"Let {who} give {name} the control plane's overlay address, or take {name} from its list of blocked names."
    decided = DeathFacts(
        problem="blocked", file=HOSTS_FILE if by_file else None, resolver=None if by_file else address_of(source)
    )
    return _bad(codes.CONTROL_DNS_REFUSED, resolution, message, by_hand(line), decided=decided)


def _leaking(resolution: Resolution, address: str, overlay: OverlayState) -> Result:
    """The name is right, and the route to its address is not."""
    message, remedies = leak(address, overlay)
    leads = f"{resolution.name} resolves to {listed(resolution.system.addresses)}"
    decided = DeathFacts(interface=overlay.routes[address].interface)
    return _bad(codes.OVERLAY_ROUTE_LEAK, resolution, f"{leads}: {message}", remedies, decided=decided, station="route")


def _searched(resolution: Resolution, overlay: OverlayState | None) -> Result | None:
    """The search list made another name of the control host's, with an address off the overlay, and that one won."""
    won = next((lookup for lookup in resolution.resolvers if lookup.outcome == "answer"), None)
    if won is None or not won.asked or won.asked == resolution.name.rstrip("."):
        return None
    used = set(resolution.system.addresses)
    if not used <= set(won.addresses) or any(placement(address, overlay) == "overlay" for address in used):
        return None
    right = next((each for each in resolution.further if _inside(each, overlay)), None)
    if right is None:
        return None
    return _bad(
        codes.CONTROL_DNS_SEARCH,
        resolution,
        f"the search list makes {won.asked} of {resolution.name}, and its answer {listed(won.addresses)} wins, which "
        f"is not on the overlay; {right.asked} has {listed(right.addresses)}",
        named_here(resolution.name, right.addresses[0], resolution.files),
        decided=DeathFacts(asked_name=won.asked, answered_address=won.addresses[0], file=RESOLVERS_FILE),
    )


def _inside(lookup: Lookup, overlay: OverlayState | None) -> bool:
    return any(placement(address, overlay) == "overlay" for address in lookup.addresses)


def _split(resolution: Resolution, overlay: OverlayState | None, *, off: bool, accepting: frozenset[str]) -> Result:
    """Sources disagree. off: what programs use is not on the overlay."""
    name, used = resolution.name, resolution.system.addresses
    dead = bool(accepting) and accepting.isdisjoint(used)
    fatal = off or dead
    by_file = _by_file(resolution)
    leading = next((each for each in resolution.resolvers if set(each.addresses) & set(used)), None)
    odd = None if fatal else next((each for each in resolution.resolvers if set(used).isdisjoint(each.addresses)), None)
    origin = f" (from {HOSTS_FILE})" if by_file else f" (from {leading.source})" if leading else ""
    better = [address for address in resolution.all_addresses if placement(address, overlay) == "overlay"]
    if dead:
        better = [address for address in better if address in accepting]
    line = f"Make every resolver in {RESOLVERS_FILE} and {HOSTS_FILE} give {name} the same overlay address."
    wrong = odd or leading
    return _bad(
        codes.CONTROL_DNS_SPLIT,
        resolution,
        f"the answers about {name} differ; programs on this node use {listed(used)}{origin}"
        + (", which is not on the overlay" if off else "")
        + (f", where no connection is accepted, and one is at {listed(sorted(accepting))}" if dead and not off else "")
        + (f", and {odd.source} does not give that" if odd else ""),
        named_here(name, better[0], resolution.files) if better else by_hand(line, root=True),
        fatal=fatal,
        decided=DeathFacts(
            file=HOSTS_FILE if by_file else None,
            resolver=address_of(wrong) if wrong and not by_file else None,
            answered_address=next(iter(odd.addresses), None) if odd and not by_file else used[0],
        ),
    )


def _by_file(resolution: Resolution) -> bool:
    """Whether programs on this node have all their addresses from the hosts file."""
    return bool(resolution.files.hosts) and set(resolution.system.addresses) <= set(resolution.files.hosts)


def _late(resolution: Resolution) -> Result | None:
    """The first resolver is dead, or in part, and an answer comes anyway: each look-up takes seconds."""
    first, *others = resolution.resolvers or (resolution.system,)
    answering = next((each for each in others if each.outcome == "answer"), None)
    took_ms = resolution.system.rtt_ms or 0.0
    if took_ms < SLOW_MS:
        return None
    takes = f"each look-up of {resolution.name} takes {took_ms / 1000:.1f} s"
    if first.outcome == "timeout" and answering is not None:
        before = resolution.resolvers[: resolution.resolvers.index(answering)]
        silent = list(dict.fromkeys(each.source for each in before if each.outcome == "timeout"))
        dead = f"resolver, {first.source}, does" if len(silent) == 1 else f"resolvers, {listed(silent)}, do"
        message = f"the first {dead} not answer; {answering.source} does, so {takes}"
        remedies = tuple(each for address in silent for each in without_resolver(address, resolution.files))
    elif first.unanswered:
        message = f"{half_silent(first)}, so {takes}"
        remedies = named_here(resolution.name, resolution.system.addresses[0], resolution.files)
    else:
        return None
    return warned(
        codes.CONTROL_SLOW,
        CONTROL,
        Direction.LOCAL,
        message,
        remedies=remedies,
        facts=_facts(resolution),
        measurements=DeathFacts(resolver=first.source, problem=first.unanswered or None).measurements(),
        evidence=(_evidence(resolution),),
        station=request("name"),
    )


def _off_overlay(resolution: Resolution, url: ControlUrl, overlay: OverlayState, remedies: Remedies) -> Result:
    """All sources agree on an address off the overlay: without TLS the bearers leak first of all."""
    used, by_file = resolution.system.addresses, _by_file(resolution)
    leads = f"{resolution.name} resolves to {listed(used)}" + (f", from {HOSTS_FILE}" if by_file else "")
    decided = DeathFacts(
        file=HOSTS_FILE if by_file else None, answered_address=used[0], interface=overlay.routes[used[0]].interface
    )
    off = f"{leads}, which is not on the overlay: {way_text(used[0], overlay)}"
    if by_file:
        return _bad(codes.CONTROL_URL_OFF_OVERLAY, resolution, off, remedies, decided=decided)
    if url.scheme == "http":
        message = f"{url} would send bearers in clear text: {leads}, off the overlay: {way_text(used[0], overlay)}"
        return _bad(codes.CONTROL_PLAIN_HTTP, resolution, message, remedies, decided=decided, station="route")
    return _bad(codes.CONTROL_URL_OFF_OVERLAY, resolution, off, remedies, decided=decided, station="route")


def _good(resolution: Resolution, off: list[str]) -> Result:
    agreeing = [lookup for lookup in resolution.resolvers if lookup.outcome == "answer"]
    notes = [
        f"{len(agreeing)} of {len(resolution.resolvers)} resolvers agree" if agreeing else "from this node's files"
    ]
    notes += [f"{lookup.source}: {lookup.detail}" for lookup in resolution.resolvers if lookup.outcome == "timeout"]
    notes += [f"{listed(off)} is off the overlay"] if off else []
    return passed(
        CONTROL,
        Direction.LOCAL,
        f"{resolution.name} resolves to {listed(resolution.system.addresses)} ({'; '.join(notes)})",
        facts=_facts(resolution),
        evidence=(_evidence(resolution),),
        station=request("name"),
    )


def _facts(resolution: Resolution) -> NameFacts:
    rtt_ms = resolution.system.rtt_ms
    return NameFacts(
        addresses=resolution.system.addresses[:KEPT],
        lookup_ms=round(rtt_ms, 3) if rtt_ms is not None else None,
        resolvers_asked=len(resolution.resolvers),
        resolvers_answering=sum(lookup.outcome == "answer" for lookup in resolution.resolvers),
    )


def _bad(
    code: Code,
    resolution: Resolution,
    message: str,
    remedies: Remedies,
    *,
    decided: DeathFacts,
    fatal: bool = True,
    station: str = "name",
) -> Result:
    each = "; ".join(said(lookup) for lookup in (resolution.system, *resolution.resolvers))
    return (failed if fatal else warned)(
        code,
        CONTROL,
        Direction.LOCAL,
        f"{message} ({each})",
        remedies=remedies,
        # Who explains a name that is not found asks whether it has an address.
        facts=None if resolution.system.addresses else _facts(resolution),
        measurements=decided.measurements(),
        evidence=(_evidence(resolution),),
        station=request(station),
    )


def _not_applicable(message: str) -> Result:
    return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.LOCAL, message)


def _disagree(resolution: Resolution, overlay: OverlayState | None) -> bool:
    """Two sources share no address, one is on the overlay and one is not, or only some resolvers know the name."""
    by_file = _by_file(resolution)
    # Programs that have the name from the hosts file never ask a resolver.
    asked = [each for each in resolution.resolvers if not by_file or _inside(each, overlay)]
    sets = [set(each.addresses) for each in (resolution.system, *asked) if each.outcome == "answer"]
    if any(one.isdisjoint(other) for one in sets for other in sets):
        return True
    if len({any(placement(address, overlay) in OUTSIDE for address in one) for one in sets}) > 1:
        return True
    return {"answer"} < {each.outcome for each in asked} & {"answer", "nxdomain", "no-address"}


def _evidence(resolution: Resolution) -> Evidence:
    rows = [
        {
            "source": lookup.source,
            "asked": lookup.asked or resolution.name,
            "outcome": lookup.outcome,
            "addresses": list(lookup.addresses[:KEPT]),
            "rtt_ms": round(lookup.rtt_ms, 3) if lookup.rtt_ms is not None else None,
            "detail": lookup.detail,
        }
        for lookup in (resolution.system, *resolution.resolvers, *resolution.further)
    ]
    return Evidence("dns", f"what each source says about {resolution.name}", rows)
