"""The contract as a table: every route with its roles, request, answer and refusals."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from preflight.control import handlers, models
from preflight.control.auth import Access
from preflight.control.handlers import Plane

PREFIX = "/v1/populi"
JSON = "application/json"
TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `refusals` are its statuses in addition to those of every route."""

    method: str
    path: str
    access: Access
    handler: Callable[[Plane, Any], Awaitable[Response]]
    takes: type[models.Wire] | None = None
    gives: type[models.Wire] | str | None = None
    refusals: tuple[int, ...] = ()

    @property
    def summary(self) -> str:
        """One line about it."""
        return (self.handler.__doc__ or "").strip().splitlines()[0]


def _get(path: str, access: Access, handler: Callable[[Plane, None], Awaitable[Response]], gives: Any) -> Route:
    return Route("GET", path, access, handler, gives=gives)


def _post(path: str, access: Access, handler: Any, takes: type[models.Wire], gives: Any, *refusals: int) -> Route:
    return Route("POST", PREFIX + path, access, handler, takes, gives, refusals)


_ANYBODY, _WORKERS, _SUBMITTERS, _ADMINS = Access.ANYBODY, Access.WORKERS, Access.SUBMITTERS, Access.ADMINS

ROUTES = (
    _get("/health", _ANYBODY, handlers.health, TEXT),
    _get(f"{PREFIX}/nodes", _WORKERS, handlers.list_nodes, models.NodeList),
    _post("/join", _WORKERS, handlers.join, models.NodeRecord, models.NodeRecord, 403),
    _post("/heartbeat", _WORKERS, handlers.heartbeat, models.NodeRecord, models.NodeRecord, 403),
    _post("/leave", _WORKERS, handlers.leave, models.LeaveRequest, None, 404),
    _post(
        "/bootstrap/exchange",
        _ANYBODY,
        handlers.exchange,
        models.BootstrapExchangeRequest,
        models.BootstrapExchangeResponse,
        401,
        404,
        410,
    ),
    _post("/a2a/deliver", _SUBMITTERS, handlers.deliver, models.DeliverRequest, models.DeliverResponse),
    _post("/a2a/inbox", _WORKERS, handlers.inbox, models.InboxRequest, models.InboxResponse, 403),
    _post("/a2a/ack", _WORKERS, handlers.acknowledge, models.AckRequest, None, 404),
    _post("/a2a/lease-renew", _WORKERS, handlers.renew_mail_lease, models.MailLeaseRenewRequest, None, 403, 404, 409),
    _post(
        "/exec/lease/grant",
        _WORKERS,
        handlers.grant_exec_lease,
        models.ExecLeaseGrantRequest,
        models.ExecLease,
        403,
        409,
    ),
    _post("/exec/lease/renew", _WORKERS, handlers.renew_exec_lease, models.ExecLeaseRequest, None, 403, 404, 409),
    _post("/exec/lease/release", _WORKERS, handlers.release_exec_lease, models.ExecLeaseRequest, None, 403, 404, 409),
    _get(f"{PREFIX}/exec/leases", _ADMINS, handlers.list_exec_leases, models.ExecLeaseList),
    _post("/admin/quarantine", _ADMINS, handlers.quarantine, models.QuarantineRequest, None, 404),
    _post("/admin/maintenance", _ADMINS, handlers.maintain, models.MaintenanceRequest, None, 404),
    _post("/admin/exec-lease/revoke", _ADMINS, handlers.revoke_exec_lease, models.ExecLeaseRevokeRequest, None, 404),
)

FEATURES = (
    "mesh-auth-v1",
    "jwt-bearer-v1",
    "quarantine-v1",
    "maintenance-v1",
    "maintenance-deadline-v1",
    "lease-renew-v1",
    "exec-lease-v1",
    "exec-lease-admin-revoke-v1",
    "exec-lease-persist-v1",
    "a2a-inbox-limit-v1",
    "bootstrap-idempotency-v1",
)
"""The values of `x-populi-feature`; the last one is ours: an exchange may be repeated with its `idempotency_key`."""
