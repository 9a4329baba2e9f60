"""Does each token of this node have the rights of its role, and no more? Does each role have its own token?"""

import asyncio
import hmac
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from preflight.api import (
    CONTROL,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    request,
    skipped,
    warned,
)
from preflight.model.control import ControlError, HttpAnswer
from preflight.model.roles import Rights, RoleToken
from preflight.proto.control.answerer import BACKEND, UNAVAILABLE, asked_to_wait, says_too_many, strange
from preflight.proto.control.answers import FORBIDDEN, SERVER_ERROR, THROTTLED, UNAUTHORIZED
from preflight.proto.control.gate import Gate, gate
from preflight.proto.control.gateways import server_name
from preflight.proto.control.populi import is_populi
from preflight.proto.control.url import ControlUrl

if TYPE_CHECKING:
    from preflight.api import ControlClient

API = "/v1/populi"
WORK, ADMINISTER, DELIVER = ("GET", "/nodes"), ("GET", "/exec/leases"), ("POST", "/a2a/deliver")
JOIN = ("POST", "/join")
PACE_S = 0.02
ASKED_S = 5.0
ATTEMPTS = 3
MOST_WAITED_S = 5.0
BODY_BYTES = 65536
OLDER_SERVER = (404, 405)
"""It may lack the list of leases: then nothing shows the rights of a token, now or later."""
MULTIPLE_CHOICES, REQUEST_TIMEOUT = 300, 408
AGAIN_S = 1.0
FULL = ("mesh", "admin")
SAME_BY_DESIGN = ({"node", "mesh"}, {"node", "worker"})
"""The node's own bearer has one of these roles."""


@check(
    "posture.roles",
    title="Tokens have the rights of their role, and no more",
    subject="control",
    codes=(
        codes.POSTURE_ROLE_TOO_STRONG,
        codes.POSTURE_SHARED_TOKEN,
        codes.ENROLL_FORBIDDEN,
        codes.ENROLL_UNAUTHORIZED,
        codes.CONTROL_NOT_POPULI,
        codes.CONTROL_REDIRECTED,
        codes.CONTROL_UNHEALTHY,
    ),
    needs=("control.api",),
    timeout=45,
)
async def posture_roles(ctx: Context) -> AsyncGenerator[Result, None]:
    """Compare the tokens of this node with each other, and request two lists, a delivery and a join with each.

    Both have an empty object, which no route accepts, so nothing is written. A JWT is not tried: the control plane
    accepts each only once.
    """
    tokens = ctx.net.secrets.tokens()
    rights = await measure(ctx.net.control, tokens)
    if any(each.silent for each in rights):  # on a slow link requests wait behind what other checks send
        async with ctx.net.turns.alone_instead():
            rights = await measure(ctx.net.control, tokens)
    for result in judge(rights, shared(tokens), ctx.settings.control.usable_url):
        yield result


async def measure(client: "ControlClient", tokens: Sequence[RoleToken]) -> tuple[Rights, ...]:
    """What each token can access; one token at a time, each value once."""
    asked: dict[str, Rights] = {}
    for token in tokens:
        value = token.value.get_secret_value()
        if value not in asked:
            asked[value] = await _rights(client, token)
    return tuple(replace(asked[token.value.get_secret_value()], token=token) for token in tokens)


