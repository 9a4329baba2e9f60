"""STAMP's TLVs (RFC 8972 section 4): flags, integrity, and answers as long as the question."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preflight.proto.stamp import tlv as stamp_tlv
from preflight.proto.stamp import wire as stamp
from preflight.proto.stamp.tlv import INTEGRITY, MALFORMED, UNRECOGNISED, Facts, Kind, Tlv
from tests.proto.stamp import asking

KEY = b"0123456789abcdef"
FACTS = Facts(received=7, transmitted=7, previous=(5, 1_700_000_000_000_000_000))

tlvs = st.builds(Tlv, kind=st.integers(1, 255), value=st.binary(max_size=40))


def reflect(area: bytes, *, key: bytes | None = None, authenticated: bool = False) -> list[Tlv]:
    """The TLVs of the answer to request 3, which is answer 9."""
    answer = stamp_tlv.reflect(area, FACTS, request=3, answer=9, key=key, authenticated=authenticated)
    assert len(answer) == len(area)
    return stamp_tlv.parse(answer)


@settings(deadline=None)
@given(st.lists(tlvs, max_size=10))
def test_round_trip(sent: list[Tlv]) -> None:
    """What is written is read back, padding last, where RFC 8972 places it after an HMAC."""
    in_order = sorted(sent, key=lambda tlv: tlv.kind == Kind.EXTRA_PADDING)
    assert stamp_tlv.parse(stamp_tlv.encode(sent)) == in_order


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from([None, KEY]), st.booleans())
def test_random_bytes(area: bytes, key: bytes | None, authenticated: bool) -> None:
    """Whatever comes after the base packet, the answer is as long and nothing breaks."""
    assert len(stamp_tlv.reflect(area, FACTS, request=1, answer=1, key=key, authenticated=authenticated)) == len(area)


@settings(deadline=None)
@given(st.lists(tlvs, max_size=5), st.integers(0, 200))
def test_truncation(sent: list[Tlv], length: int) -> None:
    """A packet that is cut comes back with M on the TLV that was cut."""
    area = stamp_tlv.encode(sent)[:length]
    whole = stamp_tlv.parse(area)
    answer = stamp_tlv.reflect(area, FACTS, request=1, answer=1)
    rest = answer[sum(len(tlv.encode()) for tlv in whole) :]
    if len(rest) >= stamp_tlv.HEADER_BYTES and all(
        len(tlv.value) in SIZES.get(tlv.kind, {len(tlv.value)}) for tlv in whole
    ):
        assert rest[0] & MALFORMED


SIZES = {3: {4}, 5: {12}, 6: {4}, 7: {16}, 8: {16}}


def test_known_types_lose_the_u_flag() -> None:
    """A sender marks every TLV as unrecognised; the reflector clears that for what it understood."""
    answered = reflect(stamp_tlv.encode([Tlv(Kind.ACCESS_REPORT, b"\x10\x01\0\0"), Tlv(Kind.EXTRA_PADDING, bytes(9))]))
    assert [tlv.flags for tlv in answered] == [0, 0]
    assert answered[0].value == b"\x10\x01\0\0"


@pytest.mark.parametrize("kind", [2, 4, 9, 240, 255])
def test_unknown_types_come_back_with_u(kind: int) -> None:
    """What this reflector does not know is copied, marked, and does not stop what follows."""
    unknown, padding = reflect(stamp_tlv.encode([Tlv(kind, b"abcd"), Tlv(Kind.EXTRA_PADDING, bytes(4))]))
    assert unknown == Tlv(kind, b"abcd", UNRECOGNISED)
    assert padding.flags == 0


@pytest.mark.parametrize(("kind", "length"), [(3, 5), (5, 11), (6, 0), (7, 15), (8, 17)])
def test_wrong_lengths_come_back_with_m_and_stop_the_reading(kind: int, length: int) -> None:
    """A known type of a wrong length is malformed; the rest stays as it was sent."""
    area = Tlv(kind, bytes(length)).encode() + Tlv(240, b"abcd").encode()
    malformed, untouched = reflect(area)
    assert malformed.flags == MALFORMED
    assert untouched == Tlv(240, b"abcd", UNRECOGNISED)


def test_answers_of_the_reflector() -> None:
    """Direct Measurement, Timestamp Information and Follow-Up are filled in (RFC 8972 sections 4.3, 4.5, 4.7)."""
    direct, times, follow_up = reflect(
        stamp_tlv.encode(
            [
                Tlv(Kind.DIRECT_MEASUREMENT, (8).to_bytes(4) + bytes(8)),
                Tlv(Kind.TIMESTAMP_INFORMATION, bytes(4)),
                Tlv(Kind.FOLLOW_UP, bytes(16)),
            ]
        )
    )
    assert direct.value == (8).to_bytes(4) + (7).to_bytes(4) + (7).to_bytes(4)
    assert times.value == bytes([5, 2, 5, 2])
    assert follow_up.value[:4] == (5).to_bytes(4)
    assert stamp.ns_from_ntp(int.from_bytes(follow_up.value[4:12])) == 1_700_000_000_000_000_000


SEEN = replace(FACTS, traffic_class=0xB9, source=("10.66.0.1", 40000), local=("10.66.0.2", 862))
SEEN6 = replace(SEEN, source=("fd66::1", 40000), local=("fe80::2%wg0", 862))


@pytest.mark.parametrize(
    ("facts", "source", "local"),
    [
        (SEEN, ("10.66.0.1", 40000), ("10.66.0.2", 862)),
        (SEEN6, ("fd66::1", 40000), ("fe80::2", 862)),
    ],
)
def test_location(facts: Facts, source: tuple[str, int], local: tuple[str, int]) -> None:
    """RFC 8972 section 4.2: ports and addresses as the reflector saw them, each sub-TLV answered by its family's."""
    area = stamp_tlv.encode([asking.location(), Tlv(Kind.EXTRA_PADDING, bytes(3))])
    answer = stamp_tlv.reflect(area, facts, request=3, answer=9)
    answered, padding = stamp_tlv.parse(answer)
    assert (len(answer), answered.flags, padding.flags) == (len(area), 0, 0)
    assert asking.read_location(answered) == (source, local)
    assert [place.kind for place in stamp_tlv.parse(answered.value[4:])] == ([8, 5] if facts is SEEN else [9, 6])


