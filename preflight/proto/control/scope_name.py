"""Is a scope id one that unrelated people choose too? Then it does not separate their clusters; pure."""

import re

_COMMON = frozenset(
    (
        *("default", "test", "testing", "tests", "demo", "dev", "devel", "development", "prod", "production"),
        *("staging", "local", "localhost", "lan", "home", "office", "lab", "main", "master", "public"),
        *("private", "global", "shared", "mesh", "mens", "vox", "populi", "cluster", "scope", "group", "team"),
        *("network", "net", "overlay", "nodes", "node", "gpu", "gpus", "ml", "ai", "example", "sample", "foo"),
        *("bar", "none", "null", "changeme", "todo", "placeholder", "secret", "password", "admin", "user"),
        *("id", "name", "my", "our", "the", "a", "new", "x", "replace", "change", "me", "here", "your"),
        *("this", "of", "scopeid", "clusterid", "tenant", "company"),
    )
)
"""Words of which a scope id that many would choose is made."""
_SHORTEST = 4


def guessable(scope_id: str) -> bool:
    """Whether a scope id holds only common words and short numbers, such as `my-cluster` or `mesh-1`."""
    words = re.findall(r"[^\W\d_]+|\d+", scope_id.lower())
    telling = [word for word in words if word not in _COMMON and not (word.isdecimal() and len(word) < _SHORTEST)]
    return not telling or (len(scope_id.strip()) < _SHORTEST)
