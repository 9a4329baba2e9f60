"""Wire models of the Populi control plane: what clients send and what they get back, `/v1/populi`.

Types are strict, as on the real server: "1" is not an integer and 1 is not a boolean. Unknown fields are ignored,
except in a NodeRecord: there they are stored and returned.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, WithJsonSchema

U64_MAX = 2**64 - 1


def _integral(value: object) -> object:
    """1.0 is the integer 1 to JSON Schema (2020-12 core, section 4.2.3), and so in our API description."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


U8 = Annotated[int, Field(ge=0, le=2**8 - 1), BeforeValidator(_integral)]
U32 = Annotated[int, Field(ge=0, le=2**32 - 1), BeforeValidator(_integral)]
U64 = Annotated[int, Field(ge=0, le=U64_MAX), BeforeValidator(_integral)]

Name = Annotated[str, StringConstraints(strip_whitespace=True)]
"""An identifier; surrounding blanks are stripped."""
Word = Annotated[str, StringConstraints(max_length=512)]
"""A short text that is stored unchanged."""
Kept = Annotated[Name, StringConstraints(max_length=512)]
"""A name that is stored."""
Named = Annotated[Name, WithJsonSchema({"type": "string", "pattern": r"\S"})]
"""A name that must not be blank; the route checks that, because the contract wants 400, not 422."""
AgentId = Annotated[Name, WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]{1,128}\s*$"})]
"""Decimal digits; the route checks that."""
ScopeKey = Annotated[Name, WithJsonSchema({"type": "string", "pattern": r"\S", "maxLength": 2048})]
"""Not blank and at most 2048 bytes; the route checks that."""


class Wire(BaseModel):
    """A JSON object on the wire."""

    model_config = ConfigDict(strict=True, frozen=True)


class Capabilities(Wire):
    """What a node can do; every field is optional; unknown fields are stored."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    labels: list[str] | None = None


class NodeRecord(Wire):
    """One member of the cluster."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")

    id: Annotated[Kept, StringConstraints(min_length=1, pattern=r"\S")] = Field(description="Stable node id.")
    capabilities: Capabilities
    version: str = Field(description="Version of the software that registered the node.")
    last_seen_unix_ms: U64 = Field(description="Set by the server; a client's value is ignored.")
    listen_addr: str | None = None
    scope_id: Word | None = Field(None, description="Cluster (tenancy) id, compared exactly.")
    visibility: Name | None = Field(None, description="private (the default) or public.")
    pool_id: Name | None = None
    trust_tier: Name | None = Field(None, description="new, probation or trusted (the default).")
    workload_classes: list[str] | None = None
    privacy_class: Name | None = None
    maintenance: bool | None = Field(None, description="The node drains: it gets no new work.")
    maintenance_until_unix_ms: U64 | None = Field(None, description="When the drain ends automatically.")
    provider: str | None = None
    quarantined: bool | None = Field(None, description="Set by an administrator only.")
    gpu_total_count: U32 | None = None
    gpu_healthy_count: U32 | None = None
    gpu_allocatable_count: U32 | None = None

    def sent(self) -> dict[str, Any]:
        """The fields with a value; null counts as not sent."""
        return self.model_dump(exclude_none=True)


class NodeList(Wire):
    """Answer of `GET /v1/populi/nodes`."""

    schema_version: int
    nodes: list[NodeRecord]
    queue_depth: int | None = Field(None, description="Messages waiting in all mailboxes, without leased ones.")


class LeaveRequest(Wire):
    """Which node leaves."""

    id: Name


class BootstrapExchangeRequest(Wire):
    """The one-time token, and a key of the client that makes a repeat after a lost answer safe."""

    bootstrap_token: SecretStr
    idempotency_key: Kept | None = None


class BootstrapExchangeResponse(Wire):
    """The bearer that the one-time token is exchanged for."""

    mesh_token: str
    scope_id: str | None


class DeliverRequest(Wire):
    """A message for an agent's mailbox; agent ids are decimal digits."""

    sender_agent_id: AgentId
    receiver_agent_id: AgentId
    message_type: Word
    payload: str
    idempotency_key: Kept | None = None
    privacy_class: Word | None = Field(None, description="public (the default), private, trusted or trusted_only.")
    priority: U8 = 128
    payload_blake3_hex: str | None = None
    worker_ed25519_sig_b64: str | None = None
    jwe_payload: str | None = None
    task_kind: str | None = None
    model_id: str | None = None
    traceparent: str | None = None


class DeliverResponse(Wire):
    """Where the message is kept."""

    accepted: bool
    message_id: int


class InboxRequest(Wire):
    """Read a mailbox, or claim one message of it for a node."""

    receiver_agent_id: Name
    claimer_node_id: Name | None = Field(None, description="Lease one row to this node instead of listing.")
    max_messages: U64 | None = Field(None, description="Default 64, limited to 1…256.")
    before_message_id: U64 | None = Field(None, description="Only rows with smaller ids.")


class MailboxRow(Wire):
    """A message in the mailbox."""

    id: int
    sender_agent_id: str
    receiver_agent_id: str
    message_type: str
    payload: str
    created_unix_ms: int
    acknowledged: bool
    priority: int
    lease_holder_node_id: str | None = None
    lease_expires_unix_ms: int | None = None
    privacy_class: str | None = None
    payload_blake3_hex: str | None = None
    worker_ed25519_sig_b64: str | None = None
    jwe_payload: str | None = None
    task_kind: str | None = None
    model_id: str | None = None
    traceparent: str | None = None


class InboxResponse(Wire):
    """The requested rows."""

    messages: list[MailboxRow]


class AckRequest(Wire):
    """The affected message."""

    receiver_agent_id: Name
    message_id: U64


class MailLeaseRenewRequest(Wire):
    """Extend the lease on a claimed message."""

    receiver_agent_id: Name
    message_id: U64
    claimer_node_id: Named


class ExecLeaseGrantRequest(Wire):
    """Ask for the execution lease on a scope key."""

    claimer_node_id: Named
    scope_key: ScopeKey


class ExecLease(Wire):
    """A live execution lease."""

    lease_id: str = Field(pattern=r"^[1-9][0-9]*$")
    scope_key: str
    holder_node_id: str
    expires_unix_ms: int


class ExecLeaseList(Wire):
    """All live execution leases."""

    leases: list[ExecLease]


class ExecLeaseRequest(Wire):
    """Renew or release a lease that the claimer holds."""

    lease_id: Named
    claimer_node_id: Named


class QuarantineRequest(Wire):
    """Exclude a node from new work, or admit it again."""

    node_id: Named
    quarantined: bool


class MaintenanceRequest(Wire):
    """Drain a node, or end its drain; of the two deadlines the absolute one wins."""

    node_id: Named
    maintenance: bool
    maintenance_until_unix_ms: U64 | None = None
    maintenance_for_ms: U64 | None = Field(None, description="Capped at 7 days.")


class ExecLeaseRevokeRequest(Wire):
    """Revoke an execution lease of any holder."""

    lease_id: Named
