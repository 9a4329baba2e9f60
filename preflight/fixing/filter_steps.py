"""What fixes of firewalls do, command by command, and what undoes each: pure, except for the questions asked first."""

import re
from collections.abc import Iterator

from preflight.fixing.step import Ask, FixError, Step, undone_by
from preflight.model.change import Command
from preflight.model.fix import FilterAccept, FilterDelete, FilterPass, IptablesPass

_HANDLE = re.compile(r"(?P<rule>.*) # handle (?P<handle>\d+)")


def filter_delete(fix: FilterDelete, ask: Ask) -> Iterator[Step]:
    """Takes a rule of nftables out, and puts it back where it was."""
    place = (fix.family, fix.table, fix.chain)
    listed = ask(("nft", "-a", "list", "chain", *place)).splitlines()
    rules = [match for line in listed if "{" not in line and (match := _HANDLE.fullmatch(line.strip()))]
    numbers = [int(rule["handle"]) for rule in rules]
    if fix.handle not in numbers:
        raise FixError(f"the rule {fix.handle} is not there any more")
    at = numbers.index(fix.handle)
    where = ("add", "rule", *place, "position", str(numbers[at - 1])) if at else ("insert", "rule", *place)
    yield from (Step(command, undone_by(("nft", *where, rules[at]["rule"]))) for command in fix.commands)


def filter_accept(fix: FilterAccept | FilterPass, ask: Ask) -> Iterator[Step]:
    """Puts a rule of nftables in front; it is deleted by the handle that nft prints."""
    del ask  # nft refuses a rule in front of one that is gone

    def unmade(output: str) -> tuple[Command, ...]:
        handles = re.findall(r"# handle (\d+)", output)
        return tuple(("nft", "delete", "rule", fix.family, fix.table, fix.chain, "handle", each) for each in handles)

    yield from (Step((program, "--echo", "--handle", *words), unmade) for program, *words in fix.commands)


def iptables_pass(fix: IptablesPass, ask: Ask) -> Iterator[Step]:
    """Puts a rule of iptables in front, or takes it out again."""
    rules = [line for line in ask((*fix.program, "-S", fix.chain)).splitlines() if line.startswith("-A ")]
    if fix.before is not None and fix.before > len(rules):
        raise FixError(f"the chain {fix.chain} has only {len(rules)} rules by now")
    back = (*fix.program, "-D", fix.chain, *fix.match)
    yield from (Step(command, undone_by(back)) for command in fix.commands)
