"""A request that is refused: the status and the plain-text body of its answer."""

from collections.abc import Mapping


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """Raised by any part of the server that refuses; the request's changes are undone."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text
        self.headers = dict(headers or {})
