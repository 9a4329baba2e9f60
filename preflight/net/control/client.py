"""The control plane's client: one request, one typed answer or one `ControlError`."""

import asyncio
import os
import secrets
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import httpx
from pydantic import SecretStr
from pydantic_core import from_json

from preflight.model.control import ControlError, Credential, HttpAnswer, MailboxRow, NodeList, NodeRecord
from preflight.model.event import Listener, telling
from preflight.model.facts import DeathFacts
from preflight.net.control.asked import Question, Recall
from preflight.net.control.destination import Destination, LookUp, SecretWay
from preflight.net.control.exchange import Moments, Request, asks_itself, exchange, failure, headers_of, refusal
from preflight.net.control.line import Line
from preflight.net.control.pace import Pace
from preflight.net.control.patience import patiently
from preflight.net.lookup import system_lookup
from preflight.proto.control.answers import NOT_JSON, outdated
from preflight.proto.control.http import Proxy, proxy_for
from preflight.proto.control.populi import (
    credential,
    is_populi,
    lease_id,
    mailbox_rows,
    message_id,
    no_json,
    node_list,
    node_record,
)
from preflight.proto.control.request_names import REQUEST_NAME
from preflight.proto.control.url import ControlUrl, ControlUrlError

if TYPE_CHECKING:
    from preflight.settings.load import Settings

T = TypeVar("T")

DEFAULT_TIMEOUT_S = 15.0
LIST_BYTES = 16 * 1024 * 1024
"""Enough for a hundred thousand nodes, or a full mailbox; a longer answer is not read."""
ANSWER_BYTES = 1024 * 1024
"""The limit of any other answer: one node's record, or an error's page."""
HEALTH_BYTES = 4096
"""The limit of the answer to `GET /health`: three bytes, or a page from something else."""

API = "/v1/populi"
_EXCHANGE = "bootstrap/exchange"


