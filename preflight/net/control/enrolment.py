"""One enrolment on the wire: performs what `proto.enroll`'s machine asks for, and tidies up whatever happens."""

import asyncio
import logging
import platform
import random
import secrets
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from preflight import __version__
from preflight.model.control import ControlError, Credential, CredentialsError, NodeRecord
from preflight.model.enrolment import EnrolmentFacts
from preflight.net.control.credentials import CredentialsFile
from preflight.net.control.journal import Note
from preflight.proto.control.enroll import (
    LEAVE_S,
    PATIENCE_S,
    RETRIABLE_STATUS,
    Answer,
    Enrolment,
    Outcome,
    State,
    Wait,
    spare_prefix,
    unheard,
)

if TYPE_CHECKING:
    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

_log = logging.getLogger(__name__)
AnswerT = TypeVar("AnswerT", contravariant=True)
T = TypeVar("T")
ATTEMPTS = 3
MOST_WAITED_S = 2.0


class EnrolmentSession:
    """`prepare`, `advance` until it gives None, and `end` in a `finally`.

    client: for the control plane, with the token that this node has; the one that a bootstrap token buys replaces it.
    """

    def __init__(self, settings: "Settings", client: "ControlClient") -> None:
        options = settings.enrolment
        self._settings = settings
        self._client = self._first_client = client
        self._token = options.bootstrap_token if options else None
        self._file = CredentialsFile(options.credentials_out) if options and options.credentials_out else None
        self._note = Note(settings, "enroll.cycle", options.credentials_out if options and self.bootstraps else None)
        self._key = ""
        self._credential: Credential | None = None
        self._unheard = False
        now = time.monotonic()
        self._machine = Enrolment(
            node_id=settings.node.id,
            spare_id=spare_id(),
            scope_id=settings.control.scope_id,
            bootstrap=self.bootstraps,
            now=now,
            deadline=now + PATIENCE_S,
        )

    @property
    def bootstraps(self) -> bool:
        """Whether a one-time token is to be exchanged."""
        return self._token is not None

    def prepare(self) -> str | None:
        """See that a one-time token would not be spent for nothing; why it would be, or None."""
        if not self.bootstraps:
            return None
        if self._file is None:
            return "no file is named that would keep the credential"
        try:
            self._key = self._file.reserve()
        except CredentialsError as error:
            return str(error)
        return None

    async def advance(self) -> list[Outcome] | None:
        """Do the next thing; the steps that ended by it, or None when all is done."""
        action = self._machine.next_action(time.monotonic())
        if action is None:
            return None
        if isinstance(action, Wait):
            await asyncio.sleep(action.until - time.monotonic())
        else:
            await tell_outcome(self._machine, self._perform(action.state), action.timeout_s)
        return self._machine.finished()

    def facts(self) -> EnrolmentFacts:
        """What messages tell, as known now."""
        machine = self._machine
        return EnrolmentFacts(
            url=str(self._settings.control.usable_url),
            identity=machine.identity,
            identity_taken=machine.identity_taken,
            existed_before=machine.existed_before,
            scope_id=machine.scope_id,
            foreign_scope=machine.foreign_scope,
            node_count=machine.node_count,
            credentials=str(self._file.path) if self._file else "",
            has_token=self._credential is not None or self._settings.secrets.token is not None,
            written_down=self._note.row,
            unrecorded=self._note.trouble,
        )

    async def end(self) -> None:
        """Leave if a row may be there, whatever ended the run; a second Ctrl-C does not stop this."""
        try:
            if self._machine.must_leave:
                await to_its_end(asyncio.ensure_future(self._leave()))
        finally:
            self._note.end(gone=not self._machine.may_be_listed)
            if self._file is not None:
                # An exchange whose answer was not heard can be asked for again, by the key in the pending file.
                self._file.release(keep=self._unheard)
            if self._client is not self._first_client:
                await self._client.aclose()

    async def _leave(self) -> None:
        self._machine.abort(time.monotonic())
        try:
            async with asyncio.timeout(LEAVE_S):
                while await self.advance() is not None:
                    pass
        except TimeoutError:
            pass
        if self._machine.may_be_listed:
            _log.warning("the row of %s may still be listed on the control plane", self._machine.identity)

    async def _perform(self, state: State) -> Answer:
        if state is State.EXCHANGE:
            return await self._exchange()
        if state is State.STORE:
            return self._store()
        if state in (State.LOOK, State.LIST):
            return await self._client.nodes()
        if state is State.LEAVE:
            await self._client.leave(self._machine.identity)
            return None
        machine, join = self._machine, state is State.JOIN
        return await write_row(self._client, self._settings, self._note, machine.identity, machine.scope_id, join=join)

    async def _exchange(self) -> Credential:
        """Spend the token; from here on its answer is the only copy of the credential."""
        if self._token is None:
            raise ControlError("no-url", None, "no bootstrap token was given")
        unheard_before, self._unheard = self._unheard, True
        try:
            self._credential = await self._client.exchange(self._token, self._key)
        except ControlError as error:
            self._unheard = unheard(error) or (
                unheard_before and (error.status is None or error.status in RETRIABLE_STATUS)
            )
            raise
        self._client = self._client.with_token(self._credential.mesh_token)
        return self._credential

    def _store(self) -> Credential:
        """Store the credential before anything else happens."""
        if self._file is None or self._credential is None:
            raise ControlError("no-url", None, "there is nothing to keep")
        try:
            self._file.write(self._credential)
        except CredentialsError as error:
            raise ControlError("protocol", 200, str(error)) from None
        self._unheard = False
        return self._credential


