"""Load towards a responder, from another process: `python -m benchmarks.asker ADDRESS PORT KEY-FILE SECONDS ROUNDS`.

Prints one line of JSON: what the flows carried, what the round trip is without them and during one, and when that was.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from preflight.model.load import Flow, FlowKind, LoadedDelay
from preflight.model.peer import Peer
from preflight.net.load.probes import LoadProbes
from preflight.proto.load.asking import udp_mbit
from preflight.proto.load.wire import Amount
from preflight.settings.load import Secrets, Settings

MOST_BYTES = 10**9
MOST_MBIT = 1000.0
WAYS: tuple[tuple[str, FlowKind, FlowKind], ...] = (("up", "tcp-up", "udp-up"), ("down", "tcp-down", "udp-down"))


async def measure(peer: Peer, key: bytes, seconds: float, rounds: int) -> dict[str, Any]:
    """Each flow once, but the delay next to one as often as `rounds` says: each time and the round trip in a list."""
    probes, found = LoadProbes(Settings(secrets=Secrets(responder_key=key))), dict[str, Any]()
    for way, tcp, udp in WAYS:
        delays = [await probes.delay(peer, tcp, Amount(seconds, MOST_BYTES)) for _ in range(rounds)]
        known = [each for each in delays if isinstance(each, LoadedDelay)]
        found[f"idle_ms_{way}"] = [each.idle_rtt_ms for each in known]
        found[f"loaded_ms_{way}"] = [each.loaded_rtt_ms for each in known]
        found[f"when_{way}"] = [(each.flow.began_ns / 1e9, each.flow.ended_ns / 1e9) for each in known]
        first = await probes.flow(peer, tcp, Amount(seconds, MOST_BYTES))
        rate = first.arrived.mbit_s if isinstance(first, Flow) else None
        kbit = round(udp_mbit(rate, MOST_MBIT) * 1000)
        second = await probes.flow(peer, udp, Amount(seconds, MOST_BYTES, kbit))
        found |= {f"tcp_{way}": rate, f"udp_{way}": second.arrived.mbit_s if isinstance(second, Flow) else None}
    return found


if __name__ == "__main__":
    address, port, file, duration, often = sys.argv[1:]
    target = Peer(address, "b", int(port))
    print(json.dumps(asyncio.run(measure(target, Path(file).read_bytes().strip(), float(duration), int(often)))))
