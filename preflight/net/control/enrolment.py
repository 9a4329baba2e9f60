"""One enrolment on the wire: performs what `proto.control.enroll` asks for, and tidies up whatever happens."""

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

from preflight.model.control import ControlError, Credential, CredentialsError
from preflight.model.enrolment import EnrolmentFacts
from preflight.model.event import Listener, telling
from preflight.net.control.credentials import CredentialsFile
from preflight.net.control.drive import RowCalls, leave, spare_id, step
from preflight.net.control.early_lease import FAR_S, EarlyLease
from preflight.net.control.journal import Note
from preflight.net.control.several import lists, says_otherwise
from preflight.proto.control.answers import UNAUTHORIZED
from preflight.proto.control.backoff import RETRIABLE_STATUS, unheard
from preflight.proto.control.enroll import PATIENCE_S, TABLE, Enrolment, Outcome
from preflight.proto.control.own_row import Answer, OwnRow, State
from preflight.proto.control.populi import EXCHANGE_ROUTE, is_populi

if TYPE_CHECKING:
    from collections.abc import Callable

    from preflight.net.control.client import ControlClient
    from preflight.settings.load import Settings

_log = logging.getLogger(__name__)
STALLED_S = 3.0
"""How long a call may take once it is shown that full segments vanish on the way: what is sent again is lost again."""