def test_location_on_the_wire() -> None:
    """Destination port first, then the source's; IPv4 in the first four of sixteen bytes (RFC 8972 section 4.2.1)."""
    area = stamp_tlv.encode([asking.location()])
    answer = stamp_tlv.reflect(area, SEEN, request=3, answer=9)
    assert answer == (
        bytes([0, 2, 0, 44, 862 >> 8, 862 & 255, 40000 >> 8, 40000 & 255])
        + bytes([0, 8, 0, 16, 10, 66, 0, 1, *bytes(12)])
        + bytes([0, 5, 0, 16, 10, 66, 0, 2, *bytes(12)])
    )


@pytest.mark.parametrize(
    ("places", "flags"),
    [
        ([Tlv(1, bytes(8))], [0]),  # the source's MAC address cannot be seen: zeros, type as asked
        ([Tlv(2, bytes(8)), Tlv(7, bytes(16))], [UNRECOGNISED, 0]),
        ([Tlv(99, b"what")], [UNRECOGNISED]),
        ([Tlv(7, bytes(4)), Tlv(4, bytes(16))], [MALFORMED, UNRECOGNISED]),
        ([Tlv(4, bytes(17))], [MALFORMED]),
    ],
)
def test_what_a_location_cannot_tell(places: list[Tlv], flags: list[int]) -> None:
    """Unknown sub-TLVs come back with U; one of a wrong length with M, and what follows it unread."""
    value = bytes(4) + b"".join(place.encode() for place in places)
    (answer,) = stamp_tlv.parse(stamp_tlv.reflect(Tlv(Kind.LOCATION, value).encode(), SEEN, request=3, answer=9))
    assert answer.flags == 0
    assert [place.flags for place in stamp_tlv.parse(answer.value[4:])] == flags
    assert asking.read_location(answer) is None


