"""The control plane's client: one request, one typed answer or one `ControlError`; retries are `proto.enroll`'s."""

import asyncio
import errno
import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
from pydantic import SecretStr

from preflight.model.control import (
    ControlError,
    ControlErrorKind,
    Credential,
    HttpAnswer,
    MailboxRow,
    NodeList,
    NodeRecord,
    NotHttpError,
)
from preflight.net.lookup import system_lookup
from preflight.net.tls import client_context
from preflight.proto.controlurl import ControlUrl, ControlUrlError, normalise
from preflight.proto.http import Proxy, proxy_for, retry_after_s
from preflight.proto.populi import FEATURE_HEADER, credential, mailbox_rows, message_id, node_list, node_record, shown

if TYPE_CHECKING:
    from preflight.settings import Settings

DEFAULT_TIMEOUT_S = 15.0
MAX_BODY_BYTES = 32 * 1024 * 1024
"""A registry of ten thousand nodes takes a few MiB; anything beyond this is not an answer to read."""

API = "/v1/populi"


class ControlClient:
    """Speaks the wire contract with the credentials it was given. `repr` and errors never show one.

    url: as the operator wrote it; it is normalised here. timeout_s: for one whole request, connecting included.
    A proxy is used exactly when the environment names one for the URL. Redirects are not followed: a bearer goes
    nowhere but to the URL that was configured.
    """

    def __init__(
        self,
        url: str | None,
        *,
        token: SecretStr | None = None,
        submitter_token: SecretStr | None = None,
        ca_file: Path | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._raw_url = url
        self._token = token
        self._submitter_token = submitter_token
        self._ca_file = ca_file
        self._timeout_s = timeout_s
        self._environment = os.environ if environment is None else environment
        self._http: httpx.AsyncClient | None = None
        self._resolved = False

    @classmethod
    def from_settings(cls, settings: "Settings") -> Self:
        """The client of this run's node."""
        control = settings.control
        return cls(
            control.url,
            token=settings.secrets.token,
            submitter_token=settings.secrets.submitter_token,
            ca_file=control.ca_file,
            timeout_s=control.timeout_ms / 1000 if control.timeout_ms else DEFAULT_TIMEOUT_S,
        )

    def with_token(self, token: SecretStr) -> Self:
        """The same client with another bearer: the one that a bootstrap token bought."""
        return self._copy(token, self._environment)

    def direct(self) -> Self:
        """The same client past every proxy: to tell the proxy's faults from the control plane's."""
        return self._copy(self._token, {})

    def _copy(self, token: SecretStr | None, environment: Mapping[str, str]) -> Self:
        return type(self)(
            self._raw_url,
            token=token,
            submitter_token=self._submitter_token,
            ca_file=self._ca_file,
            timeout_s=self._timeout_s,
            environment=environment,
        )

    def __repr__(self) -> str:
        return f"ControlClient({self._raw_url!r})"

    @property
    def proxy(self) -> Proxy | None:
        """The proxy that stands between this node and the control URL, as the environment says."""
        try:
            return proxy_for(self._url(), self._environment)
        except ControlError:
            return None

    async def aclose(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def health(self, *, timeout_s: float | None = None) -> HttpAnswer:
        """`GET /health`, whatever the answer is; without a bearer, so that a stranger gets none."""
        return await self.send("GET", "/health", timeout_s=timeout_s)

    async def nodes(self) -> NodeList:
        """`GET nodes`."""
        return node_list(await self._ok("GET", f"{API}/nodes", None, self._token))

    async def join(self, record: Mapping[str, Any]) -> NodeRecord:
        """`POST join`; idempotent, replaces the row of that id. Returns the row as the server keeps it."""
        return node_record(await self._ok("POST", f"{API}/join", record, self._token))

    async def heartbeat(self, record: Mapping[str, Any]) -> NodeRecord:
        """`POST heartbeat`; adds an unknown id, so it is a write."""
        return node_record(await self._ok("POST", f"{API}/heartbeat", record, self._token))

    async def leave(self, node_id: str) -> None:
        """`POST leave`; an unknown id is a ControlError with status 404."""
        await self._ok("POST", f"{API}/leave", {"id": node_id}, self._token)

    async def exchange(self, bootstrap_token: SecretStr, idempotency_key: str) -> Credential:
        """`POST bootstrap/exchange`: spends the one-time token. Never call it with a token that nobody gave."""
        body = {"bootstrap_token": bootstrap_token.get_secret_value(), "idempotency_key": idempotency_key}
        return credential(await self._ok("POST", f"{API}/bootstrap/exchange", body, None))

    async def deliver(
        self,
        *,
        sender: str,
        receiver: str,
        message_type: str,
        payload: str,
        idempotency_key: str | None = None,
        privacy_class: str = "private",
    ) -> int:
        """`POST a2a/deliver` with the submitter's bearer if there is one; returns the message's id."""
        body = {
            "sender_agent_id": sender,
            "receiver_agent_id": receiver,
            "message_type": message_type,
            "payload": payload,
            "privacy_class": privacy_class,
        }
        if idempotency_key:
            body["idempotency_key"] = idempotency_key
        bearer = self._submitter_token or self._token
        return message_id(await self._ok("POST", f"{API}/a2a/deliver", body, bearer))

    async def inbox(self, receiver: str, *, max_messages: int = 64) -> list[MailboxRow]:
        """`POST a2a/inbox` without a claimer: unacknowledged rows, newest first (1 to 256 of them)."""
        body = {"receiver_agent_id": receiver, "max_messages": max_messages}
        return mailbox_rows(await self._ok("POST", f"{API}/a2a/inbox", body, self._token))

    async def ack(self, receiver: str, message_id: int) -> bool:
        """`POST a2a/ack`; False if there is no such message."""
        body = {"receiver_agent_id": receiver, "message_id": message_id}
        try:
            await self._ok("POST", f"{API}/a2a/ack", body, self._token)
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
    ) -> HttpAnswer:
        """One request, and the answer whatever its status is. Raises ControlError when no answer came."""
        url = self._url()
        limit = self._timeout_s if timeout_s is None else timeout_s
        moments = _Moments()
        place = url.authority if self.proxy is None else f"{url.authority} through the proxy {self.proxy.place}"
        try:
            async with asyncio.timeout(limit):
                await self._resolve(url, limit)
                return await self._exchange(self._open(url), method, f"{url}{path}", body, bearer, moments)
        except TimeoutError:
            what = "answer" if moments.sent else "connection"
            failure = ControlError("timeout", None, f"no {what} from {place} within {limit:g} s")
        except httpx.HTTPError as error:
            failure = _failure(error, place)
        self._resolved = False
        raise failure

    async def _ok(self, method: str, path: str, body: Mapping[str, Any] | None, bearer: SecretStr | None) -> Any:
        """The JSON of a 2xx answer (None without a body); any other status is a ControlError."""
        answer = await self.send(method, path, body, bearer=bearer)
        if answer.status // 100 != 2:
            raise self._refusal(method, path, answer, body)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise ControlError("protocol", answer.status, f"{method} {path} was answered with no JSON") from None

    def _refusal(self, method: str, path: str, answer: HttpAnswer, body: Mapping[str, Any] | None) -> ControlError:
        """The answer as an error, with a line of its body from which every secret that was sent is taken out."""
        bearers = [token.get_secret_value() for token in (self._token, self._submitter_token) if token]
        sent = str((body or {}).get("bootstrap_token", ""))
        text = shown(answer.body, (*bearers, sent))
        wait = retry_after_s(answer.headers.get("retry-after"), answer.headers.get("date"), answer.received_unix_s)
        said = f": {text}" if text else ""
        return ControlError("status", answer.status, f"{method} {path} was answered {answer.status}{said}", wait)

    def _url(self) -> ControlUrl:
        if self._raw_url is None or not self._raw_url.strip():
            raise ControlError("no-url", None, "no control URL is set")
        try:
            return normalise(self._raw_url)
        except ControlUrlError as error:
            raise ControlError("no-url", None, f"the control URL cannot be used: {error}") from None

    async def _resolve(self, url: ControlUrl, timeout_s: float) -> None:
        """Look the name up before httpx does: a failure then is a fact about names, and no thread is left behind."""
        if self._resolved or url.address is not None or self.proxy is not None:
            return
        lookup = await system_lookup(url.host, timeout_s)
        if lookup.outcome != "answer":
            raise ControlError("dns", None, f"{url.host} does not resolve: {lookup.detail or lookup.outcome}")
        self._resolved = True

    def _open(self, url: ControlUrl) -> httpx.AsyncClient:
        if self._http is None:
            proxy = self.proxy
            self._http = httpx.AsyncClient(
                verify=_tls_context(self._ca_file) if url.scheme == "https" else False,
                proxy=proxy.url if proxy else None,
                trust_env=False,
                timeout=None,  # noqa: S113 - `send` bounds the whole request; httpx bounds only its parts
                follow_redirects=False,
                headers={"accept-encoding": "identity", "user-agent": "preflight"},
            )
        return self._http

    async def _exchange(
        self,
        http: httpx.AsyncClient,
        method: str,
        url: str,
        body: Mapping[str, Any] | None,
        bearer: SecretStr | None,
        moments: "_Moments",
    ) -> HttpAnswer:
        headers = {"authorization": f"Bearer {_header_safe(bearer)}"} if bearer else {}
        request = http.build_request(method, url, json=body, headers=headers, extensions={"trace": moments.note})
        response = await http.send(request, stream=True)
        try:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_BODY_BYTES:
                    raise ControlError("protocol", response.status_code, f"the answer is over {MAX_BODY_BYTES} bytes")
        finally:
            await response.aclose()
        return HttpAnswer(
            status=response.status_code,
            headers=dict(response.headers),
            body=bytes(content),
            rtt_ms=(moments.answered - moments.sent) * 1000,
            sent_unix_s=moments.sent_unix_s,
            received_unix_s=moments.answered_unix_s,
            connected=moments.connected,
        )


async def answers_at(address: str, port: int, timeout_s: float) -> bool:
    """Whether what answers `GET /health` at a literal address is a control plane; asked without bearer and proxy."""
    host = f"[{address}]" if ":" in address else address
    client = ControlClient(f"http://{host}:{port}", environment={})
    try:
        return FEATURE_HEADER in (await client.health(timeout_s=timeout_s)).headers
    except ControlError:
        return False
    finally:
        await client.aclose()


def _header_safe(bearer: SecretStr) -> str:
    """The bearer, unless HTTP cannot carry it: libraries would quote it in their complaint."""
    value = bearer.get_secret_value()
    if not (value.isascii() and value.isprintable()):
        raise ControlError("protocol", None, "the bearer token holds a character that an HTTP header cannot carry")
    return value


class _Moments:
    """When a request was sent and answered, from httpcore's trace events."""

    def __init__(self) -> None:
        self.sent = self.answered = 0.0
        self.sent_unix_s = self.answered_unix_s = 0.0
        self.connected = False

    async def note(self, event: str, _info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            self.connected = True
        elif event == "http11.send_request_headers.started":
            self.sent, self.sent_unix_s = time.perf_counter(), time.time()
        elif event == "http11.receive_response_headers.complete":
            self.answered, self.answered_unix_s = time.perf_counter(), time.time()


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return client_context(ca_file)
    except OSError as error:
        raise ControlError("tls", None, f"control.ca_file {ca_file} cannot be used: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _failure(error: httpx.HTTPError, place: str) -> ControlError:
    """Why no answer came: the first system error behind httpx's, in the contract's words."""
    if isinstance(error, httpx.ProxyError):
        return ControlError("protocol", None, f"{place}: the proxy does not connect ({error})")
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError):
            return ControlError("tls", None, f"the TLS handshake with {place} failed: {cause.reason or 'no reason'}")
        if isinstance(cause, OSError) and cause.errno is not None:
            kind, words = _ERRNO.get(cause.errno, ("unreachable", _reason(cause)))
            return ControlError(kind, None, f"{place} {words}")
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return NotHttpError(f"{place} answered with something that is not HTTP")
    return ControlError("protocol", None, f"{place} closed the connection without an answer")


_ERRNO: dict[int, tuple[ControlErrorKind, str]] = {
    errno.ECONNREFUSED: ("refused", "refused the connection"),
    errno.ETIMEDOUT: ("timeout", "did not answer before the system's own time-out"),
    errno.ECONNRESET: ("protocol", "reset the connection"),
    errno.EPIPE: ("protocol", "closed the connection"),
    errno.ENETUNREACH: ("unreachable", "cannot be reached: no route"),
    errno.EHOSTUNREACH: ("unreachable", "cannot be reached: a router or this node says so"),
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _causes(inner)
        error = error.__cause__ or error.__context__
