"""Whether peers were asked in a run, and answered nothing; pure."""

from collections.abc import Iterable

from preflight.model.facts import AnswerFacts, EchoFacts


def only_silence(echoes: Iterable[EchoFacts], answers: Iterable[AnswerFacts]) -> bool:
    """True if something was sent and nothing at all came back, not even what nobody had asked for."""
    echoed, answered = list(echoes), list(answers)
    asked = any(each.sent for each in echoed) or any(each.sent for each in answered)
    came = any(each.received for each in echoed) or any(each.answered or each.rejected for each in answered)
    return asked and not came