async def _rights(client: "ControlClient", token: RoleToken) -> Rights:
    if token.is_jwt:
        return Rights(token, asked=False)
    if client.pace.narrow:
        return Rights(token, detail="a limit on the way lets hardly a request a second through, so none was asked")
    try:
        work, administer, deliver, join = await asyncio.gather(
            *(_ask(client, *route, token) for route in (WORK, ADMINISTER, DELIVER, JOIN))
        )
    except ControlError as error:
        return Rights(token, detail=error.message, silent=error.kind == "timeout")
    join = await _join_again(client, token, join)
    asked = (work, administer, deliver)
    if any(answer.kept for answer in (*asked, join)):
        return Rights(token, detail="something in front of the control plane answers with what it has cached")
    if any(is_populi(answer) and answer.status == UNAUTHORIZED for answer in asked):
        return Rights(token, known=False)
    opened = {route: _opened(*route, answer) for route, answer in ((WORK, work), (ADMINISTER, administer))}
    untold = [_untold(*route, answer) for route, answer in ((WORK, work), (ADMINISTER, administer))]
    return Rights(
        token,
        work=opened[WORK],
        administer=opened[ADMINISTER],
        # A server may judge the body or the role first, so only a refusal counts.
        deliver=False if is_populi(deliver) and deliver.status == FORBIDDEN else None,
        known=any(is_populi(answer) for answer in asked) or None,
        detail="; ".join(filter(None, untold)),
        turned_away=_turned_away(work, join) if token.role != "submitter" else None,
    )


async def _join_again(client: "ControlClient", token: RoleToken, join: HttpAnswer) -> HttpAnswer:
    """The answer to a join, once more where a gateway says that no server behind it answers: that may pass."""
    if is_populi(join) or join.status not in BACKEND:
        return join
    await asyncio.sleep(AGAIN_S)
    try:
        again = await _ask(client, *JOIN, token)
    except ControlError:
        return join
    return again


def _turned_away(work: HttpAnswer, join: HttpAnswer) -> HttpAnswer | None:
    """The answer of a gateway that hands `GET nodes` on, and no join."""
    dead = join.status in BACKEND and join.status != UNAVAILABLE
    answered = MULTIPLE_CHOICES <= join.status < SERVER_ERROR or dead
    passing = join.status in (THROTTLED, REQUEST_TIMEOUT) or not answered
    return None if is_populi(join) or not is_populi(work) or passing else join


async def _ask(client: "ControlClient", method: str, path: str, token: RoleToken) -> HttpAnswer:
    """The answer; waits first if the server rate-limits. Raises ControlError."""
    body: dict[str, str] | None = {} if method == "POST" else None
    for attempt in range(1, ATTEMPTS + 1):
        await asyncio.sleep(PACE_S)
        answer = await client.send(
            method,
            f"{API}{path}",
            body,
            bearer=token.value,
            timeout_s=ASKED_S,
            most_bytes=BODY_BYTES,
            recall="any" if attempt == 1 else "nothing",
        )
        if not says_too_many(answer) or attempt == ATTEMPTS:
            break
        await asyncio.sleep(min(MOST_WAITED_S, asked_to_wait(answer) or 1.0))
    return answer


def _opened(method: str, path: str, answer: HttpAnswer) -> bool | None:
    """Whether the control plane itself gave or refused the list; an answer of a gateway says nothing about a token."""
    if gate(method, path, answer) is Gate.OPEN:
        return True
    return False if is_populi(answer) and answer.status == FORBIDDEN else None


def _untold(method: str, path: str, answer: HttpAnswer) -> str:
    """Why an answer is not conclusive; empty if it is, or if an older server cannot give one."""
    older = (method, path) == ADMINISTER and is_populi(answer) and answer.status in OLDER_SERVER
    if older or _opened(method, path, answer) is not None:
        return ""
    by = "" if is_populi(answer) else ", and not by a control plane"
    return f"{method} {path} was answered {answer.status}{by}"


def shared(tokens: Sequence[RoleToken]) -> list[tuple[RoleToken, RoleToken]]:
    """Pairs of tokens of different roles with one value; compared here, in constant time, and sent nowhere."""
    return [
        (one, other)
        for one, other in combinations(tokens, 2)
        if one.role != other.role
        and {one.role, other.role} not in SAME_BY_DESIGN
        and hmac.compare_digest(one.value.get_secret_value().encode(), other.value.get_secret_value().encode())
    ]