class EnrolmentSession:
    """`prepare`, `advance` until it gives None, and `end` in a `finally`.

    client: for the control plane, with this node's token; the token that a bootstrap token buys replaces it. stalls: is
    set once another check has shown that full segments to the control plane vanish, or those from it.
    """

    def __init__(
        self,
        settings: "Settings",
        client: "ControlClient",
        listener: Listener | None = None,
        stalls: asyncio.Event | None = None,
    ) -> None:
        options = settings.enrolment
        self._settings, self._stalls = settings, stalls or asyncio.Event()
        self._token = options.bootstrap_token if options else None
        held = options.bootstrap if options else None
        self._trouble = held.trouble.said if held is not None and held.trouble is not None else None
        path = options.credentials_out if options else None
        self._file = CredentialsFile(path) if path else None
        self._note = Note(settings, "enroll.cycle", path if self.bootstraps else None)
        self._key = ""
        self._credential: Credential | None = None
        self._unheard = self._far = False
        self._early: EarlyLease | None = None
        self._aside: ControlClient | None = None
        self._row = OwnRow(settings.node.id, spare_id(), settings.control.scope_id)
        self._first_client = client
        self._calls = RowCalls(settings, client, self._row, self._note)
        now, start = time.monotonic(), State.EXCHANGE if self.bootstraps else State.LOOK
        tell = telling(listener, "control.enroll", "enrolment")
        self._machine = Enrolment(self._row, TABLE, start=start, now=now, deadline=now + PATIENCE_S, tell=tell)

    @property
    def bootstraps(self) -> bool:
        """Whether a one-time token will be exchanged."""
        return self._token is not None

    def prepare(self) -> str | None:
        """Make sure that the one-time token is not wasted; returns why it would be, or None."""
        if self._trouble is not None:
            return self._trouble
        if not self.bootstraps:
            return None
        if self._file is None:
            return "no file is named that would keep the credential"
        try:
            self._key = self._file.reserve()
        except CredentialsError as error:
            return str(error)
        return None

    async def misses_exchange(self) -> bool:
        """Whether requests for an exchange reach another route of the control plane: one that demands a bearer.

        The exchange itself has none. Asked without a token and without a body, so nothing can be spent.
        """
        if not self.bootstraps:
            return False
        try:
            answer = await self._first_client.send("POST", EXCHANGE_ROUTE, recall="any")
        except ControlError:
            return False  # the exchange finds the same, and is repeated
        return is_populi(answer) and answer.status == UNAUTHORIZED

    async def advance(self) -> list[Outcome] | None:
        """Do the next thing; returns the steps that ended, or None when all is done."""
        return self._machine.finished() if await step(self._machine, self._bounded) else None

    async def has_several_rows(self, new_client: "Callable[[], ControlClient]") -> bool:
        """Whether answers at one moment have different rows of this node, or none: it joined one control plane."""
        token = self._credential.mesh_token if self._credential else self._settings.secrets.token
        found = await lists(new_client, token)
        rows = {next((n.last_seen_unix_ms for n in each.nodes if n.id == self._row.identity), None) for each in found}
        return len(rows) > 1

    async def is_answered_otherwise(self, new_client: "Callable[[], ControlClient]") -> bool:
        """Whether other answers to the same client list this node; before it joined, whether any lists nodes."""
        token = self._credential.mesh_token if self._credential else self._settings.secrets.token
        joined, identity = self._row.may_be_listed, self._row.identity
        return await says_otherwise(
            new_client, token, lambda listed: not joined or any(node.id == identity for node in listed.nodes)
        )

    def facts(self) -> EnrolmentFacts:
        """What messages show, as known now."""
        row, machine = self._row, self._machine
        secrets, source = self._settings.secrets, self._settings.source
        return EnrolmentFacts(
            url=str(self._settings.control.usable_url),
            identity=row.identity,
            identity_taken=row.identity_taken,
            existed_before=row.existed_before,
            scope_id=row.scope_id,
            foreign_scope=machine.foreign_scope,
            listed_scope=machine.listed_scope,
            node_count=machine.node_count,
            credentials=str(self._file.path) if self._file else "",
            has_token=self._credential is not None or secrets.token is not None,
            bought=self._credential is not None,
            bearer_place=secrets.bearers[0].place if secrets.bearers else "",
            only_for_workers=secrets.only_for_workers,
            scope_file=str(source.absolute()) if source is not None and self._settings.scope_from_file else None,
            unread_scope=None if self._settings.control.scope_id else self._settings.unread_scope,
            written_down=self._note.row,
            unrecorded=self._note.trouble,
        )

    async def end(self) -> None:
        """Leave if a row may be there, whatever ended the run; a second Ctrl-C does not stop this."""
        try:
            if self._machine.must_leave:
                await leave(self._machine, self._perform)
                if self._row.may_be_listed:
                    _log.warning("the row of %s may still be listed on the control plane", self._row.identity)
        finally:
            if self._early is not None:
                await self._early.end()
            if self._aside is not None:
                await self._aside.aclose()
            self._note.end(gone=not self._row.may_be_listed)
            if self._file is not None:
                # If the exchange's answer was lost, the key in the pending file gets it again.
                self._file.release(keep=self._unheard)

    async def _bounded(self, state: State) -> Answer:
        """One call that may not go on for long on a way on which large packets vanish; leaving has all its time."""
        if state is State.LEAVE:
            return await self._perform(state)
        began = time.monotonic()
        try:
            async with asyncio.timeout(None) as limit:
                watching = asyncio.create_task(self._shorten(limit))
                try:
                    return await self._perform(state)
                finally:
                    watching.cancel()
        except TimeoutError:
            now = time.monotonic()
            self._machine.hurry(now)
            words = f"no answer within {now - began:.1f} s, where full segments of TCP vanish (mtu.tcp)"
            raise ControlError("timeout", None, words) from None

    async def _shorten(self, limit: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._stalls.wait()
        limit.reschedule(max(loop.time(), began + STALLED_S))

    async def _perform(self, state: State) -> Answer:
        began = time.monotonic()
        if state is State.EXCHANGE:
            bought = await self._exchange()
            self._far = time.monotonic() - began >= FAR_S
            return bought
        if state is State.STORE:
            return self._store()
        if state is State.LOOK and self._far and self._aside is None:
            # For the lease: other checks hold all connections when it is asked for, and opening one takes as long.
            self._aside = self._calls.client.apart()
            self._aside.ahead(self._aside.health())
        if state is State.HEARTBEAT and self._far and self._early is None and self._wants_lease:
            ask = partial(self._calls.lease, client=self._aside)
            self._early = EarlyLease(ask)  # the row is there since the join
        if self._early is not None and state in (State.GRANT, State.RENEW, State.RELEASE, State.LEAVE):
            return await self._with_lease(self._early, state)
        answer = await self._calls.perform(state)
        self._far = self._far or (state is State.JOIN and time.monotonic() - began >= FAR_S)
        return answer

    @property
    def _wants_lease(self) -> bool:
        """Whether the machine will ask for a lease if all goes well."""
        return not (self._row.is_spare or self._row.existed_before)

    async def _with_lease(self, early: EarlyLease, state: State) -> Answer:
        """The answers about a lease that was asked for ahead; who leaves gives it back first."""
        if state is State.GRANT:
            return await early.granted()
        if state is State.RENEW:
            return await early.renewed(self._row.lease_id)
        if state is State.RELEASE:
            return await early.released(self._row.lease_id)
        await early.end()
        return await self._calls.perform(state)

    async def _exchange(self) -> Credential:
        """Spend the token; from here on its answer is the only copy of the credential."""
        if self._token is None:
            raise ControlError("no-url", None, "no bootstrap token was given")
        unheard_before, self._unheard = self._unheard, True
        try:
            self._credential = await self._first_client.exchange(self._token, self._key)
        except ControlError as error:
            self._unheard = unheard(error) or (
                unheard_before and (error.status is None or error.status in RETRIABLE_STATUS)
            )
            raise
        self._calls.client = self._first_client.with_token(self._credential.mesh_token)
        return self._credential

    def _store(self) -> Credential:
        """Store the credential before anything else happens."""
        if self._file is None or self._credential is None:
            raise ControlError("no-url", None, "there is no credential to keep")
        try:
            self._file.write(self._credential)
        except CredentialsError as error:
            raise ControlError("protocol", 200, str(error)) from None
        self._unheard = False
        return self._credential
