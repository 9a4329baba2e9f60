"""May this process open the sockets that ICMP needs?"""

from collections.abc import AsyncGenerator

from preflight.api import NODE, Context, Direction, Result, check, codes, passed, warned
from preflight.proto.icmp.advice import allow_echoes


@check(
    "host.sockets",
    title="ICMP sockets can be opened",
    subject="node",
    timeout=5,
    privileges=("net_raw",),
    codes=(codes.HOST_NO_RAW_SOCKET,),
)
async def host_sockets(ctx: Context) -> AsyncGenerator[Result, None]:
    """Opens a raw and a ping socket and closes them again; it takes one of them to send echoes."""
    yield judge(raw=ctx.net.icmp.raw_socket(), ping=ctx.net.icmp.ping_socket())


def judge(*, raw: bool, ping: bool) -> Result:
    """Judge by which sockets could be opened."""
    measurements = {"raw_socket": raw, "ping_socket": ping}
    if raw or ping:
        kind = "raw" if raw else "ping"
        return passed(
            NODE, Direction.LOCAL, f"{kind} sockets can be opened, so echoes can be sent", measurements=measurements
        )
    return warned(
        codes.HOST_NO_RAW_SOCKET,
        NODE,
        Direction.LOCAL,
        "this process may open neither raw nor ping sockets, so ICMP echo measures nothing",
        remedies=allow_echoes(),
        measurements=measurements,
    )
