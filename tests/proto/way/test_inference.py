"""A place of death is never wrong and never narrower or wider than what the observers allow."""

from hypothesis import given
from hypothesis import strategies as st

from preflight import codes
from preflight.proto.way.inference import Followed, infer
from preflight.proto.way.observation import Death, Finding, Observation, PacketClass
from preflight.proto.way.stations import FORWARDED, PACKET, Station


def _death(certain: bool = True) -> Death:
    return Death(code=codes.HOST_FIREWALL_DROP, message="rule 7 drops them", certain=certain)


def _said(id: str, finding: Finding, host: str = "sender", packets: PacketClass = "inner") -> Observation:
    station = next(each for each in PACKET if (each.id, each.host) == (id, host))
    return Observation(
        station=station, finding=finding, packets=packets, death=_death() if finding == "killed" else None
    )


def _states(followed: Followed) -> dict[str, str]:
    return {f"{each.station.id}@{each.station.host}": each.state for each in followed.stations}


def test_seen_behind_a_station_means_passed_there() -> None:
    """A tap on the uplink proves route, firewall, device and session of this node."""
    states = _states(infer(PACKET, [_said("wire", "seen", packets="data")]))
    assert states["filter-out@sender"] == "passed"
    assert states["wire@sender"] == "passed"
    assert states["network@network"] == "unseen"


def test_a_rule_that_dropped_is_the_place() -> None:
    """A station's own word decides among the stations between two observers."""
    followed = infer(PACKET, [_said("route", "seen"), _said("filter-out", "killed"), _said("tunnel", "absent")])
    assert followed.place == Station("filter-out")
    assert followed.death == _death()


def test_a_rule_is_not_believed_against_packets_seen_behind_it() -> None:
    """A counter that moved for other packets kills nothing of ours."""
    followed = infer(PACKET, [_said("filter-out", "killed"), _said("tunnel", "seen")])
    assert followed.place is None
    assert followed.gap == ()


def test_what_is_proven_outranks_what_only_fits() -> None:
    """A rule that may match is named only if nothing is proven."""
    likely = Observation(station=Station("filter-out"), finding="killed", death=_death(certain=False))
    followed = infer(PACKET, [likely, _said("post-out", "killed"), _said("tunnel", "absent")])
    assert followed.place == Station("post-out")


def test_what_only_fits_is_kept_beside_the_gap() -> None:
    """The stations that are left stay as they are, and the guess is there for a sentence."""
    likely = Observation(station=Station("filter-out"), finding="killed", death=_death(certain=False))
    followed = infer(PACKET, [_said("route", "seen"), likely, _said("tunnel", "absent")])
    assert (followed.place, followed.death, followed.likely) == (None, None, _death(certain=False))
    assert _states(followed)["filter-out@sender"] == "unseen"
    alone = infer(PACKET, [likely, _said("tunnel", "seen", packets="data")])
    assert (alone.place, alone.gap, alone.likely) == (None, (), None)


def test_a_handshake_that_is_refused_is_why_packets_vanish() -> None:
    """What is inside waits for a session: the proven death of what builds it comes before the gap of the rest."""
    refused = _said("socket-outer", "killed", host="receiver", packets="handshake")
    words = [_said("tunnel", "seen"), _said("socket", "absent", host="receiver")]
    assert infer(PACKET, [*words, refused]).place == refused.station
    hairpin = Observation(
        station=Station("route-outer"),
        finding="killed",
        packets="handshake",
        death=Death(code=codes.OVERLAY_ENDPOINT_HAIRPIN, message="the own router", later=True),
    )
    leaving = [_said("route-outer", "clear"), _said("wire", "seen", packets="handshake")]
    assert infer(PACKET, [*words, *leaving, hairpin]).place == hairpin.station
    before = [_said("route", "seen"), _said("tunnel", "absent")]
    followed = infer(PACKET, [*before, refused])
    assert (followed.place, [station.id for station in followed.gap]) == (
        None, ["filter-out", "post-out", "egress", "tunnel"],
    )  # fmt: skip


def test_several_stations_that_are_left_are_not_named() -> None:
    """The gap lists what nobody could distinguish; no place is claimed."""
    followed = infer(PACKET, [_said("tunnel", "seen"), _said("session", "clear"), _said("neighbour", "absent")])
    assert followed.place is None
    assert [station.id for station in followed.gap] == ["route-outer", "filter-outer", "post-outer", "neighbour"]


def test_handshakes_on_the_wire_do_not_excuse_packets_that_never_entered_the_tunnel() -> None:
    """A tunnel calls by itself: that its handshakes leave proves nothing for packets that the firewall dropped."""
    seen = [_said("wire", "seen", packets="handshake"), _said("tunnel", "absent"), _said("filter-out", "killed")]
    assert infer(PACKET, seen).place == Station("filter-out")


