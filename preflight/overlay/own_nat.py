"""What the daemons know of the NAT before this node: asked only where traffic is relayed.

`tailscale netcheck` asks the relays of the tailnet again, as its daemon does all the time; it is never run without one.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from preflight.model.event import Tell, silent
from preflight.model.host_port import split_host_port
from preflight.model.kernel import Link
from preflight.model.own_nat import OwnNat
from preflight.model.stun import StunAnswer, depends_on_destination
from preflight.overlay import nebula, zerotier
from preflight.overlay.json_types import endpoint_in, table, text, texts
from preflight.overlay.local import LocalError, parse_json, run, understood

LOCAL_CONF = "/var/lib/zerotier-one/local.conf"
MOST_SERVERS = 3
NETCHECK_S = 6.0
"""Without UDP it tries other ways for some seconds."""


async def known_nat(
    product: str, links: Iterable[Link], ask: Callable[[], Awaitable[Sequence[StunAnswer]]], tell: Tell = silent
) -> OwnNat | None:
    """What a product knows, and what STUN servers see where it does not know the kind of the NAT.

    Tailscale's own tool asks the tailnet's relays for it. links: with this node's addresses. ask: puts the question to
    the servers of the settings.
    """
    own = {str(each.ip) for link in links for each in link.addresses}
    said = await read_nat(product, own, tell)
    settled = said is not None and (said.hard is not None or said.udp is False)
    if settled or (said is not None and (said.forced is not None or said.barred or said.punches is False)):
        return said
    return completed(said, of_servers(await ask(), own))


async def read_nat(product: str, own: Collection[str], tell: Tell = silent) -> OwnNat | None:
    """What a product knows; None where it does not know, or cannot be asked. own: this node's addresses."""
    try:
        with understood(product):
            match product:
                case "tailscale":
                    _, output = await run("tailscale", "netcheck", "--format=json", tell=tell, timeout_s=NETCHECK_S)
                    return of_netcheck(table(parse_json(output, "`tailscale netcheck`")), own)
                case "zerotier":
                    return of_service(table(await zerotier.ask("info", tell)), own)
                case "nebula":
                    return of_configuration(*nebula.configuration())
    except LocalError:
        pass
    return None


def of_netcheck(said: Mapping[str, Any], own: Collection[str]) -> OwnNat:
    """`tailscale netcheck --format=json`."""
    outside = [text(said.get(key)) for key in ("GlobalV4", "GlobalV6") if said.get(key)]
    mapped = [_flag(said.get(kind)) for kind in ("UPnP", "PMP", "PCP")]
    return OwnNat(
        by="tailscale netcheck",
        udp=_flag(said.get("UDP")),
        hard=_flag(said.get("MappingVariesByDestIP")),
        translated=_translated(outside, own),
        port_mapping=any(mapped) if None not in mapped else True if any(mapped) else None,
    )


def of_service(info: Mapping[str, Any], own: Collection[str]) -> OwnNat:
    """ZeroTier's own state: the addresses at which roots and members see it, and whether it has to use TCP."""
    settings = table(table(info.get("config")).get("settings"))
    seen = [endpoint_in(each, "/") for each in texts(settings.get("surfaceAddresses"))]
    ports: dict[str, set[int]] = {}
    for host, port in map(split_host_port, seen):
        ports.setdefault(host, set()).add(port)
    several = any(len(each) > 1 for each in ports.values())
    fallback = _flag(info.get("tcpFallbackActive"))
    if _flag(settings.get("forceTcpRelay")):
        return OwnNat(by="ZeroTier", forced="forceTcpRelay", file=LOCAL_CONF)
    ways = table(table(info.get("config")).get("physical"))
    barred = tuple(network for network, each in ways.items() if table(each).get("blacklist") is True)
    return OwnNat(
        by="ZeroTier",
        file=LOCAL_CONF if barred else None,
        barred=barred,
        udp=False if fallback else True if seen else None,
        # One port may be all that one root has seen.
        hard=True if several else None,
        translated=_translated(seen, own),
        port_mapping=False if settings.get("portMappingEnabled") is False else None,
    )


def of_servers(answers: Sequence[StunAnswer], own: Collection[str]) -> OwnNat | None:
    """What STUN servers see of one socket of this node; None where none of them answers."""
    seen = {answer.server: answer.mapped for answer in answers if answer.mapped}
    if not seen:
        return None
    moved = [each for each in answers if each.mapped and each.local and not _same_port(each.mapped, each.local)]
    words = [f"{server} sees {mapped}" for server, mapped in seen.items()]
    return OwnNat(
        by=" and ".join(words[:MOST_SERVERS]),
        udp=True,
        hard=depends_on_destination(answers),
        translated=bool(moved) or _translated(list(seen.values()), own),
    )


def _same_port(one: str, other: str) -> bool:
    return split_host_port(one)[1] == split_host_port(other)[1]


def completed(said: OwnNat | None, seen: OwnNat | None) -> OwnNat | None:
    """What the servers see, with what only the product knows."""
    if seen is None or said is None:
        return said or seen
    return replace(seen, port_mapping=said.port_mapping, file=said.file, punches=said.punches)


def of_configuration(config: Mapping[str, Any], file: str) -> OwnNat:
    """Nebula's configuration: it opens ways in a NAT only where it is set to."""
    return OwnNat(by=file, punches=table(config.get("punchy")).get("punch") is True, file=file)


def _flag(value: Any) -> bool | None:
    """True or false, as it is or in a word; None for anything else."""
    return {"true": True, "false": False}.get(str(value).lower())


def _translated(outside: Collection[str], own: Collection[str]) -> bool | None:
    """Whether none of the addresses that others see is this node's; None where nobody sees any."""
    if not outside:
        return None
    return not any(split_host_port(each)[0] in own for each in outside)
