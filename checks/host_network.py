"""Does anyone behind this node's own gateway answer?"""

from collections.abc import AsyncGenerator

from preflight.api import CONTROL, NODE, Context, Direction, Observation, Result, check, codes, failed, passed, skipped
from preflight.model.facts import AnswerFacts, EchoFacts, HealthFacts
from preflight.model.kernel import NeedsPlatform
from preflight.proto.way.beyond import dead_network
from preflight.proto.way.stations import Station

_WIRE = Station("wire")


@check(
    "host.network",
    title="Somebody behind this node's own gateway answers",
    subject="node",
    after=("overlay.session", "reach.icmp", "reach.udp", "control.connect", "control.tls", "control.health"),
    when="trouble",
    reads=(AnswerFacts, EchoFacts, HealthFacts),
    timeout=20,
    privileges=("net_raw",),
    codes=(codes.HOST_NETWORK_DEAD,),
)
async def host_network(ctx: Context) -> AsyncGenerator[Result, None]:
    """Traces endpoints of the tunnels that are in different networks, outside the tunnels, by UDP and by echo.

    It runs only where no peer and no control plane answered. One endpoint alone says nothing: its host may be off.
    """
    if _heard(ctx):
        yield skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.LOCAL, "somebody answers, so the network is not dead")
        return
    try:
        death = dead_network(await ctx.net.beyond_gateway(ctx.overlay))
    except PermissionError:
        yield skipped(codes.RUN_NEEDS_PRIVILEGE, NODE, Direction.LOCAL, "traces of endpoints need CAP_NET_RAW")
        return
    except NeedsPlatform as error:
        yield skipped(codes.RUN_NEEDS_PLATFORM, NODE, Direction.LOCAL, str(error))
        return
    if death is None:
        yield passed(NODE, Direction.LOCAL, "nothing shows that the whole network behind the gateway is dead")
        return
    yield failed(
        death.code,
        NODE,
        Direction.ROUND_TRIP,
        death.message,
        station=Station("network", "network"),
        facts=death.facts,
        remedies=death.remedies,
        observations=(
            Observation(station=Station("wire"), finding="seen", packets="data", reason="the gateway answers"),
        ),
    )


def _heard(ctx: Context) -> bool:
    """Whether any target answered in this run."""
    for peer in ctx.peers:
        answered = any(facts.answered for facts in ctx.facts(AnswerFacts, peer.target))
        if answered or any(facts.received or facts.udp_answered for facts in ctx.facts(EchoFacts, peer.target)):
            return True
    return bool(ctx.facts(HealthFacts, CONTROL))
