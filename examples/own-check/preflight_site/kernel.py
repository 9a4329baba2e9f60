"""Does this node run a kernel that our fleet supports?"""

import platform
import re
from collections.abc import AsyncGenerator

from preflight.api import NODE, Code, Context, Direction, Result, check, failed, passed

TOO_OLD = Code("site.kernel-too-old", "The kernel is older than our fleet supports")
OLDEST = (5, 10)


@check("site.kernel", title="The kernel is one that our fleet supports", subject="node", codes=(TOO_OLD,))
async def site_kernel(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compares the running kernel with the oldest one that we support; it reads one string and sends nothing."""
    yield judge(platform.release())


def judge(release: str) -> Result:
    """Pure, so that a table of cases tests it without a network."""
    found = re.match(r"(\d+)\.(\d+)", release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    facts = {"measurements": {"kernel": release}}
    if version >= OLDEST:
        return passed(NODE, Direction.LOCAL, f"kernel {release} is supported", **facts)
    oldest = ".".join(map(str, OLDEST))
    message = f"kernel {release} is older than {oldest}, which our fleet needs"
    return failed(
        TOO_OLD, NODE, Direction.LOCAL, message, remedy="apt-get install linux-image-amd64 && reboot", **facts
    )
