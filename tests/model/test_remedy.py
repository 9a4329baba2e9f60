"""Remedies: where they apply is said with each line, and what only shows more never looks like a fix."""

import pytest

from preflight.model.fix import LinkMtu, LinkMtuByAddress
from preflight.model.remedy import Remedy, as_text, by_hand, heal, look


def _fix() -> LinkMtu:
    return LinkMtu(interface="wg0", mtu_bytes=1312)


def test_a_line_says_where_and_what_makes_it_last() -> None:
    """Protects from a line for the peer that is pasted here."""
    (there,) = heal(
        lambda: LinkMtuByAddress(address="10.66.0.2", mtu_bytes=1312), where="peer", host="b", lasting="MTU = 1312"
    )
    assert there.shown[0].endswith(" mtu 1312   # on b; to persist: MTU = 1312")
    assert (there.needs, there.kind) == ("root", "fix")
    assert as_text((*look("date", where="control host"), *heal(_fix))) == (
        "date   # on the control host\nip link set dev wg0 mtu 1312"
    )


def test_a_sentence_or_a_line_with_a_comment_stays_as_it_is() -> None:
    """Protects a sentence from a comment behind its full stop."""
    assert by_hand("Renew it.", where="peer", host="b")[0].shown == ("Renew it.",)
    assert look("nft list ruleset   # on b: what drops it?", where="peer", host="b")[0].shown[0].count("#") == 1
    assert look("Does it forward the port?", where="router")[0].shown == ("Does it forward the port?",)
    assert as_text(()) is None


def test_a_name_from_outside_makes_no_fix() -> None:
    """Protects a run from an interface whose name no command line should hold."""
    assert heal(lambda: LinkMtu(interface="-x", mtu_bytes=1312)) == ()


def test_what_is_shown_is_what_would_be_done() -> None:
    """Protects a reader who agrees to the lines from a change that they do not show."""
    with pytest.raises(ValueError, match="differ"):
        Remedy(kind="fix", lines=("true",), fix=_fix())
    with pytest.raises(ValueError, match="changes nothing"):
        Remedy(kind="next", lines=_fix().lines, fix=_fix())
