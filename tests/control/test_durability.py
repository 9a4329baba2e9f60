"""What was acknowledged survives `kill -9` in the middle of everything; nothing is granted twice."""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.control.conftest import Server, StartServer

LIVES = 20
WORKERS = 6
SCOPE_KEYS = 12
HOUR_MS = "3600000"


@dataclass
class Ledger:
    """What the server said yes to, over all its lives."""

    versions: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    exchanged: list[str] = field(default_factory=list)
    answers: int = 0


class Worker:
    """One client: it joins, delivers, acknowledges and asks for leases until the server is gone."""

    def __init__(self, number: int, client: httpx.AsyncClient, ledger: Ledger, dice: random.Random) -> None:
        self.node = f"node-{number}"
        self.mailbox = str(number)
        self.client = client
        self.ledger = ledger
        self.dice = dice

    async def work(self) -> None:
        """Runs into a transport error, sooner or later."""
        await self.join()
        while True:
            await self.dice.choice((self.join, self.deliver, self.deliver, self.acknowledge, self.lease))()

    async def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Send a request; an answer counts."""
        answer = await self.client.post(f"/v1/populi{path}", json=body)
        self.ledger.answers += 1
        return answer

    async def join(self) -> None:
        """Join again, under the next version."""
        version = self.ledger.versions.get(self.node, 0) + 1
        record = {"id": self.node, "capabilities": {}, "version": str(version), "last_seen_unix_ms": 0}
        assert (await self.post("/join", record)).status_code == 200
        self.ledger.versions[self.node] = version

    async def deliver(self) -> None:
        """Put a message into the own mailbox."""
        key = f"{self.mailbox}-{self.dice.random()}"
        answer = await self.post("/a2a/deliver", message(self.mailbox, key))
        self.ledger.messages[key] = answer.json()["message_id"]

    async def acknowledge(self) -> None:
        """Take one of the own messages out; until the answer comes nobody knows."""
        mine = [row for key, row in self.ledger.messages.items() if key.startswith(f"{self.mailbox}-")]
        waiting = sorted(set(mine) - self.ledger.acknowledged - self.ledger.unsure)
        if not waiting:
            return
        row = self.dice.choice(waiting)
        self.ledger.unsure.add(row)
        answer = await self.post("/a2a/ack", {"receiver_agent_id": self.mailbox, "message_id": row})
        assert answer.status_code == 204
        self.ledger.acknowledged.add(row)

    async def lease(self) -> None:
        """Ask for one of the keys that all workers want; whoever had it first has it for ever."""
        scope_key = f"task:{self.dice.randrange(SCOPE_KEYS)}"
        answer = await self.post("/exec/lease/grant", {"claimer_node_id": self.node, "scope_key": scope_key})
        assert answer.status_code in {200, 409}
        if answer.status_code == 200:
            lease = answer.json()
            known = self.ledger.leases.setdefault(scope_key, lease)
            assert (lease["holder_node_id"], lease["lease_id"]) == (known["holder_node_id"], known["lease_id"])


def message(mailbox: str, key: str) -> dict[str, Any]:
    body = {"sender_agent_id": "1", "receiver_agent_id": mailbox, "message_type": "note", "payload": key}
    return body | {"idempotency_key": key}


@pytest.mark.timeout(110)
def test_nothing_acknowledged_is_lost_and_nothing_granted_twice(start_server: "StartServer") -> None:
    """Twenty lives of one database, each ended by SIGKILL under concurrent load; every life checks the ones before."""
    dice = random.Random(4711)
    ledger = Ledger()
    server: Server | None = None
    for life in range(LIVES):
        # A token lives two lives: in the first its buyers are cut off, in the second they ask again.
        variables = {
            "VOX_MESH_TOKEN": "mesh-token-of-the-tests",
            "VOX_MESH_BOOTSTRAP_TOKEN": f"one-time-token-{life // 2}",
            "VOX_MESH_A2A_LEASE_MS": HOUR_MS,
        }
        if server is None:
            server = start_server(variables)
        else:
            server.variables = variables
            server.start()
        asyncio.run(live(server, ledger, dice, life))
    assert min(len(ledger.versions), len(ledger.messages), len(ledger.acknowledged), len(ledger.leases)) >= WORKERS


async def live(server: "Server", ledger: Ledger, dice: random.Random, life: int) -> None:
    """Check what was promised in earlier lives, then work until the server is killed."""
    headers = {"authorization": "Bearer mesh-token-of-the-tests"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=30) as client:
        await check(client, ledger)
        if life % 2:
            await check_exchange(client, ledger, f"one-time-token-{life // 2}")
        workers = [
            asyncio.create_task(Worker(number, client, ledger, random.Random(dice.random())).work())
            for number in range(WORKERS)
        ]
        buyers = [
            asyncio.create_task(buy(client, ledger, f"one-time-token-{life // 2}", f"buyer-{number}"))
            for number in range(0 if life % 2 else WORKERS)
        ]
        enough = ledger.answers + dice.randrange(1, 120)
        while ledger.answers < enough and not any(worker.done() for worker in workers):
            await asyncio.sleep(0.001)
        server.kill()
        outcomes = await asyncio.gather(*workers, *buyers, return_exceptions=True)
    broken = [error for error in outcomes if error is not None and not isinstance(error, httpx.TransportError)]
    assert not broken


async def buy(client: httpx.AsyncClient, ledger: Ledger, token: str, key: str) -> None:
    body = {"bootstrap_token": token, "idempotency_key": key}
    answer = await client.post("/v1/populi/bootstrap/exchange", json=body)
    assert answer.status_code in {200, 410}
    if answer.status_code == 200:
        ledger.exchanged.append(f"{token}/{key}")


async def check(client: httpx.AsyncClient, ledger: Ledger) -> None:
    """Everything in the ledger is on the server."""
    nodes = (await client.get("/v1/populi/nodes")).json()["nodes"]
    versions = {node["id"]: int(node["version"]) for node in nodes}
    assert all(versions[node] >= version for node, version in ledger.versions.items())
    leases = {lease["scope_key"]: lease for lease in (await client.get("/v1/populi/exec/leases")).json()["leases"]}
    for scope_key, lease in ledger.leases.items():
        kept = leases[scope_key]
        assert (kept["lease_id"], kept["holder_node_id"]) == (lease["lease_id"], lease["holder_node_id"])
        assert kept["expires_unix_ms"] >= lease["expires_unix_ms"]
    for number in range(WORKERS):
        waiting = await inbox(client, str(number))
        promised = {key: row for key, row in ledger.messages.items() if key.startswith(f"{number}-")}
        assert set(promised.values()) - ledger.unsure <= waiting.keys()
        assert not waiting.keys() & ledger.acknowledged
        assert max(Counter(waiting.values()).values(), default=1) == 1, "one key, two messages"


async def inbox(client: httpx.AsyncClient, mailbox: str) -> dict[int, str]:
    """All that waits in a mailbox: id and payload, page by page."""
    found: dict[int, str] = {}
    body: dict[str, Any] = {"receiver_agent_id": mailbox, "max_messages": 256}
    while True:
        page = (await client.post("/v1/populi/a2a/inbox", json=body)).json()["messages"]
        found |= {row["id"]: row["payload"] for row in page}
        if len(page) < 256:
            return found
        body["before_message_id"] = page[-1]["id"]


async def check_exchange(client: httpx.AsyncClient, ledger: Ledger, token: str) -> None:
    """Of all buyers exactly one has bought, it is the one that was told so, and it is told again."""
    bought = []
    for number in range(WORKERS):
        body = {"bootstrap_token": token, "idempotency_key": f"buyer-{number}"}
        answer = await client.post("/v1/populi/bootstrap/exchange", json=body)
        assert answer.status_code in {200, 410}
        bought += [f"{token}/buyer-{number}"] if answer.status_code == 200 else []
    assert len(bought) == 1
    told = [entry for entry in ledger.exchanged if entry.startswith(f"{token}/")]
    assert told in ([], bought)
