"""Operations on what must be used once: the bootstrap token, and the `jti` of each JWT."""

import hashlib
import hmac

from preflight.control.config import BootstrapToken
from preflight.control.database import SQLITE_INTEGER_MAX, Transaction
from preflight.control.refusal import Refusal


def exchange(
    tx: Transaction, bootstrap: BootstrapToken, mesh_token: str | None, presented: str, idempotency_key: str | None
) -> str:
    """Spend the one-time token, or recognise by the key who spent it; the mesh token.

    Refuses a wrong token with 401, one that has expired or that somebody else spent with 410, and with 503 if there
    is nothing to buy; none of these changes anything.
    """
    expected, expires_unix_ms = bootstrap.token, bootstrap.expires_unix_ms
    if not hmac.compare_digest(presented.encode(), expected.encode()):
        raise Refusal(401, "invalid bootstrap token")
    if expires_unix_ms is not None and tx.now > expires_unix_ms:
        raise Refusal(410, "bootstrap token expired")
    token = hashlib.sha256(expected.encode()).digest()  # the file must not hold what still opens other doors
    key = idempotency_key or None
    spent = tx.db.execute(
        "SELECT idempotency_key FROM spent_bootstrap_token WHERE token_sha256 = ?", (token,)
    ).fetchone()
    if spent is not None and not _same(spent["idempotency_key"], key):
        raise Refusal(410, "bootstrap token already consumed")
    if mesh_token is None:
        raise Refusal(503, "the server has no mesh token (VOX_MESH_TOKEN)")
    if spent is None:
        tx.db.execute(
            "INSERT INTO spent_bootstrap_token (token_sha256, idempotency_key, spent_unix_ms) VALUES (?, ?, ?)",
            (token, key, tx.now),
        )
    return mesh_token


def accept_jti(tx: Transaction, jti: str, forget_unix_ms: int) -> bool:
    """Whether a JWT's id is new; it is remembered until `forget_unix_ms`, when the token is refused by its age."""
    tx.db.execute("DELETE FROM seen_jti WHERE forget_unix_ms <= ?", (tx.now,))
    return (
        tx.db.execute(
            "INSERT INTO seen_jti (jti, forget_unix_ms) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (jti, min(forget_unix_ms, SQLITE_INTEGER_MAX)),
        ).rowcount
        == 1
    )


def _same(spender: str | None, key: str | None) -> bool:
    """Whether both are keys and equal; without a key nobody can be recognised."""
    return spender is not None and key is not None and hmac.compare_digest(spender.encode(), key.encode())
