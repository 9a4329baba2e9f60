"""Fixes by the levers of the products themselves: what this node takes from its overlay's network."""

from dataclasses import dataclass
from typing import Literal, get_args

from preflight.model import parameters
from preflight.model.change import STRICT, Change, Command

TailscaleOption = Literal["accept-routes", "accept-dns", "exit-node-allow-lan-access"]
ZeroTierOption = Literal["allowManaged", "allowDNS", "allowGlobal", "allowDefault"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TailscaleTakes(Change):
    """Let this node take what its tailnet gives: routes of its peers, or the names of its resolver."""

    __pydantic_config__ = STRICT

    id: Literal["tailscale.take"] = "tailscale.take"
    option: TailscaleOption

    def __post_init__(self) -> None:
        parameters.one_of(self.option, get_args(TailscaleOption))

    def _commands(self) -> tuple[Command, ...]:
        return (("tailscale", "set", f"--{self.option}"),)

    @property
    def back(self) -> Command:
        """The command that undoes it."""
        return "tailscale", "set", f"--{self.option}=false"


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroTierTakes(Change):
    """Let this node take what a network's controller gives: addresses and routes, or names. network: its number."""

    __pydantic_config__ = STRICT

    id: Literal["zerotier.take"] = "zerotier.take"
    network: str
    option: ZeroTierOption

    def __post_init__(self) -> None:
        parameters.zerotier_network(self.network)
        parameters.one_of(self.option, get_args(ZeroTierOption))

    def _commands(self) -> tuple[Command, ...]:
        return (("zerotier-cli", "set", self.network, f"{self.option}=1"),)

    @property
    def back(self) -> Command:
        """The command that undoes it."""
        return "zerotier-cli", "set", self.network, f"{self.option}=0"