def judge(
    rights: Sequence[Rights], pairs: Sequence[tuple[RoleToken, RoleToken]], url: ControlUrl | None = None
) -> list[Result]:
    """One finding for a token under two names, one for too many rights, one for too few."""
    if not rights:
        message = "no token of any role is set on this node, so there is nothing to judge"
        return [skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, message)]
    lost = next((right.turned_away for right in rights if right.turned_away is not None), None)
    if lost is not None:
        return [_lost(lost, rights, url)]
    if (swapped := _swapped(rights)) is not None:
        return [_exchanged(*swapped, rights)]
    doubled = {token.source for pair in pairs for token in pair}
    strong = [right for right in rights if right.token.source not in doubled and _too_strong(right)]
    found = [
        *([_judge_strong(strong, rights)] if strong else []),
        *([_judge_shared(pairs, rights)] if pairs else _judge_full(rights)),
        *_judge_weak([right for right in rights if right not in strong and not _second(right, pairs)]),
    ]
    return found or [_judge_rest(rights)]


def _second(right: Rights, pairs: Sequence[tuple[RoleToken, RoleToken]]) -> bool:
    """Whether a token is one of another role too, and taken as that: that it is shared says it all."""
    roles = ("admin", "mesh", "submitter")
    return right.token.role in roles and any(right.token.source in (one.source, other.source) for one, other in pairs)


def _lost(answer: HttpAnswer, rights: Sequence[Rights], url: ControlUrl | None) -> Result:
    found = strange(f"POST {API}/join", answer, url)
    handed = f"hands GET {API}/nodes on to the control plane"
    message = f"{found.message}, which {handed}: no node can join through it"
    if answer.status in BACKEND:
        gateway = server_name(answer) or "something in front of the control plane"
        message = (
            f"POST {API}/join was answered {answer.status} by {gateway}, which {handed}: the server to which it sends "
            "joins does not answer it, so no node can join through it"
        )
    return failed(
        found.code,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        remedies=found.remedies,
        measurements=found.decided.measurements(),
        evidence=(_evidence(rights),),
        station=request(found.station),
    )


def _swapped(rights: Sequence[Rights]) -> tuple[RoleToken, RoleToken] | None:
    """The bearer of this node may not work, and the token that only sends work may."""
    own = next((each for each in rights if each.token.role == "node" and each.known and each.work is False), None)
    other = next((each for each in rights if each.token.role == "submitter" and each.work is True), None)
    return (own.token, other.token) if own is not None and other is not None else None


def _exchanged(own: RoleToken, other: RoleToken, rights: Sequence[Rights]) -> Result:
    message = (
        f"the token of {own.source} is refused GET nodes, which workers need, and that of {other.source} (submitter's) "
        "opens it: the two are swapped"
    )
    return failed(
        codes.ENROLL_FORBIDDEN,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        aspect="forbidden",
        station=request("bearer"),
        remedies=by_hand(f"Exchange the values of {own.source} and {other.source} where they are set."),
        measurements={"variable": other.source},
        evidence=(_evidence(rights),),
    )


def _too_strong(right: Rights) -> bool:
    if right.token.role == "worker":
        return right.administer is True
    return right.token.role == "submitter" and (right.work is True or right.administer is True)


def _judge_strong(strong: Sequence[Rights], rights: Sequence[Rights]) -> Result:
    said = "; ".join(
        f"the {right.token.role}'s token ({right.token.source}) opens {_routes(right)}" for right in strong
    )
    return failed(
        codes.POSTURE_ROLE_TOO_STRONG,
        CONTROL,
        Direction.ROUND_TRIP,
        said,
        remedies=by_hand(
            f"Give {strong[0].token.source} a token of the role {strong[0].token.role} that the control plane "
            "knows for this role, and revoke the old one."
        ),
        evidence=(_evidence(rights),),
    )


def _routes(right: Rights) -> str:
    opened = {"GET nodes": right.work is True and right.token.role == "submitter", "GET exec/leases": right.administer}
    return " and ".join(route for route, is_open in opened.items() if is_open)


