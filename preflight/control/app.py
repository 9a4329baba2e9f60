"""The ASGI application: the gates of the contract in their order, then the route's handler.

Starlette's request and response, but not its router: the contract judges the bearer before path, method and body, on
unknown paths too, and the gates in one function show that order.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from preflight import __version__
from preflight.control import credentials, openapi
from preflight.control.auth import Access, Claims, Role, bearer_of
from preflight.control.budget import Budget, Share
from preflight.control.database import UnavailableError
from preflight.control.guard import KNOWN, Patience
from preflight.control.guests import Caps, client_of
from preflight.control.handlers import Plane
from preflight.control.limiter import Limiter
from preflight.control.models import Wire
from preflight.control.refusal import Refusal
from preflight.control.routes import ROUTES, Route
from preflight.control.signers import is_signed

_log = logging.getLogger(__name__)

RETRY_AFTER_S = 5
STRANGERS_BODY_BYTES = 8 * 1024
"""For a body that is read without a bearer, because it contains the credential."""
PIECE_BYTES = 64 * 1024


class ControlPlane:
    """Answers the requests of the contract."""

    def __init__(
        self,
        plane: Plane,
        now_ms: Callable[[], int],
        *,
        caps: Caps | None = None,
        patience: Patience | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`caps` also limits the parallel requests of one client: behind a proxy it has no connection to us."""
        self._plane = plane
        self._config = plane.config
        self._now_ms = now_ms
        self._limiter = Limiter(plane.config.rate) if plane.config.rate else None
        self._caps = caps or Caps()
        self._body_s = (patience or Patience()).body_s
        self._budget = budget or Budget()
        self._under_way: Counter[str] = Counter()
        self._paths = _by_path((*ROUTES, _description()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: one request."""
        with self._budget.share() as share:
            response = await self._respond(Request(scope, receive), share)
            await response(scope, receive, _in_pieces(send))

    async def _respond(self, request: Request, share: Share) -> Response:
        try:
            with self._admitted(client_of(request.client.host if request.client else "")):
                response = await self._answer(request, share)
            share.take(len(response.body))
        except Refusal as refusal:
            return _text(refusal.status, refusal.text, refusal.headers)
        except UnavailableError as error:
            _log.error("the database cannot be used: %s", error)
            return _text(503, "the database is not available now", {"retry-after": str(RETRY_AFTER_S)})
        except ClientDisconnect:
            return _text(400, "the client went away")
        except Exception:
            _log.exception("a request failed")
            return _text(500, "internal server error")
        return response

    async def _answer(self, request: Request, share: Share) -> Response:
        """The gates, in the contract's order: bearer, path and method, role, body."""
        _check_framing(request)
        method = "GET" if request.method == "HEAD" else request.method
        # As sent: a path that needs decoding, or that a Host header completes, is not one of our paths.
        methods = self._paths.get(request.scope["raw_path"].decode("ascii", "replace"), {})
        route = methods.get(method)
        role = None
        if route is None or route.access is not Access.ANYBODY:
            role = await self._role(request)
        if role is not None:
            request.scope.setdefault("state", {})[KNOWN] = True
        if route is None:
            raise _no_route(methods)
        if role is not None and not route.access.admits(role):
            raise Refusal(403, f"this route is for bearers of role {route.access.value}")
        body = await self._body(request, route, share) if route.takes else None
        return await route.handler(self._plane, body)

    @contextmanager
    def _admitted(self, client: str) -> Iterator[None]:
        """Rate, and requests at a time, of one client."""
        delay = self._limiter.delay(client, time.monotonic()) if self._limiter else 0
        if delay or self._under_way[client] >= self._caps.of(client):
            raise Refusal(429, "too many requests", {"retry-after": str(max(1, round(delay)))})
        self._under_way[client] += 1
        try:
            yield
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]

    async def _role(self, request: Request) -> Role | None:
        """The role of the request's bearer; None on an open server. Refuses a missing or unknown one with 401."""
        bearers = self._config.bearers
        if not bearers.required:
            return None
        bearer = bearer_of(request.scope["headers"])
        if bearer is not None:
            role = bearers.role_of(bearer)
            if role is not None:
                return role
            claims = bearers.claims_of(bearer, self._now_ms())
            if claims is not None and await self._is_first_use(claims):
                return claims.role
        elif self._config.signers != "nobody" and self._is_signed(request):
            if self._config.signers == "everybody":
                return Role.MESH
            raise Refusal(403, "untrusted node")
        raise Refusal(401, "unauthorized", {"www-authenticate": "Bearer"})

    def _is_signed(self, request: Request) -> bool:
        return is_signed(request.headers, request.url.path, self._now_ms() / 1000)

    async def _is_first_use(self, claims: Claims) -> bool:
        return await self._plane.database.write(credentials.accept_jti, claims.jti, claims.forget_unix_ms)

    async def _body(self, request: Request, route: Route, share: Share) -> Wire:
        """The checked body: 415 for another media type, 413 over the cap, 400 for no JSON, 422 for wrong fields."""
        assert route.takes
        if not _is_json(request.headers.get("content-type", "")):
            raise Refusal(415, "expected content-type: application/json")
        limit = self._config.max_body_bytes
        if route.access is Access.ANYBODY:
            limit = min(limit, STRANGERS_BODY_BYTES)
        try:
            async with asyncio.timeout(self._body_s):
                content = await _content(request, limit, share)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {self._body_s:g} s", {"connection": "close"}) from None
        try:
            # Not model_validate_json: it accepts NaN and Infinity, which JSON does not allow (RFC 8259, section 6).
            return route.takes.model_validate(from_json(content, allow_inf_nan=False))
        except ValidationError as error:
            raise _wrong_fields(error) from None
        except ValueError:
            raise Refusal(400, "the body is not valid JSON") from None


async def _content(request: Request, limit: int, share: Share) -> bytes:
    too_large = Refusal(413, f"the body is larger than {limit} bytes")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit:
            raise too_large
        share.take(len(chunk))
    return bytes(content)


def _check_framing(request: Request) -> None:
    """Two servers may read two contradictory lengths of the body differently (RFC 9112, section 6.1)."""
    if "transfer-encoding" in request.headers and "content-length" in request.headers:
        raise Refusal(400, "transfer-encoding and content-length exclude each other", {"connection": "close"})


def _in_pieces(send: Send) -> Send:
    """Sends a large answer as fast as the client reads it, instead of filling the connection's buffer."""

    async def pieces(message: Message) -> None:
        rest = memoryview(message.get("body", b""))
        while len(rest) > PIECE_BYTES:
            await send({"type": "http.response.body", "body": bytes(rest[:PIECE_BYTES]), "more_body": True})
            rest = rest[PIECE_BYTES:]
        await send({**message, "body": bytes(rest)} if len(rest) else message)

    return pieces


def _by_path(routes: Sequence[Route]) -> dict[str, dict[str, Route]]:
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    return paths


def _description() -> Route:
    """`GET /openapi.json`, rendered once."""
    content = json.dumps(openapi.document(ROUTES, __version__))

    async def describe(plane: Plane, body: None) -> Response:
        """The description of this API."""
        return Response(content, media_type="application/json")

    return Route("GET", "/openapi.json", Access.ANY_ROLE, describe)


def _no_route(methods: dict[str, Route]) -> Refusal:
    if not methods:
        return Refusal(404, "not found")
    allowed = [*methods, "HEAD"] if "GET" in methods else [*methods]
    return Refusal(405, "method not allowed", {"allow": ", ".join(allowed)})


def _is_json(content_type: str) -> bool:
    """`application/json`, or a type with the suffix `+json` (RFC 6839, section 3.1)."""
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


def _wrong_fields(error: ValidationError) -> Refusal:
    """Describe the first error, without quoting the input."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"]) or "body"
    return Refusal(422, f"{where}: {problem['msg']}")


def _text(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    return PlainTextResponse(text, status, headers)
