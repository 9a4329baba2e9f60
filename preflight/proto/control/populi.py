"""The wire contract's JSON bodies: read strictly where we rely on them, leniently elsewhere.

An answer that cannot be used is a ControlError of kind `protocol` with the status 200 that it had, so that it is not
repeated like a broken connection. Numbers are unsigned 64-bit integers. Texts are whatever a member sent: pass them
through `excerpt` before you show them.
"""

from typing import Any, TypeGuard

from preflight.model.control import (
    ControlError,
    ControlErrorKind,
    Credential,
    HttpAnswer,
    MailboxRow,
    NodeList,
    NodeRecord,
)
from preflight.model.printable import excerpt
from preflight.proto.control.http import REDIRECTION
from preflight.proto.secrets.secret_encodings import Secrets

FEATURE_HEADER = "x-populi-feature"
"""Every answer of a control plane has it; no other server's has."""
HEALTHY = 200
"""The status of a good answer to `GET /health`."""
LIST_ROUTE, LOOKED_AT_BYTES = "/v1/populi/nodes", 65536
"""The list of nodes, and how much of it shows whose answer it is."""
BEGINNING = 40
"""How much of a body is shown that is not what was asked for."""
EXCHANGE_ROUTE = "/v1/populi/bootstrap/exchange"
NAME_CHARACTERS = 256
"""The longest scope id."""
U64_MAX = 2**64 - 1
TOO_LARGE, THROTTLED, SERVER_ERROR = 413, 429, 500


def is_populi(answer: HttpAnswer) -> bool:
    """Whether a control plane gave this answer, and not a gateway, a portal or another product."""
    return FEATURE_HEADER in answer.headers


def no_json(answer: HttpAnswer) -> str:
    """What an answer is whose body is not JSON: its type, and what is odd about it."""
    kind = excerpt(answer.headers.get("content-type", "no content type"))
    coded = answer.headers.get("content-encoding", "identity")
    if not answer.body.strip():
        return f"{kind}, with an empty body"
    if coded != "identity":
        return f"{kind}, but compressed ({excerpt(coded)}), which nobody asked for"
    if answer.body.startswith(b"\xef\xbb\xbf"):
        return f"{kind}, but behind a byte order mark (BOM), which JSON must not have"
    return f"{kind}, which begins with {excerpt(answer.body[:BEGINNING].decode('utf-8', 'replace'))!r}"


def kind_of(answer: HttpAnswer) -> ControlErrorKind:
    """Whose answer it is. `Later` and a server's error count from any sender on the way: a repeat may help.

    So does a body that is too large for a gateway: no smaller limit behind it would change that.
    """
    if answer.status // 100 == REDIRECTION:
        return "redirected"
    passing = answer.status in (TOO_LARGE, THROTTLED) or answer.status >= SERVER_ERROR
    return "status" if passing or is_populi(answer) else "foreign"


def node_record(body: Any) -> NodeRecord:
    """A NodeRecord; unknown fields are kept. Raises ControlError("protocol")."""
    row = _object(body, "a node record")
    return NodeRecord(
        id=_text(row, "id"),
        version=_text(row, "version"),
        last_seen_unix_ms=_number(row, "last_seen_unix_ms"),
        fields=row,
    )


def node_list(body: Any) -> NodeList:
    """The answer of `GET nodes`. Raises ControlError("protocol")."""
    row = _object(body, "the node list")
    nodes = row.get("nodes")
    if not isinstance(nodes, list):
        raise _malformed("nodes")
    return NodeList(
        schema_version=_number(row, "schema_version"),
        nodes=tuple(node_record(node) for node in nodes),
    )


def credential(body: Any) -> Credential:
    """The answer of the bootstrap exchange. Raises ControlError("protocol"), never showing a value."""
    from pydantic import SecretStr  # here, so that the catalogue needs no pydantic

    row = _object(body, "the bootstrap exchange")
    token, scope = _text(row, "mesh_token"), row.get("scope_id")
    if not (token and token.isascii() and token.isprintable()):
        raise _malformed("mesh_token")
    usable = isinstance(scope, str) and 0 < len(scope) <= NAME_CHARACTERS and scope.isprintable()
    return Credential(SecretStr(token), scope if usable else None)


def lease_id(body: Any) -> str:
    """The id of the lease that `exec/lease/grant` gave. Raises ControlError("protocol")."""
    return _text(_object(body, "exec/lease/grant"), "lease_id")


def message_id(body: Any) -> int:
    """The id that `a2a/deliver` gave. Raises ControlError("protocol")."""
    return _number(_object(body, "a2a/deliver"), "message_id")


def mailbox_rows(body: Any) -> list[MailboxRow]:
    """The rows of `a2a/inbox`. Raises ControlError("protocol")."""
    messages = _object(body, "a2a/inbox").get("messages")
    if not isinstance(messages, list):
        raise _malformed("messages")
    return [_mailbox_row(_object(message, "a mailbox row")) for message in messages]


def shown(body: bytes, secrets: tuple[str, ...]) -> str:
    """One printable line of an error's body, without the given secrets in any encoding."""
    text, _ = Secrets(secrets).replaced(body.decode("utf-8", "replace"), "[secret]")
    return excerpt(text)


def is_u64(value: object) -> TypeGuard[int]:
    """Whether it is an unsigned 64-bit integer, as all integers of the contract are."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= U64_MAX


def _mailbox_row(row: dict[str, Any]) -> MailboxRow:
    return MailboxRow(
        id=_number(row, "id"),
        sender=_text(row, "sender_agent_id"),
        receiver=_text(row, "receiver_agent_id"),
        message_type=_text(row, "message_type"),
        payload=_text(row, "payload"),
        created_unix_ms=_number(row, "created_unix_ms"),
    )


def _object(body: Any, what: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise ControlError("protocol", 200, f"{what} was not answered with a JSON object")
    return body


def _text(row: dict[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str):
        raise _malformed(key)
    return value


def _number(row: dict[str, Any], key: str) -> int:
    """An unsigned 64-bit integer, or one written as decimal digits."""
    value = row.get(key)
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= len(str(U64_MAX)):
        value = int(value)
    if not is_u64(value):
        raise _malformed(key)
    return value


def _malformed(key: str) -> ControlError:
    return ControlError("protocol", 200, f"the answer's {key!r} is missing, of another type, or out of range")
