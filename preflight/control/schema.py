"""The database schema, as migration steps."""

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE node (
        id TEXT PRIMARY KEY,
        record TEXT NOT NULL,                 -- JSON, without last_seen_unix_ms
        last_seen_unix_ms INTEGER NOT NULL,
        drain_until_unix_ms INTEGER           -- the deadline of the record's drain, for finding those that are over
    ) WITHOUT ROWID;

    CREATE TABLE mail (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: an old ack must not hit a new message
        sender TEXT NOT NULL,
        receiver TEXT NOT NULL,
        message_type TEXT NOT NULL,
        payload TEXT NOT NULL,
        created_unix_ms INTEGER NOT NULL,
        acknowledged INTEGER NOT NULL DEFAULT 0,
        priority INTEGER NOT NULL,
        privacy TEXT NOT NULL,                -- comparable form of privacy_class
        privacy_class TEXT,
        idempotency_key TEXT,                 -- NULL once acknowledged
        lease_holder TEXT,
        lease_expires_unix_ms INTEGER,
        extra TEXT NOT NULL                   -- JSON of the fields that are only handed on
    );
    CREATE UNIQUE INDEX mail_idempotency ON mail (sender, receiver, idempotency_key)
        WHERE idempotency_key IS NOT NULL;
    CREATE INDEX mail_waiting ON mail (receiver, priority DESC, id) WHERE acknowledged = 0;
    CREATE INDEX mail_inbox ON mail (receiver, id) WHERE acknowledged = 0;

    CREATE TABLE exec_lease (
        id INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: an old renew must not hit a new lease
        scope_key TEXT NOT NULL UNIQUE,
        holder TEXT NOT NULL,
        expires_unix_ms INTEGER NOT NULL
    );
    CREATE INDEX exec_lease_expiry ON exec_lease (expires_unix_ms);

    CREATE TABLE spent_bootstrap_token (
        token_sha256 BLOB PRIMARY KEY,
        idempotency_key TEXT,
        spent_unix_ms INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE seen_jti (
        jti TEXT PRIMARY KEY,
        forget_unix_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX seen_jti_expiry ON seen_jti (forget_unix_ms);
    """,
    """
    CREATE TABLE volume (                     -- how much there is of what clients make; kept by the triggers below
        name TEXT PRIMARY KEY,
        amount INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO volume
        SELECT 'node', coalesce(sum(length(CAST(record AS BLOB))), 0) FROM node
        UNION ALL SELECT 'mail', coalesce(sum(512 + length(CAST(payload AS BLOB)) + length(extra)), 0) FROM mail
        UNION ALL SELECT 'exec_lease', coalesce(sum(length(CAST(scope_key || holder AS BLOB))), 0) FROM exec_lease
        UNION ALL SELECT 'seen_jti', count(*) FROM seen_jti;

    CREATE TRIGGER node_added AFTER INSERT ON node BEGIN
        UPDATE volume SET amount = amount + length(CAST(new.record AS BLOB)) WHERE name = 'node';
    END;
    CREATE TRIGGER node_changed AFTER UPDATE OF record ON node BEGIN
        UPDATE volume SET amount = amount + length(CAST(new.record AS BLOB)) - length(CAST(old.record AS BLOB))
            WHERE name = 'node';
    END;
    CREATE TRIGGER node_removed AFTER DELETE ON node BEGIN
        UPDATE volume SET amount = amount - length(CAST(old.record AS BLOB)) WHERE name = 'node';
    END;
    CREATE TRIGGER mail_added AFTER INSERT ON mail BEGIN
        UPDATE volume SET amount = amount + 512 + length(CAST(new.payload AS BLOB)) + length(new.extra)
            WHERE name = 'mail';
    END;
    CREATE TRIGGER mail_emptied AFTER UPDATE OF payload ON mail BEGIN
        UPDATE volume SET amount = amount + length(CAST(new.payload AS BLOB)) + length(new.extra)
            - length(CAST(old.payload AS BLOB)) - length(old.extra) WHERE name = 'mail';
    END;
    CREATE TRIGGER mail_removed AFTER DELETE ON mail BEGIN
        UPDATE volume SET amount = amount - 512 - length(CAST(old.payload AS BLOB)) - length(old.extra)
            WHERE name = 'mail';
    END;
    CREATE TRIGGER exec_lease_added AFTER INSERT ON exec_lease BEGIN
        UPDATE volume SET amount = amount + length(CAST(new.scope_key || new.holder AS BLOB))
            WHERE name = 'exec_lease';
    END;
    CREATE TRIGGER exec_lease_removed AFTER DELETE ON exec_lease BEGIN
        UPDATE volume SET amount = amount - length(CAST(old.scope_key || old.holder AS BLOB))
            WHERE name = 'exec_lease';
    END;
    CREATE TRIGGER seen_jti_added AFTER INSERT ON seen_jti BEGIN
        UPDATE volume SET amount = amount + 1 WHERE name = 'seen_jti';
    END;
    CREATE TRIGGER seen_jti_removed AFTER DELETE ON seen_jti BEGIN
        UPDATE volume SET amount = amount - 1 WHERE name = 'seen_jti';
    END;

    CREATE TABLE forgotten_jti (              -- one row: a jti that may be forgotten until then was perhaps used
        until_unix_ms INTEGER NOT NULL
    );
    INSERT INTO forgotten_jti VALUES (0);
    """,
)
"""Step n takes a database from version n to n + 1 (`PRAGMA user_version`). Never change a step that was released."""


def statements(script: str) -> list[str]:
    """The statements of a migration: `executescript` would commit the surrounding transaction."""
    found, statement = [], ""
    for part in script.split(";")[:-1]:
        statement += f"{part};"
        if sqlite3.complete_statement(statement):  # a trigger contains statements
            found.append(statement)
            statement = ""
    return found
