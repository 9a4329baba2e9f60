"""Operations on single-use credentials: the bootstrap token, and the `jti` of each JWT."""

import hashlib
import hmac

from preflight.control.config import BootstrapToken
from preflight.control.database import SQLITE_INTEGER_MAX, Transaction, volume
from preflight.control.refusal import Refusal

MOST_REMEMBERED = 100_000
"""Most stored ids of JWTs; more only while none has expired."""


def exchange(
    tx: Transaction, bootstrap: BootstrapToken, mesh_token: str | None, presented: str, idempotency_key: str | None
) -> str:
    """Spend the one-time token, or recognise a repeat by its key; returns the mesh token.

    Refuses a wrong token with 401, an expired or spent one with 410, and with 503 if there is no mesh token; a
    refusal changes nothing.
    """
    expected, expires_unix_ms = bootstrap.token, bootstrap.expires_unix_ms
    if not hmac.compare_digest(presented.encode(), expected.encode()):
        raise Refusal(401, "invalid bootstrap token")
    if expires_unix_ms is not None and tx.now > expires_unix_ms:
        raise Refusal(410, "bootstrap token expired")
    token = hashlib.sha256(
        expected.encode()
    ).digest()  # the file must not contain a token that other servers may still accept
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


def burn(tx: Transaction, bootstrap: BootstrapToken) -> int | None:
    """Spend the one-time token before anything is compared, as the real server does.

    Returns when, Unix milliseconds; None if it was spent before.
    """
    added = tx.db.execute(
        "INSERT INTO spent_bootstrap_token (token_sha256, idempotency_key, spent_unix_ms) VALUES (?, NULL, ?)"
        " ON CONFLICT DO NOTHING",
        (hashlib.sha256(bootstrap.token.encode()).digest(), tx.now),
    ).rowcount
    return tx.now if added == 1 else None


def after_burning(bootstrap: BootstrapToken, mesh_token: str | None, presented: str, now_ms: int) -> str:
    """The real server's answer to the exchange that spent the token: the mesh token, or a refusal."""
    if bootstrap.expires_unix_ms is not None and now_ms > bootstrap.expires_unix_ms:
        raise Refusal(410, "bootstrap token expired")
    if not hmac.compare_digest(presented.encode(), bootstrap.token.encode()):
        raise Refusal(401, "invalid bootstrap token")
    if mesh_token is None:
        raise Refusal(503, "the server has no mesh token (VOX_MESH_TOKEN)")
    return mesh_token


def accept_jti(tx: Transaction, jti: str, forget_unix_ms: int) -> bool:
    """Whether a JWT's id is certainly new; after `forget_unix_ms` its token is refused by age.

    Ids are not deleted by the clock: it may jump ahead and back, and then a token would be valid again. Only if there
    are many, the ids that expire first are deleted; from then on every token that expires before the last of them is
    refused, because it may be one of them.
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
    """Delete half of the expired ids, oldest expiry first, and record the last expiry deleted."""
    until = tx.db.execute(
        "SELECT max(forget_unix_ms) FROM (SELECT forget_unix_ms FROM seen_jti WHERE forget_unix_ms <= ?"
        " ORDER BY forget_unix_ms LIMIT ?)",
        (tx.now, MOST_REMEMBERED // 2),
    ).fetchone()[0]
    if until is not None:
        tx.db.execute("DELETE FROM seen_jti WHERE forget_unix_ms <= ?", (until,))
        tx.db.execute("UPDATE forgotten_jti SET until_unix_ms = ?", (until,))


def _same(spender: str | None, key: str | None) -> bool:
    """Whether both are keys and equal; without a key a repeat cannot be recognised."""
    return spender is not None and key is not None and hmac.compare_digest(spender.encode(), key.encode())
