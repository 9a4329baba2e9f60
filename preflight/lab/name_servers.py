"""The name servers of a lab, and a's own files in /etc that say whom to ask."""

import json
from collections.abc import Callable

from preflight.lab import processes
from preflight.lab.blueprint import Blueprint, Places, ResolverPlan
from preflight.lab.names import ROUTER, LabNames
from preflight.programs import python_module

DNS_PORT = 53
_BEHIND_DNSMASQ = 5300
_HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
_SWITCH = "passwd: files\ngroup: files\nhosts: files dns\n"
"""What any node has, so that a's own files are not this machine's."""
Command = Callable[[str, list[str]], list[str]]
Waiting = Callable[[float], None]


def write_etc(names: LabNames, plan: Blueprint, places: Places) -> None:
    """Files that `ip netns exec` puts over those of /etc for a's programs."""
    files = {name: places.text(text) for name, text in plan.etc.items()}
    if plan.resolvers:
        files = {"hosts": _HOSTS, "nsswitch.conf": _SWITCH, **files, "resolv.conf": resolv_conf(plan)}
    folder = names.etc("a")
    for name, text in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="ascii")


def resolv_conf(plan: Blueprint) -> str:
    """a's resolv.conf."""
    lines = [f"nameserver {resolver.address}" for resolver in plan.resolvers]
    lines += [f"search {' '.join(plan.search)}"] if plan.search else []
    lines += [f"options ndots:{plan.ndots}"] if plan.ndots != 1 else []
    return "".join(f"{line}\n" for line in lines)


def start(names: LabNames, plan: Blueprint, places: Places, command: Command) -> list[Waiting]:
    """Start all of them; call what is returned, with a deadline, to wait until they serve.

    command: runs a program in a node. Raises LabError if dnsmasq is missing and wanted.
    """
    serving = [resolver for resolver in plan.resolvers if not (resolver.silent or resolver.absent)]
    if not serving:
        return []
    zones = [_zone(resolver, places, number) for number, resolver in enumerate(serving)]
    words = python_module("preflight.lab.fake_servers", "resolver", json.dumps(zones))
    waiting = [_started(names, "resolver", command(ROUTER, words), "listening on ", len(zones))]
    for number, resolver in enumerate(serving):
        if resolver.stripping:
            words = command(ROUTER, _dnsmasq(resolver.address, _BEHIND_DNSMASQ + number))
            waiting.append(_started(names, f"dnsmasq-{number}", words, "started, version", 1))
    return waiting


def _zone(resolver: ResolverPlan, places: Places, number: int) -> dict[str, object]:
    answers = {name: [places.text(each) for each in addresses] for name, addresses in resolver.answers.items()}
    zone: dict[str, object] = {"answers": answers, "truncated": resolver.truncated}
    if resolver.stripping:
        return {**zone, "address": "127.0.0.1", "port": _BEHIND_DNSMASQ + number}
    return {**zone, "address": resolver.address, "port": DNS_PORT}


def _dnsmasq(address: str, upstream_port: int) -> list[str]:
    """dnsmasq as home routers run it: it refuses private addresses from upstream (rebind protection)."""
    words = [processes.program("dnsmasq"), "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]
    words += ["--pid-file=", "--user=root", "--log-facility=-", "--bind-interfaces", f"--listen-address={address}"]
    return [*words, f"--server=127.0.0.1#{upstream_port}", "--stop-dns-rebind", "--cache-size=0"]


def _started(names: LabNames, name: str, words: list[str], ready: str, times: int) -> Waiting:
    daemon = processes.start(name, words, mark=names.mark(name), log=names.directory / f"{name}.log")
    return lambda deadline: processes.wait_for_words(daemon, ready, times, deadline)
