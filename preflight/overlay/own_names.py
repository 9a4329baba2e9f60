"""Which names an overlay resolves, where this node does not let it: asked only where a name is not found."""

from collections.abc import Iterable, Mapping
from typing import Any

from preflight.model.event import Tell, silent
from preflight.model.overlay import Withheld
from preflight.overlay import tailscale, zerotier
from preflight.overlay.json_types import table, text
from preflight.overlay.local import LocalError, understood


async def read_names(product: str, tell: Tell = silent) -> tuple[Withheld, ...]:
    """The domains of a product; none where it has none, or cannot be asked."""
    try:
        with understood(product):
            if product == "tailscale":
                return of_tailnet(*[table(await tailscale.ask(what, tell)) for what in ("status", "prefs")])
            if product == "zerotier":
                return of_networks([table(each) for each in await zerotier.ask("listnetworks", tell)])
    except LocalError:
        pass
    return ()


def of_tailnet(status: Mapping[str, Any], preferences: Mapping[str, Any]) -> tuple[Withheld, ...]:
    """The tailnet's own domain."""
    tailnet = table(status.get("CurrentTailnet"))
    domain = _domain(tailnet.get("MagicDNSSuffix"))
    withheld = preferences.get("CorpDNS") is False and tailnet.get("MagicDNSEnabled") is True
    return (Withheld(domain),) if withheld and domain else ()


def of_networks(networks: Iterable[Mapping[str, Any]]) -> tuple[Withheld, ...]:
    """The domain that each network's controller gives."""
    off = [each for each in networks if each.get("allowDNS") is False]
    named = ((_domain(_given(each).get("domain")), text(each.get("nwid") or each.get("id"))) for each in off)
    return tuple(Withheld(domain, network) for domain, network in named if domain)


def _given(network: Mapping[str, Any]) -> Mapping[str, Any]:
    """What its controller says of names; some versions give an empty list where it says nothing."""
    return table(network.get("dns") or None)


def _domain(value: Any) -> str:
    return text(value).lower().strip(".")