class ControlClient:
    """Speaks the wire contract with the given credentials; `repr` and errors never show one.

    url: None or one that cannot be used makes each request a ControlError. timeout_s: for one whole request, connecting
    included.
    A proxy is used exactly when the environment names one for the URL. Redirects are not followed: a bearer goes only
    to the configured URL. named: the URL whose host the request names, in `Host` and TLS, if `url` is only one of its
    addresses. listener: hears of each request, never of a header's or a body's content. look_up: resolves names as this
    node's programs do; within seconds again it may give what it gave before. heard: whether any request was answered.
    """

    def __init__(
        self,
        url: ControlUrl | ControlUrlError | None,
        *,
        token: SecretStr | None = None,
        submitter_token: SecretStr | None = None,
        ca_file: Path | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
        named: ControlUrl | None = None,
        listener: Listener | None = None,
        look_up: LookUp | None = None,
        way: SecretWay | None = None,
    ) -> None:
        self._given_url = url
        self._look_up = look_up or partial(system_lookup, listener=listener)
        self._way = way
        self._line = Line(Destination(self._look_up, way))
        self._named = named
        self._token = token
        self._submitter_token = submitter_token
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._environment = os.environ if environment is None else environment
        self._listener = listener
        self.tell = telling(listener, "control.client", "control")
        self._borrows = False
        self.heard = False

    @classmethod
    def from_settings(
        cls,
        settings: "Settings",
        way: SecretWay,
        listener: Listener | None = None,
        look_up: LookUp | None = None,
    ) -> Self:
        """The client of this run's node; `Net` makes it, with the way of its secrets."""
        control = settings.control
        return cls(
            control.url,
            token=settings.secrets.token,
            submitter_token=settings.secrets.submitter_token,
            ca_file=control.ca_file,
            timeout_s=control.timeout_ms / 1000 if control.timeout_ms else DEFAULT_TIMEOUT_S,
            listener=listener,
            look_up=look_up,
            way=way,
        )

    def with_token(self, token: SecretStr) -> Self:
        """The same client with another bearer, such as the one that a bootstrap token bought, on the same connections.

        They live as long as this client's.
        """
        client = self._copy(token, self._environment)
        client._line, client._borrows = self._line, True
        return client

    def apart(self) -> Self:
        """The same client on other connections, which wait for no other request. Close it too."""
        return self._copy(self._token, self._environment)

    def direct(self) -> Self:
        """The same client without any proxy, to separate the proxy's faults from the control plane's."""
        return self._copy(self._token, {})

    def _copy(self, token: SecretStr | None, environment: Mapping[str, str]) -> Self:
        return type(self)(
            self._given_url,
            token=token,
            submitter_token=self._submitter_token,
            ca_file=self._ca_file,
            timeout_s=self._timeout_s,
            environment=environment,
            named=self._named,
            listener=self._listener,
            look_up=self._look_up,
            way=self._way,
        )

    def __repr__(self) -> str:
        return f"ControlClient({self._given_url})"

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that the environment names for the control URL."""
        try:
            return proxy_for(self._url(), self._environment)
        except ControlError:
            return None

    @property
    def pace(self) -> Pace:
        """How fast requests follow each other, over all clients on these connections."""
        return self._line.pace

    async def aclose(self) -> None:
        """Close the connections."""
        if not self._borrows:
            await self._line.aclose()

    def ahead(self, asking: Coroutine[object, object, object]) -> None:
        """Ask what will be wanted in a moment: who then recalls it gets this answer, or asks again if none came."""
        self._line.log.ahead(asking)

    def healths(self) -> tuple[HttpAnswer, ...]:
        """The answers to `GET /health` of a moment ago."""
        return self._line.log.lately(Question("/health"))

    async def health(self, *, timeout_s: float | None = None, recall: Recall = "nothing") -> HttpAnswer:
        """`GET /health`, whatever the answer is; without a bearer, so that a stranger never gets one."""
        return await self.send("GET", "/health", timeout_s=timeout_s, most_bytes=HEALTH_BYTES, recall=recall)

    async def nodes(self, *, patient: bool = False, recall: Recall = "nothing") -> NodeList:
        """`GET nodes`. patient: repeat it a few times if the server says `later`. recall: as in `send`."""

        async def read() -> NodeList:
            return await self._read(node_list, "GET", "nodes", None, self._token, LIST_BYTES, recall=recall)

        return await (patiently(read, self.tell) if patient else read())

    async def join(self, record: Mapping[str, Any]) -> NodeRecord:
        """`POST join`; idempotent, replaces the row of that id. Returns the row as the server keeps it."""
        return await self._read(node_record, "POST", "join", record, self._token)

    async def heartbeat(self, record: Mapping[str, Any]) -> NodeRecord:
        """`POST heartbeat`; adds an unknown id, so it is a write."""
        return await self._read(node_record, "POST", "heartbeat", record, self._token)

    async def leave(self, node_id: str) -> None:
        """`POST leave`; an unknown id is a ControlError with status 404."""
        await self._ok("POST", "leave", {"id": node_id}, self._token)

    async def exchange(self, bootstrap_token: SecretStr, idempotency_key: str) -> Credential:
        """`POST bootstrap/exchange`: spends the one-time token. Never call it with a token that nobody gave."""
        body = {"bootstrap_token": bootstrap_token.get_secret_value(), "idempotency_key": idempotency_key}
        await self._line.destination.confide(self._url(), self.proxy, self._timeout_s)
        return await self._read(credential, "POST", _EXCHANGE, body, None)

    async def lease(self, action: Literal["grant", "renew", "release"], body: Mapping[str, Any]) -> str:
        """`POST exec/lease/…`; grant gives the lease's id, the others nothing."""
        if action == "grant":
            return await self._read(lease_id, "POST", "exec/lease/grant", body, self._token)
        await self._ok("POST", f"exec/lease/{action}", body, self._token)
        return ""

    async def deliver(
        self,
        *,
        sender: str,
        receiver: str,
        message_type: str,
        payload: str,
        idempotency_key: str | None = None,
    ) -> int:
        """`POST a2a/deliver` with the submitter's bearer if there is one; returns the message's id."""
        body = {
            "sender_agent_id": sender,
            "receiver_agent_id": receiver,
            "message_type": message_type,
            "payload": payload,
            "privacy_class": "private",  # what a node of the default visibility is given
        }
        if idempotency_key:
            body["idempotency_key"] = idempotency_key
        bearer = self._submitter_token or self._token
        return await self._read(message_id, "POST", "a2a/deliver", body, bearer)

    async def inbox(self, receiver: str) -> list[MailboxRow]:
        """`POST a2a/inbox` without a claimer: the newest 64 messages that nobody acknowledged, newest first."""
        body = {"receiver_agent_id": receiver, "max_messages": 64}
        return await self._read(mailbox_rows, "POST", "a2a/inbox", body, self._token, LIST_BYTES)

    async def ack(self, receiver: str, message_id: int) -> bool:
        """`POST a2a/ack`; False if there is no such message."""
        body = {"receiver_agent_id": receiver, "message_id": message_id}
        try:
            await self._ok("POST", "a2a/ack", body, self._token)
        except ControlError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        bearer: SecretStr | None = None,
        timeout_s: float | None = None,
        most_bytes: int = ANSWER_BYTES,
        recall: Recall = "nothing",
        more_headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        """One request; returns the answer whatever its status is. Raises ControlError if no answer came.

        most_bytes: how much of the body to read; the answer says whether there was more. recall: where nothing is
        changed, take the answer that this client got a moment ago, or is getting: `unchanged`, if it wrote nothing
        since; `any`, also if it did. more_headers: they make it another question, which nobody recalls.
        """
        asked = path if method == "GET" else f"{method} {path}"
        question, log = Question(asked, bearer.get_secret_value() if bearer else None), self._line.log
        if more_headers or (method != "GET" and recall == "nothing"):
            return await self._send(method, path, body, bearer, timeout_s, most_bytes, more_headers)
        async with nullcontext() if recall == "nothing" else log.alone(question):
            known, writes = log.known(question, most_bytes, recall), log.writes
            answer = known or await self._send(method, path, body, bearer, timeout_s, most_bytes)
            if known is None:
                log.note(question, answer, writes)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        bearer: SecretStr | None,
        timeout_s: float | None,
        most_bytes: int,
        more_headers: Mapping[str, str] | None = None,
    ) -> HttpAnswer:
        url = self._url()
        limit = self._timeout_s if timeout_s is None else timeout_s
        moments = Moments(self.tell, asked_for := f"{method} {path}")
        place = url.authority if self.proxy is None else f"{url.authority} through the proxy {self.proxy.place}"
        started_s = await self.pace.turn()
        self.tell(started_s, "request-started", request=moments.request, to=place, timeout_s=limit)
        try:
            async with asyncio.timeout(limit):
                await self._line.destination.find(url, self.proxy, limit)
                if bearer is not None:
                    await self._line.destination.confide(url, self.proxy, limit)
                where = f"{self._line.destination.pinned or url}{path}"
                named = self._named or (url if self._line.destination.pinned else None)
                through = self.proxy if asks_itself(url, self.proxy) else None
                tls_name = named.host if named else None
                headers = {**headers_of(named, bearer), **(more_headers or {}), REQUEST_NAME: secrets.token_hex(8)}
                asked = Request(method, where, body, most_bytes, headers, tls_name, through)
                answer = await exchange(self._line.open(url, self.proxy, self._ca_file), asked, moments)
        except TimeoutError:
            message = f"no {moments.lacking} from {place} within {limit:g} s"
            trouble = ControlError("timeout", None, message, station=moments.station)
        except (httpx.HTTPError, ssl.SSLError) as error:
            trouble = failure(error, place, moments)
        else:
            self._hear(moments.request, answer, started_s, asked_for)
            kept, renamed = self._line.names.judge(headers[REQUEST_NAME], path, answer.headers)
            return replace(answer, kept=kept, renamed=renamed)
        self._line.destination.forget()
        self.tell(time.monotonic(), "request-failed", request=moments.request, kind=trouble.kind)
        raise trouble

    def _hear(self, request: str, answer: HttpAnswer, started_s: float, route: str) -> None:
        self.heard = True
        self.pace.hear(answer, started_s, route)
        self.tell(
            time.monotonic(),
            "answer-received",
            request=request,
            http_status=answer.status,
            body_bytes=len(answer.body),
            cut=answer.cut,
            rtt_ms=answer.rtt_ms,
        )

    async def _read(
        self,
        read: Callable[[Any], T],
        method: str,
        route: str,
        body: Mapping[str, Any] | None,
        bearer: SecretStr | None,
        most_bytes: int = ANSWER_BYTES,
        *,
        recall: Recall = "nothing",
    ) -> T:
        """The answer's JSON as `read` gives it. Raises ControlError."""
        answer = await self._ok(method, route, body, bearer, most_bytes, recall=recall)
        asked = f"{method} {API}/{route}"
        if answer.cut:
            raise ControlError("protocol", answer.status, f"{asked} was answered with more than {most_bytes} bytes")
        try:
            return read(from_json(answer.body, allow_inf_nan=False))
        except ControlError as error:
            raise ControlError("protocol", answer.status, f"{asked}: {error.message}") from None
        except ValueError:
            message = f"{asked} was answered {answer.status}, but not in JSON ({no_json(answer)})"
            raise ControlError("protocol", answer.status, message, decided=DeathFacts(problem=NOT_JSON)) from None

    async def _ok(
        self,
        method: str,
        route: str,
        body: Mapping[str, Any] | None,
        bearer: SecretStr | None,
        most_bytes: int = ANSWER_BYTES,
        *,
        recall: Recall = "nothing",
    ) -> HttpAnswer:
        """A control plane's own 2xx answer. Raises ControlError for anything else."""
        path = f"{API}/{route}"
        if method != "GET" and route != _EXCHANGE:  # which changes nothing that can be asked for
            self._line.log.written()
        answer = await self.send(method, path, body, bearer=bearer, most_bytes=most_bytes, recall=recall)
        if answer.kept:
            raise outdated(f"{method} {path}", answer)
        if answer.status // 100 != 2 or not is_populi(answer):
            raise self._refusal(method, path, answer, body)
        return answer

    def _refusal(self, method: str, path: str, answer: HttpAnswer, body: Mapping[str, Any] | None) -> ControlError:
        bearers = [token.get_secret_value() for token in (self._token, self._submitter_token) if token]
        hidden = (*bearers, str((body or {}).get("bootstrap_token", "")))
        asked = f"{method} {path}"
        return refusal(asked, answer, hidden, f"{self._url().path}{path}", limited=self.pace.refuses(answer, asked))

    def _url(self) -> ControlUrl:
        """The URL. Raises ControlError where there is none, or none that can be used."""
        match self._given_url:
            case ControlUrl() as url:
                return url
            case ControlUrlError(reason=reason):
                raise ControlError("no-url", None, f"the control URL cannot be used: {reason}")
            case None:
                raise ControlError("no-url", None, "no control URL is set")