@pytest.mark.parametrize("kind", ["location", "class"])
def test_truncation_at_every_byte(kind: str) -> None:
    """However these two are cut, the answer is as long and says M; what is not even a header comes back as it is."""
    area = stamp_tlv.encode([asking.location() if kind == "location" else asking.class_of_service(46)])
    for length in range(len(area)):
        answer = stamp_tlv.reflect(area[:length], SEEN, request=3, answer=9)
        assert len(answer) == length
        assert (answer[:1] == bytes([MALFORMED])) == (length >= stamp_tlv.HEADER_BYTES)
        assert stamp_tlv.answer_class(answer) is None


def test_a_location_that_is_cut_is_malformed() -> None:
    """Without room for two ports it does not count; a sub-TLV that says it is longer than the TLV is marked too."""
    short = stamp_tlv.reflect(Tlv(Kind.LOCATION, bytes(3)).encode(), SEEN, request=3, answer=9)
    assert short[0] == MALFORMED
    cut = Tlv(Kind.LOCATION, bytes(4) + Tlv(7, bytes(16)).encode()[:-1]).encode()
    assert stamp_tlv.reflect(cut, SEEN, request=3, answer=9)[8] == MALFORMED


@pytest.mark.parametrize("dscp", [0, 46, 63])
def test_class_of_service(dscp: int) -> None:
    """RFC 8972 section 4.4: DSCP1 as asked, DSCP2 and ECN as they came (0xB9: EF, ECT(1)), and the answer marked."""
    area = stamp_tlv.encode([asking.class_of_service(dscp)])
    answer = stamp_tlv.reflect(area, SEEN, request=3, answer=9)
    assert answer == bytes([0, 4, 0, 4]) + (dscp << 26 | 46 << 20 | 1 << 18).to_bytes(4)
    assert stamp_tlv.answer_class(answer) == dscp << 2
    (answered,) = stamp_tlv.parse(answer)
    assert asking.read_class_of_service(answered) == (46, 1, True)
    assert stamp_tlv.answer_class(area) is None
    assert asking.read_class_of_service(asking.class_of_service(dscp)) is None


def test_a_class_that_was_refused_is_reported() -> None:
    """A reflector that may not use the DSCP asked for says so in RP."""
    assert asking.read_class_of_service(Tlv(4, bytes([0xB9, 0x01, 0, 0]), 0)) == (16, 0, False)


def test_padding_that_looks_like_a_class_marks_nothing() -> None:
    """Only a TLV asks for a DSCP, not bytes inside another's value."""
    area = Tlv(Kind.EXTRA_PADDING, bytes([0, 4, 0, 4, 0xB8, 0, 0, 0])).encode()
    assert stamp_tlv.answer_class(stamp_tlv.reflect(area, SEEN, request=3, answer=9)) is None


@settings(deadline=None)
@given(st.binary(max_size=120), st.sampled_from([2, 4]), st.sampled_from([SEEN, SEEN6]))
def test_random_places_and_classes(value: bytes, kind: int, facts: Facts) -> None:
    """Whatever is in them, the answer is as long, and both of its ends can read it."""
    area = Tlv(kind, value).encode()
    answer = stamp_tlv.reflect(area, facts, request=1, answer=1)
    assert len(answer) == len(area)
    (answered,) = stamp_tlv.parse(answer)
    asking.read_location(answered)
    asking.read_class_of_service(answered)


