"""What the daemons know of the NAT before this node: asked only where traffic is relayed.

`tailscale netcheck` asks the relays of the tailnet again, as its daemon does all the time; it is never run without one.
"""

from collections.abc import Collection, Mapping
from typing import Any

from preflight.model.event import Tell, silent
from preflight.model.host_port import split_host_port
from preflight.model.own_nat import OwnNat
from preflight.overlay import nebula, zerotier
from preflight.overlay.json_types import endpoint_in, table, text, texts
from preflight.overlay.local import LocalError, parse_json, run, understood

LOCAL_CONF = "/var/lib/zerotier-one/local.conf"
NETCHECK_S = 6.0
"""Without UDP it tries other ways for some seconds."""


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