def test_handshakes_do_not_excuse_a_route_that_refuses() -> None:
    """A tunnel calls by itself, whatever the routes into it are. Data comes out of it only if some went in."""
    refused = _said("route", "killed")
    carriers: dict[PacketClass, Station | None] = {"handshake": refused.station, "data": None}
    for carried, place in carriers.items():
        assert infer(PACKET, [refused, _said("session", "seen", "receiver", carried)]).place == place
    outside = _said("route-outer", "killed")
    assert infer(PACKET, [outside, _said("session", "seen", "receiver", "handshake")]).place is None


def test_large_packets_that_die_alone_are_told_where_all_others_pass() -> None:
    """What kills only large packets is the place if nothing kills the rest."""
    followed = infer(PACKET, [_said("socket", "seen", host="receiver"), _said("egress", "killed", packets="large")])
    assert followed.place == Station("egress")


_TABLES = st.sampled_from((PACKET, FORWARDED))


@given(st.data(), _TABLES)
def test_random_worlds_never_give_a_wrong_place(data: st.DataObject, table: tuple[Station, ...]) -> None:
    """Packets die at a random station before random observers: the answer holds it, and is as narrow as they allow."""
    dies = data.draw(st.integers(0, len(table) - 1))
    observations: list[Observation] = []
    for index, station in enumerate(table):
        kind = data.draw(st.sampled_from(("tap", "rules", "blind", "nobody")))
        if kind == "tap":
            observations.append(Observation(station=station, finding="seen" if index < dies else "absent"))
        elif kind == "rules":
            killed = index == dies
            observations.append(
                Observation(
                    station=station, finding="killed" if killed else "clear", death=_death() if killed else None
                )
            )
        elif kind == "blind":
            observations.append(Observation(station=station, finding="blind"))
    followed = infer(table, data.draw(st.permutations(observations)))
    _is_sound(table, dies, observations, followed)


def _is_sound(table: tuple[Station, ...], dies: int, said: list[Observation], followed: Followed) -> None:
    at = {station: index for index, station in enumerate(table)}
    seen = max((at[each.station] for each in said if each.finding == "seen"), default=-1)
    absent = min((at[each.station] for each in said if each.finding == "absent"), default=None)
    clear = {at[each.station] for each in said if each.finding == "clear"}
    passed = [at[judged.station] for judged in followed.stations if judged.state == "passed"]
    assert passed == list(range(seen + 1))
    if any(each.finding == "killed" for each in said):
        assert followed.place == table[dies]
    elif absent is None:
        assert followed.place is None
        assert followed.gap == ()
    else:
        allowed = [index for index in range(seen + 1, absent + 1) if index not in clear]
        named = [at[station] for station in (followed.gap or (followed.place,)) if station is not None]
        assert dies in allowed
        assert named == allowed


@given(st.data(), _TABLES)
def test_a_guess_never_moves_a_place(data: st.DataObject, table: tuple[Station, ...]) -> None:
    """What fits and is not proven adds a sentence; it is the cause only at the one station that is left without it."""
    findings: tuple[Finding, ...] = ("seen", "absent", "clear", "blind", "killed")
    words = [
        Observation(station=station, finding=finding, death=_death() if finding == "killed" else None)
        for station in table
        if data.draw(st.booleans())
        for finding in (data.draw(st.sampled_from(findings)),)
    ]
    guessed = data.draw(st.sampled_from(table))
    guess = Observation(station=guessed, finding="killed", death=_death(certain=False))
    before, after = infer(table, words), infer(table, [*words, guess])
    assert (after.place, after.gap) == (before.place, before.gap)
    if after.death != before.death:
        assert (before.death, after.place) == (None, guessed)
    states = [judged.state for judged in after.stations]
    assert states == [judged.state for judged in before.stations]


@given(st.data())
def test_less_to_see_never_makes_an_answer_wrong(data: st.DataObject) -> None:
    """Each observer that is taken away makes the answer wider or empty, never another one."""
    dies = data.draw(st.integers(0, len(PACKET) - 1))
    everybody = [
        Observation(station=station, finding="seen" if index < dies else "absent")
        for index, station in enumerate(PACKET)
        if data.draw(st.booleans())
    ]
    for gone in range(len(everybody)):
        followed = infer(PACKET, everybody[:gone] + everybody[gone + 1 :])
        left = followed.gap or ((followed.place,) if followed.place else ())
        assert not left or PACKET[dies] in left