def _judge_weak(rights: Sequence[Rights]) -> list[Result]:
    """Tokens with fewer rights than their role, or none."""
    refused = {
        "worker": lambda right: right.work is False,
        "submitter": lambda right: right.deliver is False,
        "admin": lambda right: right.administer is False,
        "mesh": lambda right: right.administer is False or right.work is False,
    }
    weak = [right for right in rights if right.token.role in refused and refused[right.token.role](right)]
    unknown = [right for right in rights if right.known is False]
    found = []
    for code, tokens, what in (
        (codes.ENROLL_FORBIDDEN, weak, "is refused a route of its role"),
        (codes.ENROLL_UNAUTHORIZED, unknown, "is refused by the control plane with 401"),
    ):
        if tokens:
            names = ", ".join(f"{right.token.source} ({_role(right.token)})" for right in tokens)
            remedies = by_hand(f"Put a token of the role {tokens[0].token.role} into {tokens[0].token.source}.")
            message = f"the token of {names} {what}"
            more = {
                "station": request("bearer"),
                "aspect": code.slug.partition(".")[2],
                "remedies": remedies,
                "evidence": (_evidence(rights),),
            }
            found.append(failed(code, CONTROL, Direction.ROUND_TRIP, message, **more))
    return found


def _judge_shared(pairs: Sequence[tuple[RoleToken, RoleToken]], rights: Sequence[Rights]) -> Result:
    names = list(dict.fromkeys(f"{token.source} ({_role(token)})" for pair in pairs for token in pair))
    return _warn_shared(f"one secret serves several roles: {', '.join(names)}", rights)


def _judge_full(rights: Sequence[Rights]) -> list[Result]:
    """A node that uses the full token, although another of its tokens shows that the cluster separates roles."""
    apart = any(right.work is False or right.administer is False for right in rights)
    full = next((r for r in rights if r.token.role == "node" and r.work and r.administer), None)
    if full is None or not apart or any(right.token.role == "admin" for right in rights):
        return []
    message = (
        f"this node's own token ({full.token.source}) opens everything, although the control plane separates roles"
    )
    return [_warn_shared(message, rights)]


def _warn_shared(message: str, rights: Sequence[Rights]) -> Result:
    return warned(
        codes.POSTURE_SHARED_TOKEN,
        CONTROL,
        Direction.ROUND_TRIP,
        message,
        aspect="shared",
        remedies=by_hand("Give each role its own token: preflight explain posture.shared-token gives the order."),
        evidence=(_evidence(rights),),
    )


def _judge_rest(rights: Sequence[Rights]) -> Result:
    summary = "; ".join(f"{right.token.source}: {_in_words(right)}" for right in rights)
    known = [right for right in rights if right.known]
    undecided = next((right for right in rights if right.asked and right.known is not False and right.detail), None)
    if undecided is not None:
        message = f"what {undecided.token.source} opens is not known: {undecided.detail}; run again later"
        return inconclusive(codes.RUN_NO_ANSWER, CONTROL, Direction.ROUND_TRIP, message, evidence=(_evidence(rights),))
    if not known:
        return skipped(codes.RUN_NOT_APPLICABLE, CONTROL, Direction.ROUND_TRIP, summary)
    return passed(CONTROL, Direction.ROUND_TRIP, summary, evidence=(_evidence(rights),))


def _in_words(right: Rights) -> str:
    if not right.asked:
        return "a JWT, which is valid for one request and was not tried"
    if not right.known:
        return "not known to the control plane"
    if right.administer and right.work:
        return "opens everything"
    opened = {"work": right.work, "administration": right.administer}
    words = [word for word, is_open in opened.items() if is_open]
    return f"opens {' and '.join(words)} only" if words else "refused for work and for administration"


def _role(token: RoleToken) -> str:
    return "this node's" if token.role == "node" else f"{token.role}'s"


def _evidence(rights: Iterable[Rights]) -> Evidence:
    rows = {
        right.token.source: {"work": right.work, "deliver": right.deliver, "administer": right.administer}
        for right in rights
    }
    return Evidence("roles", "what each token could access", rows)
