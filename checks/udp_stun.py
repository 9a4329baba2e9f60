"""Does UDP leave the site at all, and which address and port does the outside see for this node?"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from preflight.api import (
    NODE,
    Context,
    Direction,
    Evidence,
    Measurement,
    Result,
    check,
    codes,
    failed,
    inconclusive,
    look,
    passed,
    skipped,
)
from preflight.model.host_port import split_host_port
from preflight.model.kernel import NeedsPlatform
from preflight.model.stun import StunAnswer, depends_on_destination, host_of

LEAST_HOSTS = 2
"""One silent server may be down."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What the servers reported. own: this node's addresses. echoes: whether each silent server's address answers
    echoes.
    """

    answers: tuple[StunAnswer, ...]
    own: frozenset[str] = frozenset()
    echoes: Mapping[str, bool] = field(default_factory=dict)

    @property
    def mapped(self) -> list[StunAnswer]:
        """The servers that answered."""
        return [answer for answer in self.answers if answer.mapped]


@check(
    "udp.stun",
    title="UDP leaves the site, and its address outside",
    subject="node",
    timeout=20,
    codes=(codes.UDP_BLOCKED,),
)
async def udp_stun(ctx: Context) -> AsyncGenerator[Result, None]:
    """Asks the STUN servers in the settings where they see one socket of this node.

    It asks no other server. If all are silent, it sends echoes to their hosts.
    """
    servers = ctx.settings.stun.servers
    try:
        outside = await measure(ctx, servers) if servers else None
    except NeedsPlatform as error:
        yield inconclusive(codes.RUN_NEEDS_PLATFORM, NODE, Direction.ROUND_TRIP, str(error))
    else:
        yield judge(outside)


async def measure(ctx: Context, servers: Sequence[str]) -> Outside:
    """A round trip if a server answers; 3 s and an echo if one does not."""
    answers = await ctx.net.stun.ask(servers)
    own = frozenset(str(each.ip) for link in await ctx.net.kernel.links() for each in link.addresses)
    if any(answer.mapped for answer in answers):
        return Outside(answers, own)
    silent = sorted({answer.address for answer in answers if answer.why == "silent" and answer.address})
    echoed = await asyncio.gather(
        *(ctx.net.icmp.echo(address, count=3, interval_s=0.1, timeout_s=1.0) for address in silent)
    )
    return Outside(answers, own, {address: echo.received > 0 for address, echo in zip(silent, echoed, strict=True)})


def judge(outside: Outside | None) -> Result:
    """Report blocked UDP only if several hosts answer echoes and none of them answers UDP."""
    if outside is None:
        message = "no STUN server is set (stun: {servers: [HOST:PORT]} in the settings), and there is no default"
        return skipped(codes.RUN_NOT_APPLICABLE, NODE, Direction.ROUND_TRIP, message)
    evidence = (Evidence("stun", "what each server reported", [asdict(answer) for answer in outside.answers]),)
    if outside.mapped:
        return passed(NODE, Direction.ROUND_TRIP, _seen(outside), measurements=_measured(outside), evidence=evidence)
    alive = [address for address, answered in outside.echoes.items() if answered]
    all_silent = all(answer.why == "silent" for answer in outside.answers)
    if all_silent and len(alive) >= LEAST_HOSTS and len(alive) == len(outside.echoes):
        return failed(
            codes.UDP_BLOCKED,
            NODE,
            Direction.ROUND_TRIP,
            f"none of {len(outside.answers)} STUN servers answers over UDP, while the hosts of all of them "
            f"({', '.join(alive)}) answer ICMP echo: UDP to their ports is filtered",
            remedies=look(
                "nft list ruleset | grep -nE 'hook (output|forward)|udp|drop'   # here, then the site's firewall",
                root=True,
            ),
            evidence=evidence,
        )
    return inconclusive(
        codes.RUN_NEEDS_RESPONDER,
        NODE,
        Direction.ROUND_TRIP,
        f"no STUN server reported this node's address ({_reasons(outside.answers)}); a server that is known to answer "
        "others would show whether UDP is filtered or the servers are down",
        remedies=look("Set two STUN servers at different places that answer: stun: {servers: [HOST:PORT, HOST:PORT]}."),
        evidence=evidence,
    )


def _seen(outside: Outside) -> str:
    mapped = outside.mapped
    of = f"{len(mapped)} of {len(outside.answers)} STUN servers answer"
    places = ", ".join(dict.fromkeys(str(answer.mapped) for answer in mapped))
    if not any(_translated(answer, outside.own) for answer in mapped):
        return f"UDP leaves, and nothing translates its address: {of} and see {places}"
    local = ", ".join(dict.fromkeys(str(answer.local) for answer in mapped))
    return f"UDP leaves through a NAT: {of} and see {local} as {places}{_dependence(mapped)}"


def _dependence(mapped: Sequence[StunAnswer]) -> str:
    match depends_on_destination(mapped):
        case True:
            return (
                "; each destination sees a different mapping, so a direct path to a peer behind another such NAT is "
                "not possible"
            )
        case False:
            return "; the mapping does not depend on the destination"
        case None:
            return "; to see whether it depends on the destination, add a second server at another place"


def _translated(answer: StunAnswer, own: Collection[str]) -> bool:
    """Whether the address is not this node's, or the port is not the socket's."""
    if answer.mapped is None or answer.local is None:
        return False
    same_port = split_host_port(answer.mapped)[1] == split_host_port(answer.local)[1]
    return host_of(answer.mapped) not in own or not same_port


def _reasons(answers: Sequence[StunAnswer]) -> str:
    words = {
        "silent": "silent",
        "closed": "its host says that the port is closed",
        "no-name": "its name has no address",
        "no-route": "packets to it cannot leave this node",
        "refused": "it answers with an error",
    }
    return ", ".join(
        f"{answer.server}: {words[answer.why or 'silent']}{f' ({answer.detail})' if answer.detail else ''}"
        for answer in answers
    )


def _measured(outside: Outside) -> dict[str, Measurement]:
    mapped = outside.mapped
    rtts = [answer.rtt_ms for answer in mapped if answer.rtt_ms is not None]
    return {
        "mapped": list(dict.fromkeys(str(answer.mapped) for answer in mapped)),
        "local": list(dict.fromkeys(str(answer.local) for answer in mapped)),
        "translated": any(_translated(answer, outside.own) for answer in mapped),
        "depends_on_destination": depends_on_destination(mapped),
        "rtt_min_ms": min(rtts, default=None),
    }