def own_record(settings: "Settings", identity: str, scope_id: str | None, mark: str) -> dict[str, Any]:
    """This node's row. One of a random id is in maintenance from the start, so that nobody gives it work.

    mark: the label by which it is known as that of this run.
    """
    record: dict[str, Any] = {
        "id": identity,
        "capabilities": {"labels": [*settings.node.labels, mark]},
        "version": __version__,
        "last_seen_unix_ms": time.time_ns() // 1_000_000,
        "visibility": "private",
    }
    if scope_id:
        record["scope_id"] = scope_id
    if identity != settings.node.id:
        record["maintenance"] = True
    return record


async def write_row(
    client: "ControlClient", settings: "Settings", note: Note, identity: str, scope_id: str | None, *, join: bool
) -> NodeRecord:
    """Join or send a heartbeat, with what may be left behind from here on written down. Raises ControlError."""
    note.before_join(identity, scope_id)
    record = own_record(settings, identity, scope_id, note.mark)
    answer = await (client.join(record) if join else client.heartbeat(record))
    note.heard(answer)
    return answer


class Machine(Protocol[AnswerT]):
    """What `proto.enroll` and `proto.membership` have in common: one call at a time, which succeeds or fails."""

    def succeeded(self, now: float, answer: AnswerT, /) -> None:
        """The call was answered."""

    def failed(self, now: float, error: ControlError, random: float, /) -> None:
        """The call gave an error; `random` in [0, 1) spreads the repeats."""


async def tell_outcome(machine: Machine[AnswerT], call: Awaitable[AnswerT], timeout_s: float) -> None:
    """Await `call` for at most `timeout_s` seconds and tell the machine what came of it."""
    try:
        async with asyncio.timeout(timeout_s):
            answer = await call
    except TimeoutError:
        error = ControlError("timeout", None, f"no answer within {timeout_s:.1f} s")
        machine.failed(time.monotonic(), error, random.random())  # noqa: S311 - jitter
    except ControlError as error:
        machine.failed(time.monotonic(), error, random.random())  # noqa: S311 - jitter
    else:
        machine.succeeded(time.monotonic(), answer)


async def to_its_end(task: "asyncio.Future[Any]") -> None:
    """Wait for a bounded task through any number of cancellations; the one that is under way goes on afterwards."""
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            continue


def spare_id() -> str:
    """`preflight-<host>-<random>`: nobody else's."""
    return f"{spare_prefix(platform.node())}-{secrets.token_hex(4)}"
