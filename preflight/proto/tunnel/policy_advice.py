"""Where a product's policy is, and how it lets something through; pure."""

from preflight.model.remedy import Remedies, Where, look

CONSOLE: Where = "product console"


def policy_levers(product: str, peer: str, *, here: bool) -> Remedies:
    """Where the policy is, and what shows it: from here it is not known which of them drops."""
    if product == "tailscale":
        return (
            *look(f"Let the tailnet's access rules (acls or grants) allow this node to reach {peer}.", where=CONSOLE),
            *look("tailscale set --shields-up=false   # if shields are up there", where="peer", host=peer, root=True),
        )
    if product == "nebula":
        return _inbound(peer, "{port: any, proto: any, host: any}")
    console = look(
        f"Let the network's flow rules accept this traffic, and authorise {peer} and this node in it.", where=CONSOLE
    )
    there = look("zerotier-cli listnetworks   # must say OK", where="peer", host=peer, root=True)
    return console if here else (*console, *there)


def trusting(peer: str) -> Remedies:
    """A trusted path carries packets without encryption, and who does not trust the same number takes none of them.

    Its greetings are checked by other means, so that the session lives.
    """
    line = "grep -B 3 -A 3 trustedPathId /var/lib/zerotier-one/local.conf   # the same number on both, or on neither"
    return (*look(line, root=True), *look(line, where="peer", host=peer, root=True))


def udp_words(product: str, peer: str) -> str:
    """Who drops UDP behind a session through which echoes pass: from here it is not known which of them."""
    firewall = f"a firewall on {peer} drops it"
    policies = {
        "tailscale": "the tailnet's access rules let no UDP through",
        "zerotier": "the network's flow rules let no UDP through",
        "nebula": f"the inbound rules of {peer}'s Nebula let no UDP in",
    }
    return f"{policies[product]}, or {firewall}" if product in policies else firewall


def let_udp_in(product: str, peer: str, port: int) -> Remedies:
    """What lets UDP in at a peer to which other packets get; nothing for products without a policy.

    port: of its responder. A filter of the peer's host would look the same from here.
    """
    if product == "tailscale":
        rule = f"Let the tailnet's access rules (acls or grants) allow this node UDP port {port} of {peer}."
        return look(rule, where=CONSOLE)
    if product == "zerotier":
        return look(f"Let the network's flow rules accept UDP, for example to port {port} of {peer}.", where=CONSOLE)
    if product == "nebula":
        return _inbound(peer, f"{{port: {port}, proto: udp, host: any}}")
    return ()


def _inbound(peer: str, rule: str) -> Remedies:
    """Nebula's rules are in a file of the member that receives."""
    return look(
        f"grep -A 20 '^firewall:' /etc/nebula/config.yml   # does firewall.inbound have a rule such as {rule}?",
        "systemctl reload nebula   # once it is there",
        where="peer",
        host=peer,
        root=True,
    )
