"""Operations on what must be used once: the bootstrap token, and the `jti` of each JWT."""

import hashlib
import hmac

from preflight.control.config import BootstrapToken
from preflight.control.database import SQLITE_INTEGER_MAX, Transaction, volume
from preflight.control.refusal import Refusal

MOST_REMEMBERED = 100_000
"""Ids of JWTs; more only while none of them has expired."""


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
    """Whether a JWT's id is surely new; its token is refused by its age from `forget_unix_ms` on.

    No clock is trusted for forgetting: it may jump ahead and back, and then a token lives again. Only when there are
    many are the ids forgotten that expire first, and from then on whatever expires before the last of them is refused,
    for it may be one of them.
    """
    forget = min(forget_unix_ms, SQLITE_INTEGER_MAX)
    if forget <= tx.db.execute("SELECT until_unix_ms FROM forgotten_jti").fetchone()[0]:
        return False
    added = tx.db.execute(
        "INSERT INTO seen_jti (jti, forget_unix_ms) VALUES (?, ?) ON CONFLICT DO NOTHING", (jti, forget)
    ).rowcount
    if volume(tx, "seen_jti") > MOST_REMEMBERED:
        _forget_some(tx)
    return added == 1


def _forget_some(tx: Transaction) -> None:
    """Forget half of those that are over by this clock, the first to expire first, and note how far that went."""
    until = tx.db.execute(
        "SELECT max(forget_unix_ms) FROM (SELECT forget_unix_ms FROM seen_jti WHERE forget_unix_ms <= ?"
        " ORDER BY forget_unix_ms LIMIT ?)",
        (tx.now, MOST_REMEMBERED // 2),
    ).fetchone()[0]
    if until is not None:
        tx.db.execute("DELETE FROM seen_jti WHERE forget_unix_ms <= ?", (until,))
        tx.db.execute("UPDATE forgotten_jti SET until_unix_ms = ?", (until,))


def _same(spender: str | None, key: str | None) -> bool:
    """Whether both are keys and equal; without a key nobody can be recognised."""
    return spender is not None and key is not None and hmac.compare_digest(spender.encode(), key.encode())
