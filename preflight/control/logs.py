"""Structured logs: one JSON object a line on stderr; never a body, a header or a query string."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

_FIELDS = "fields"


def event(logger: logging.Logger, level: int, what: str, **fields: object) -> None:
    """Log that something happened, with details as fields of the line."""
    if logger.isEnabledFor(level):
        logger.log(level, what, extra={_FIELDS: fields})


class JsonLines(logging.Formatter):
    """`{"time", "level", "event", …}`; a traceback is in `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line for one record; control characters of clients are escaped by JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure(*, verbose: bool) -> None:
    """Send the server's logs to stderr: from INFO on, or from DEBUG on (one line a request)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("preflight.control").setLevel(logging.DEBUG if verbose else logging.INFO)