def test_hmac_tlv_is_verified_and_made_anew() -> None:
    """The answer's HMAC covers the answer's sequence number and TLVs, and is where the request's was."""
    area = stamp_tlv.encode([Tlv(Kind.ACCESS_REPORT, bytes(4)), Tlv(Kind.EXTRA_PADDING, bytes(8))], sequence=3, key=KEY)
    answer = stamp_tlv.reflect(area, FACTS, request=3, answer=9, key=KEY, authenticated=True)
    assert [(tlv.kind, tlv.flags) for tlv in stamp_tlv.parse(answer)] == [(6, 0), (8, 0), (1, 0)]
    # What a reflector would say to this as a request numbered 9: its HMAC fits.
    assert all(
        tlv.flags == 0 for tlv in stamp_tlv.parse(stamp_tlv.reflect(answer, FACTS, request=9, answer=0, key=KEY))
    )


@pytest.mark.parametrize("place", [5, 12])
def test_a_forged_tlv_marks_all_with_i(place: int) -> None:
    """If value or HMAC were changed, nothing is done with any TLV, and all say so."""
    area = bytearray(stamp_tlv.encode([Tlv(Kind.DIRECT_MEASUREMENT, bytes(12)), Tlv(240, b"x")], sequence=3, key=KEY))
    area[place] ^= 1
    answered = reflect(bytes(area), key=KEY, authenticated=True)
    assert all(tlv.flags & INTEGRITY for tlv in answered)
    assert answered[0].value == bytes(area[4:16])


def test_authenticated_mode_wants_an_hmac_for_all_but_padding() -> None:
    """Without an HMAC TLV only Extra Padding is taken in authenticated mode; in unauthenticated mode anything is."""
    report = stamp_tlv.encode([Tlv(Kind.ACCESS_REPORT, bytes(4))])
    assert reflect(report, key=KEY, authenticated=True)[0].flags == INTEGRITY
    assert reflect(report, key=KEY)[0].flags == 0
    assert reflect(stamp_tlv.padding(20), key=KEY, authenticated=True)[0].flags == 0


def test_an_hmac_out_of_place_is_a_failed_one() -> None:
    """After an HMAC TLV only padding may come (RFC 8972 section 4.8)."""
    area = stamp_tlv.encode([Tlv(Kind.ACCESS_REPORT, bytes(4))], sequence=3, key=KEY) + Tlv(6, bytes(4)).encode()
    assert all(tlv.flags & INTEGRITY for tlv in reflect(area, key=KEY, authenticated=True))


def test_zeros_are_padding() -> None:
    """A TWAMP Light sender pads with zeros: they come back as they are, at no cost."""
    assert stamp_tlv.reflect(bytes(1300), FACTS, request=1, answer=1) == bytes(1300)


def test_endless_tlvs_are_bounded() -> None:
    """A packet of empty TLVs costs no more than `MAX_TLVS` of them."""
    area = Tlv(240).encode() * 300
    answer = stamp_tlv.reflect(area.replace(b"\x80", b"\0"), FACTS, request=1, answer=1)
    assert sum(tlv.flags == UNRECOGNISED for tlv in stamp_tlv.parse(answer)) == stamp_tlv.MAX_TLVS


@pytest.mark.parametrize(("length", "expected"), [(-3, 0), (0, 0), (3, 0), (4, 4), (100, 100)])
def test_padding_has_the_length_asked_for(length: int, expected: int) -> None:
    """A packet is brought to a size by padding, as far as a TLV header fits."""
    assert len(stamp_tlv.padding(length)) == expected


def test_drops_are_reported_to_who_asks() -> None:
    """The three counts come back in our own TLV, wrapped at 32 bits; a reflector that does not know them says U."""
    area = stamp_tlv.encode([stamp_tlv.drops()])
    facts = replace(FACTS, drops=(2**32 + 7, 3, 1))
    (answered,) = stamp_tlv.parse(stamp_tlv.reflect(area, facts, request=3, answer=9))
    assert stamp_tlv.read_drops(answered) == (7, 3, 1)
    (untold,) = reflect(area)
    assert untold.flags == UNRECOGNISED
    assert stamp_tlv.read_drops(untold) is None
