"""The peers of the path-MTU benchmark: each answer is read right, or the comparison is worth nothing."""

import subprocess

import pytest

from benchmarks.peers import BISECTION, PEERS

READ = {peer.name: peer.read for peer in PEERS}

PMTU_DIAG = """
── 3/5  Forward path MTU (binary search) -------------------
  ->   Search range: 576 - 1420 bytes  |  pass threshold: 2/3
  Test  1:  MTU  998 B  (payload  970 B)  —  OK
── 4/5  Reply path MTU (target -> us) ----------------------
  OK   No reply fragmentation captured at 1420 bytes
── 5/5  Result ---------------------------------------------
  Forward path MTU (verified):  1312 bytes
  Iterations:                   10
"""
TRACEPATH = """ 1?: [LOCALHOST]                      pmtu 1500
 1:  10.201.1.1                                            0.151ms pmtu 1380
 1:  10.201.2.2                                            0.210ms reached
     Resume: pmtu 1380 hops 1 back 1
"""


@pytest.mark.parametrize(
    ("name", "output", "size"),
    [
        ("pmtu-diag", PMTU_DIAG, 1312),
        ("pmtu-diag", "unreachable\n", None),
        ("tracepath", TRACEPATH, 1380),
        ("automtu", "1312\n", 1312),
        ("ping bisection", "1419\n", 1419),
        ("scapy bisection", "", None),
    ],
)
def test_answers_are_read(name: str, output: str, size: int | None) -> None:
    """Protects the column that says whether a peer was right."""
    assert READ[name](output) == size


@pytest.mark.parametrize("truth", [1279, 1280, 1312, 1419, 1420])
def test_the_bisection_is_exact_and_short(truth: int) -> None:
    """Protects the peers from a bad bisection of ours: the exact size, in no more steps than the range needs."""
    words = ["sh", "-c", BISECTION % f'echo asked >&2; [ "$size" -le {truth} ]', "sh", "10.66.0.2", "1420"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(truth)
    assert len(done.stderr.splitlines()) <= 8
