"""What an inquiry proves about a direction, as the facts of a message: each says who counted what."""

from preflight.model.icmp import EchoStats
from preflight.model.path import AskResult, PeerReport
from preflight.model.printable import number_of


def answered_of(name: str, answered: int, sent: int) -> str:
    """The responder answers."""
    return f"the responder of {name} answered {answered} of {sent} packets"


def answered_late(name: str, unanswered: int) -> str:
    """The responder answers now; `unanswered` packets before got no answer."""
    before = number_of("packets", unanswered)
    return f"the responder of {name} answered once the tunnel was up, after {before} without an answer"


def other_key(name: str) -> str:
    """The responder answers only what is not signed."""
    return (
        f"the responder of {name} answers packets without a key and drops those signed with this node's: "
        "its key is another one, or it has none"
    )


def echo_text(echo: EchoStats | None) -> str:
    """That no echo was answered, or that none could be tried."""
    if echo is None or not echo.sent:
        return " (ICMP echo could not be tried)"
    return f" and none of {echo.sent} ICMP echoes"


def unanswered(name: str, asked: AskResult) -> str:
    """Packets get through both ways, and yet no test packet is answered."""
    report = asked.report
    if report is None:
        return (
            f"{name} hears this node's packets, as its hellos show, and they arrive here, "
            "but no answer to a test packet does"
        )
    refused = ", ".join(f"{reason} {count}" for reason, count in sorted(report.refused.items()))
    why = f"its responder drops this node's packets ({refused})" if refused else "its responder answers none"
    return f"packets get to {name} and {asked.probes_received} of {report.sent} of its probes got here, but {why}"


def got(name: str, asked: AskResult) -> str:
    """That packets get to the peer, and who says so."""
    report = asked.report
    if report is None:
        how = "it sends to the port that this node's packets came from" if asked.on_interface else "its hellos show it"
        return f"packets get to {name}: {how}"
    count = report.received + report.elsewhere
    fact = f"{name} got {count} of {asked.sent} packets" if count else f"packets get to {name}"
    return f"{fact}, as it reports by mailbox"


def got_none(name: str, asked: AskResult) -> str:
    """That no packet got to the peer, and who says so."""
    report, hello = asked.report, asked.hello
    fact = f"{name} got none of the {asked.sent} UDP packets that this node sent"
    if report is not None:
        here = f", while {asked.probes_received} of {report.sent} packets that it sent arrived here"
        return f"{fact}, as it reports by mailbox{here if asked.probes_received else ''}"
    if hello is None:
        return fact
    flows = hello.heard.hello_age_s is not None and hello.heard.hello_age_s <= hello.after_s
    only = "; it does hear the hellos of this node's responder, so only new flows are dropped" if flows else ""
    return f"{fact}: its hello that came here {hello.after_s:.1f} s after the first of them counts none{only}"


def arrived(name: str, asked: AskResult) -> str:
    """That packets of the peer arrive here, and which."""
    if not asked.probes_received:
        return f"the hellos of {name} arrive here"
    of = f" of {asked.report.sent}" if asked.report else ""
    return f"{asked.probes_received}{of} packets that {name} sent arrived here"


def not_here(report: PeerReport) -> str:
    """That none of what the peer sent arrived here, or that it could not send."""
    if report.sent:
        return f"none of the {report.sent} that it sent arrived here"
    errors = ", ".join(sorted(report.send_errors))
    return f"it could not send any: its own system refused ({errors})"
