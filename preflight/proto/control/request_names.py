"""Is an answer for the request that was sent, or what a cache kept of an earlier one? Pure.

A control plane repeats a request's `x-request-id` in its answer. A cache hands the old one out with the old answer,
while a gateway that only writes ids of its own makes a new one for each request.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

REQUEST_NAME = "x-request-id"
_HIT = re.compile(r"\b(HIT|STALE|UPDATING)\b", re.IGNORECASE)
_CACHES = ("x-cache", "x-cache-status", "x-proxy-cache", "cf-cache-status", "cache-status")
"""The headers in which caches say where an answer comes from; the last one is RFC 9211's."""


class RequestNames:
    """The ids of a client's requests and of their answers, each with the paths that were asked."""

    def __init__(self) -> None:
        self._paths: dict[str, set[str]] = defaultdict(set)

    def judge(self, own: str, path: str, headers: Mapping[str, str]) -> tuple[bool, bool]:
        """Whether an answer was kept from an earlier request, and whether it names another one than `own`.

        An id that answers to other paths have too is a gateway's word for something else.
        """
        told = headers.get(REQUEST_NAME, own)
        renamed = told != own
        kept = says_kept(headers) or (renamed and self._paths.get(told) == {path})
        self._paths[own].add(path)
        self._paths[told].add(path)
        return kept, renamed


def says_kept(headers: Mapping[str, str]) -> bool:
    """Whether a cache says itself that it gave an answer: by its age (RFC 9111 section 5.1), or as most do."""
    age = headers.get("age", "").strip()
    aged = age.isascii() and age.isdecimal() and age.strip("0") != ""
    return aged or any(_HIT.search(headers.get(name, "")) for name in _CACHES)
