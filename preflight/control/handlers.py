"""The handler of each route: a checked body in, an answer out. Writes are answered after their commit."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import PlainTextResponse, Response

from preflight.control import credentials, leases, mailbox, models, nodes
from preflight.control.config import BootstrapToken, ServerConfig
from preflight.control.database import Database
from preflight.control.logs import event
from preflight.control.refusal import Refusal

_log = logging.getLogger(__name__)

NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class Plane:
    """The context of handlers; `scope_open` accepts foreign scopes (a drill)."""

    database: Database
    config: ServerConfig
    scope_open: bool = False


async def health(plane: Plane, body: None) -> Response:
    """Liveness; says nothing about the database."""
    return PlainTextResponse("ok\n")


async def list_nodes(plane: Plane, body: None) -> Response:
    """The registry."""
    return _json(await plane.database.read(nodes.listing, plane.config.stale_prune_ms))


async def join(plane: Plane, body: models.NodeRecord) -> Response:
    """Add a node or replace its record."""
    _check_scope(plane, body)
    record, new = await plane.database.write(nodes.join, body.sent())
    event(_log, logging.INFO if new else logging.DEBUG, "joined", node_id=body.id)
    return _json(record)


async def heartbeat(plane: Plane, body: models.NodeRecord) -> Response:
    """Refresh a node, or add it."""
    _check_scope(plane, body)
    sent = body.sent()
    refreshed = await plane.database.refresh(nodes.beat, sent)
    if refreshed is not None:
        return _json(refreshed)
    record, new = await plane.database.write(nodes.heartbeat, sent)
    if new:
        event(_log, logging.INFO, "joined by heartbeat", node_id=body.id)
    return _json(record)


async def leave(plane: Plane, body: models.LeaveRequest) -> Response:
    """Remove a node."""
    await plane.database.write(nodes.leave, body.id)
    event(_log, logging.INFO, "left", node_id=body.id)
    return Response(status_code=NO_CONTENT)


async def exchange(plane: Plane, body: models.BootstrapExchangeRequest) -> Response:
    """Exchange the one-time token for the mesh token."""
    bootstrap = plane.config.bootstrap
    if bootstrap is None:
        raise Refusal(404, "bootstrap exchange is not enabled")
    try:
        mesh_token = await _bought(plane, bootstrap, body)
    except Refusal as refusal:
        event(_log, logging.WARNING, "bootstrap refused", status=refusal.status, because=refusal.text)
        raise
    event(_log, logging.INFO, "bootstrap granted")
    return _model(models.BootstrapExchangeResponse(mesh_token=mesh_token, scope_id=plane.config.scope_id))


async def _bought(plane: Plane, bootstrap: BootstrapToken, body: models.BootstrapExchangeRequest) -> str:
    presented, mesh_token = body.bootstrap_token.get_secret_value().strip(), plane.config.mesh_token
    if not plane.config.like_upstream:
        return await plane.database.write(credentials.exchange, bootstrap, mesh_token, presented, body.idempotency_key)
    now_ms = await plane.database.write(credentials.burn, bootstrap)
    if now_ms is None:
        raise Refusal(410, "bootstrap token already consumed")
    return credentials.after_burning(bootstrap, mesh_token, presented, now_ms)


async def deliver(plane: Plane, body: models.DeliverRequest) -> Response:
    """Put a message into a mailbox."""
    message_id = await plane.database.write(mailbox.deliver, body, plane.config.max_messages)
    return _model(models.DeliverResponse(accepted=True, message_id=message_id))


async def inbox(plane: Plane, body: models.InboxRequest) -> Response:
    """List a mailbox, or claim one row of it."""
    rows: list[Mapping[str, Any]]
    if body.claimer_node_id:
        rows = await plane.database.write(
            mailbox.claim, body.receiver_agent_id, body.claimer_node_id, plane.config.lease_ms
        )
    else:
        rows = await plane.database.read(
            mailbox.inbox, body.receiver_agent_id, body.max_messages, body.before_message_id
        )
    return _json(json.dumps({"messages": rows}, ensure_ascii=False, separators=(",", ":")))


async def acknowledge(plane: Plane, body: models.AckRequest) -> Response:
    """Take a message out of its mailbox."""
    await plane.database.write(mailbox.acknowledge, body.receiver_agent_id, body.message_id)
    return Response(status_code=NO_CONTENT)


async def renew_mail_lease(plane: Plane, body: models.MailLeaseRenewRequest) -> Response:
    """Extend the claim on a message."""
    await plane.database.write(
        mailbox.renew, body.receiver_agent_id, body.message_id, body.claimer_node_id, plane.config.lease_ms
    )
    return Response(status_code=NO_CONTENT)


async def grant_exec_lease(plane: Plane, body: models.ExecLeaseGrantRequest) -> Response:
    """Lease a scope key."""
    return _model(await plane.database.write(leases.grant, body.claimer_node_id, body.scope_key, plane.config.lease_ms))


async def renew_exec_lease(plane: Plane, body: models.ExecLeaseRequest) -> Response:
    """Extend an execution lease."""
    await plane.database.write(leases.renew, body.lease_id, body.claimer_node_id, plane.config.lease_ms)
    return Response(status_code=NO_CONTENT)


async def release_exec_lease(plane: Plane, body: models.ExecLeaseRequest) -> Response:
    """End an execution lease of the caller."""
    await plane.database.write(leases.release, body.lease_id, body.claimer_node_id)
    return Response(status_code=NO_CONTENT)


async def list_exec_leases(plane: Plane, body: None) -> Response:
    """All live execution leases."""
    return _json(await plane.database.read(leases.listing))


async def quarantine(plane: Plane, body: models.QuarantineRequest) -> Response:
    """Set or lift a quarantine."""
    await plane.database.write(nodes.quarantine, body.node_id, body.quarantined)
    event(_log, logging.INFO, "quarantine", node_id=body.node_id, quarantined=body.quarantined)
    return Response(status_code=NO_CONTENT)


async def maintain(plane: Plane, body: models.MaintenanceRequest) -> Response:
    """Start or end a drain."""
    await plane.database.write(
        nodes.maintain, body.node_id, body.maintenance, body.maintenance_until_unix_ms, body.maintenance_for_ms
    )
    event(_log, logging.INFO, "maintenance", node_id=body.node_id, maintenance=body.maintenance)
    return Response(status_code=NO_CONTENT)


async def revoke_exec_lease(plane: Plane, body: models.ExecLeaseRevokeRequest) -> Response:
    """End any execution lease."""
    await plane.database.write(leases.revoke, body.lease_id)
    event(_log, logging.INFO, "lease revoked", lease_id=body.lease_id)
    return Response(status_code=NO_CONTENT)


def _check_scope(plane: Plane, record: models.NodeRecord) -> None:
    scope = plane.config.scope_id
    if scope is not None and record.scope_id != scope and not plane.scope_open:
        event(_log, logging.WARNING, "scope mismatch", node_id=record.id)
        raise Refusal(403, "scope mismatch: set VOX_MESH_SCOPE_ID to the server's cluster id")


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


def _model(model: models.Wire) -> Response:
    return _json(model.model_dump_json())
