"""Does a captive portal answer in the place of the network?"""

from collections.abc import AsyncGenerator

from preflight.api import CONTROL, NODE, Context, Direction, Result, by_hand, check, codes, failed, passed, skipped
from preflight.model.facts import AnswerFacts, DeathFacts, EchoFacts, HealthFacts
from preflight.model.kernel import NeedsPlatform
from preflight.model.tcp import Interception

PATIENCE_S = 1.5
"""For a connection and an answer: a portal is a few hops away."""
OF_A_PORTAL = frozenset({*range(200, 400), 511})
"""Its page, a redirect to it, or "network authentication required" (RFC 6585). A proxy that cannot reach an address
answers 502 to 504, and a filter 403."""


@check(
    "host.portal",
    title="No captive portal answers in the place of the network",
    subject="node",
    after=("overlay.session", "reach.icmp", "reach.udp", "control.connect", "control.tls", "control.health"),
    when="trouble",
    reads=(AnswerFacts, EchoFacts, HealthFacts),
    timeout=10,
    codes=(codes.HOST_CAPTIVE_PORTAL,),
)
async def host_portal(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks for a web page at an address that no host has (192.0.2.1 or 2001:db8::1), outside the tunnel.

    It runs only where no peer and no control plane answered. Only a portal or a proxy on the way can answer.
    """
    if heard := _heard(ctx):
        yield skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, f"{heard} answers, so no portal is in the way")
        return
    try:
        addresses = [peer.address for peer in ctx.peers]
        yield judge(await ctx.net.nobody_answers(ctx.overlay, addresses, PATIENCE_S))
    except NeedsPlatform as error:
        yield skipped(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))


def _heard(ctx: Context) -> str | None:
    """A target that answered in this run."""
    for peer in ctx.peers:
        answered = any(facts.answered for facts in ctx.facts(AnswerFacts, peer.target))
        if answered or any(facts.received or facts.udp_answered for facts in ctx.facts(EchoFacts, peer.target)):
            return peer.target
    return "the control plane" if ctx.facts(HealthFacts, CONTROL) else None


def judge(answer: Interception | None) -> Result:
    """A page or a redirect from nobody is a portal's."""
    if answer is None:
        return passed(NODE, Direction.LOCAL, "nobody answers in the place of an address that no host has")
    said = f"HTTP {answer.status}" + (f" and a redirect to {answer.location}" if answer.location else "")
    if answer.status not in OF_A_PORTAL:
        message = f"a proxy on the way of {answer.device} answers for {answer.address} with {said}; it is not a portal"
        return passed(NODE, Direction.LOCAL, message)
    return failed(
        codes.HOST_CAPTIVE_PORTAL,
        NODE,
        Direction.LOCAL,
        f"a captive portal answers in the place of the network: http://{answer.address}/, an address that no host has, "
        f"brought {said} by {answer.device}, while neither a peer nor the control plane answers",
        facts=DeathFacts(
            address=answer.address, interface=answer.device, http_status=answer.status, location=answer.location
        ),
        remedies=by_hand(f"Open http://{answer.address}/ with a browser on this node, and accept what the page asks."),
    )
