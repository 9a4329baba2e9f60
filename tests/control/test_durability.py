"""What was acknowledged survives `kill -9` in the middle of everything; nothing is granted twice."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

LIVES = int(os.environ.get("PREFLIGHT_LIVES", "40"))
"""A hundred with PREFLIGHT_LIVES=100."""
WORKERS = 6
SCOPE_KEYS = 12
SHARED = "1000"
"""The mailbox out of which all workers claim."""
HOUR_MS = "3600000"

# Imports once and forks the server for each life: what is killed is the same, and a hundred lives take seconds.
MOTHER = """
import json, os, sys
from preflight.cli.control_plane import control_plane
from preflight.control import bind, faults, logs, serve

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.environ.update(json.loads(line))
        control_plane(["serve", "--bind", "127.0.0.1:0", "--db", sys.argv[1]])
    print("child", child, flush=True)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


class Server:
    """One database and its lives."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "stderr").open("w")
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("VOX_", "PREFLIGHT_"))}
        self._mother = subprocess.Popen(
            [sys.executable, "-c", MOTHER, str(folder / "control-plane.db")],
            cwd=folder,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._child = 0
        self.url = ""

    def start(self, variables: Mapping[str, str]) -> None:
        """The next life; returns when it listens."""
        assert self._mother.stdin
        self._mother.stdin.write(json.dumps(dict(variables)) + "\n")
        self._mother.stdin.flush()
        said = dict((self._word(), self._word()))  # mother and child speak in either order
        self._child = int(said["child"])
        self.url = said["listening"].removeprefix("on ")

    def kill(self) -> None:
        """No goodbye: what was not on disk is lost."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            assert self._word()[0] == "gone"
            self._child = 0

    def close(self) -> None:
        """End it all."""
        self.kill()
        self._mother.communicate(timeout=30)
        self._log.close()

    def _word(self) -> tuple[str, str]:
        assert self._mother.stdout
        what, _, rest = self._mother.stdout.readline().strip().partition(" ")
        return what, rest


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Not started yet."""
    server = Server(tmp_path)
    yield server
    server.close()


@dataclass
class Ledger:
    """What the server said yes to, over all its lives."""

    versions: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)
    unsure: set[int] = field(default_factory=set)
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    claims: dict[int, str] = field(default_factory=dict)
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
            deed = (self.join, self.deliver, self.deliver, self.acknowledge, self.lease, self.claim)
            await self.dice.choice(deed)()

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

    async def claim(self) -> None:
        """Put a message into the mailbox that all share, and claim one there; the lease outlives the test."""
        await self.post("/a2a/deliver", message(SHARED, f"{self.node}-{self.dice.random()}"))
        answer = await self.post("/a2a/inbox", {"receiver_agent_id": SHARED, "claimer_node_id": self.node})
        (row,) = answer.json()["messages"] or ({"id": None},)  # another's message may have been the last
        if row["id"] is None or row["id"] in self.ledger.unsure:
            return
        assert self.ledger.claims.setdefault(row["id"], self.node) == self.node, "two hold one message"
        if self.dice.random() < 0.5:
            self.ledger.unsure.add(row["id"])
            await self.post("/a2a/ack", {"receiver_agent_id": SHARED, "message_id": row["id"]})
            self.ledger.acknowledged.add(row["id"])

    async def lease(self) -> None:
        """Ask for one of the keys that all workers need; the first to get it keeps it for ever."""
        scope_key = f"task:{self.dice.randrange(SCOPE_KEYS)}"
        answer = await self.post("/exec/lease/grant", {"claimer_node_id": self.node, "scope_key": scope_key})
        assert answer.status_code in {200, 409}
        if answer.status_code == 200:
            lease = answer.json()
            known = self.ledger.leases.setdefault(scope_key, lease)
            assert (lease["holder_node_id"], lease["lease_id"]) == (known["holder_node_id"], known["lease_id"])


def message(mailbox: str, key: str) -> dict[str, Any]:
    body = {"sender_agent_id": "1", "receiver_agent_id": mailbox, "message_type": "note", "payload": key}
    return body | {"idempotency_key": key, "privacy_class": "private"}


@pytest.mark.timeout(300)
def test_nothing_acknowledged_is_lost_and_nothing_granted_twice(server: Server) -> None:
    """Many lives of one database, each ended by SIGKILL under concurrent load; every life checks those before."""
    dice = random.Random(4711)
    ledger = Ledger()
    for life in range(LIVES):
        # A token lives two lives: in the first its buyers are cut off, in the second they ask again.
        server.start(
            {
                "VOX_MESH_TOKEN": "mesh-token-of-the-tests",
                "VOX_MESH_BOOTSTRAP_TOKEN": f"one-time-token-{life // 2}",
                "VOX_MESH_A2A_LEASE_MS": HOUR_MS,
            }
        )
        asyncio.run(live(server, ledger, dice, life))
    kinds = (ledger.versions, ledger.messages, ledger.acknowledged, ledger.leases, ledger.claims)
    assert min(map(len, kinds)) >= WORKERS


async def live(server: Server, ledger: Ledger, dice: random.Random, life: int) -> None:
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
    shared = await inbox(client, SHARED)
    assert all(
        shared[row].get("lease_holder_node_id") == node
        for row, node in ledger.claims.items()
        if row not in ledger.unsure
    )
    assert not shared.keys() & ledger.acknowledged
    for number in range(WORKERS):
        waiting = await inbox(client, str(number))
        promised = {key: row for key, row in ledger.messages.items() if key.startswith(f"{number}-")}
        assert set(promised.values()) - ledger.unsure <= waiting.keys()
        assert not waiting.keys() & ledger.acknowledged
        keys = Counter(row["payload"] for row in waiting.values())
        assert max(keys.values(), default=1) == 1, "one key, two messages"


async def inbox(client: httpx.AsyncClient, mailbox: str) -> dict[int, dict[str, Any]]:
    """All that waits in a mailbox: rows by id, page by page."""
    found: dict[int, dict[str, Any]] = {}
    body: dict[str, Any] = {"receiver_agent_id": mailbox, "max_messages": 256}
    while True:
        page = (await client.post("/v1/populi/a2a/inbox", json=body)).json()["messages"]
        found |= {row["id"]: row for row in page}
        if len(page) < 256:
            return found
        body["before_message_id"] = page[-1]["id"]


async def check_exchange(client: httpx.AsyncClient, ledger: Ledger, token: str) -> None:
    """Of all buyers exactly one has bought; only that one got the credential, and it gets it again."""
    issued = []
    for number in range(WORKERS):
        body = {"bootstrap_token": token, "idempotency_key": f"buyer-{number}"}
        answer = await client.post("/v1/populi/bootstrap/exchange", json=body)
        assert answer.status_code in {200, 410}
        issued += [f"{token}/buyer-{number}"] if answer.status_code == 200 else []
    assert len(issued) == 1
    exchanged = [entry for entry in ledger.exchanged if entry.startswith(f"{token}/")]
    assert exchanged in ([], issued)
