"""Asks this node's kernel and firewall why a connection fails; it only reads, and tries once more."""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from preflight.model.event import Listener
from preflight.model.flow import Flow, Protocol
from preflight.model.kernel import NeedsPlatform
from preflight.model.peer import Peer
from preflight.net.way.answers import Answers
from preflight.net.way.firewall import Firewall
from preflight.net.way.routes import KernelState
from preflight.proto.way.netfilter.burst import Burst
from preflight.proto.way.netfilter.observe import observe_filters
from preflight.proto.way.netfilter.ruleset import FilterSnapshot
from preflight.proto.way.observation import Death
from preflight.proto.way.own_refusal import own_refusal
from preflight.proto.way.tunnel_side import tunnel_side

if TYPE_CHECKING:
    from preflight.model.overlay import OverlayState


async def refusal_of(
    host: Peer, port: int, overlay: "OverlayState | None", listener: Listener | None = None
) -> Death | None:
    """Why the kernel sends no TCP to a host; None if it does, or cannot be asked.

    overlay: the host is judged by the tunnel that claims its address, if one does.
    """
    flow = question(host.address, port, "tcp")
    claimed = overlay is not None and any(each.claims(host.address) >= 0 for each in overlay.own_tunnels)
    tunnel = tunnel_side(host, overlay.tunnel_for(host.address)) if overlay is not None and claimed else None
    with suppress(NeedsPlatform, OSError):
        return own_refusal(await KernelState(listener).snapshot([flow]), flow, host.target, tunnel)
    return None


def question(address: str, port: int, protocol: Protocol) -> Flow:
    """What a program of this process's user sends there."""
    return Flow(source="", destination=address, protocol=protocol, destination_port=port, uid=os.getuid())


def _untouched(rules: FilterSnapshot, leaving: Flow) -> bool:
    """Whether no rule can stop a question or its answer, so that another try would show nothing."""
    bursts = (Burst(flow=leaving), Burst(flow=leaving.answer(), direction="reverse"))
    return rules.unreadable is not None or all(
        each.finding == "clear" for each in observe_filters(rules, rules, bursts)
    )


async def filtered(
    asked: Flow, attempt: Callable[[], Awaitable[bool]], listener: Listener | None = None
) -> Death | None:
    """The rule of this node's own firewall that stops a question, or its answer; None if none does, or nobody may look.

    asked: the question, with where it goes. attempt: sends it, in one packet or a few, and waits a moment; whether
    something refused it. An answer that comes in and is not heard dies here; a refusal that does not come in is this
    node's own.
    """
    with suppress(NeedsPlatform, OSError):
        lookup = (await KernelState(listener).snapshot([asked])).lookup(asked)
        if lookup is None or lookup.refused or lookup.interface is None or asked.destination_port is None:
            return None
        leaving = replace(asked, source=lookup.source or "", interface_out=lookup.interface)
        firewall = Firewall(listener)
        if _untouched(firewall.snapshot([leaving]), leaving):
            return None
        with Answers(lookup.interface, asked.destination, asked.destination_port, asked.protocol) as heard:
            before = firewall.snapshot()
            refused = await attempt()
            ports = heard.taken()
            if refused and (ports or heard.blind):
                return None
        coming = {port: replace(leaving, source_port=port).answer() for port in ports}
        answers = [Burst(flow=flow, direction="reverse", sent=ports.count(port)) for port, flow in coming.items()]
        bursts = answers or [Burst(flow=leaving, sent=1)]
        found = observe_filters(before, firewall.snapshot([leaving, *coming.values()]), bursts)
        deaths = [each.death for each in found if each.death is not None]
        return next((death for death in deaths if death.certain or not refused), None)
    return None
