"""Random rules of nftables; some match what a test sends."""

from hypothesis import strategies as st

from .conftest import DEVICE, OWN, PEER

PORTS = (861, 862, 40000, 51820)
SIZES = (100, 1400)

addresses = st.sampled_from(
    (*OWN.values(), *PEER.values(), "10.66.0.0/24", "fd66::/64", "192.0.2.1", "10.66.0.2-10.66.0.9")
)
ports = st.sampled_from(PORTS)
negated = st.sampled_from(("", "!= "))


def word(address: str) -> str:
    return "ip6" if ":" in address else "ip"


matches = st.one_of(
    st.builds(lambda end, no, a: f"{word(a)} {end} {no}{a}", st.sampled_from(("saddr", "daddr")), negated, addresses),
    st.builds(lambda end, no, p: f"udp {end} {no}{p}", st.sampled_from(("sport", "dport")), negated, ports),
    st.builds(lambda no, p: f"udp dport {no}{{ {p}, {p + 2}-{p + 9} }}", negated, ports),
    st.builds(lambda p, q: f"th sport . th dport {{ {p} . {q}, {q} . {p} }}", ports, ports),
    st.builds(lambda no, a, p: f"{word(a)} daddr . udp dport {no}{{ {a} . {p} }}", negated, addresses, ports),
    st.builds(lambda no, n: f"meta mark {no}{n}", negated, st.sampled_from((0, 1, 7))),
    st.builds(lambda no: f"meta mark & 0x3 {no}0x1", negated),
    st.builds(lambda how, n: f"meta length {how} {n}", st.sampled_from(("<", ">", "==", "<=")), st.sampled_from(SIZES)),
    st.builds(lambda no: f"ct state {no}new", negated),
    st.sampled_from(("ct state established,related", "ct state invalid", "meta l4proto udp", "meta l4proto tcp")),
    st.sampled_from(("meta nfproto ipv4", "meta protocol ip6", "ip ttl 64", "ip6 hoplimit != 64", "tcp dport 862")),
    st.sampled_from(("limit rate 1000/second", "numgen random mod 1 0", "fib daddr type local")),
    st.just("fib saddr type local"),
    st.just("ip frag-off & 0x1fff == 0"),
)  # fmt: skip
verdicts = st.one_of(
    st.sampled_from(("drop", "drop", "accept", "reject", "return", "continue", "jump other", "goto other", "queue")),
    st.sampled_from(("meta mark set 1", "meta mark set meta mark | 0x2", "notrack", "log")),
)
maps = st.builds(
    "udp dport vmap {{ {0[0]} : {1}, {0[1]} : {2} }}".format,
    st.lists(ports, min_size=2, max_size=2, unique=True),
    *[st.sampled_from(("drop", "accept", "jump other", "continue"))] * 2,
)


@st.composite
def rules(draw: st.DrawFn, hook: str, *, inner: bool = False) -> str:
    """One rule that nft takes at a hook."""
    if draw(st.booleans()) and not inner and draw(st.booleans()):
        return draw(maps)
    matched = draw(st.lists(matches, max_size=2))
    if draw(st.booleans()):
        device = "iifname" if hook in ("prerouting", "input") else "oifname"
        matched.append(f"{device} {draw(st.sampled_from((DEVICE, '!= lo', 'wg*', 'eth0')))}")
    given_verdict = draw(verdicts)
    if inner and ("jump" in given_verdict or "goto" in given_verdict):
        given_verdict = "return"
    if given_verdict == "queue":
        given_verdict = "drop"
    if given_verdict == "notrack" and hook not in ("output", "prerouting"):
        given_verdict = "continue"
    if given_verdict == "reject" and hook == "postrouting":
        given_verdict = "drop"
    counter = draw(st.sampled_from(("counter ", "")))
    return f"{' '.join(matched)} {counter}{given_verdict}"


@st.composite
def rulesets(draw: st.DrawFn, hooks: tuple[str, ...]) -> str:
    """One or two tables with some chains."""
    tables = []
    for number in range(draw(st.integers(1, 2))):
        chains = []
        for hook in draw(st.lists(st.sampled_from(hooks), min_size=1, max_size=2, unique=True)):
            other = "\n".join(draw(st.lists(rules(hook, inner=True), max_size=3)))
            base = "\n".join(draw(st.lists(rules(hook), max_size=4))).replace(" other", f" other_{hook}")
            policy = draw(st.sampled_from(("accept", "accept", "drop")))
            priority = draw(st.sampled_from((-300, -10, 0)))
            head = f"type filter hook {hook} priority {priority}; policy {policy};"
            chains.append(f"chain other_{hook} {{\n{other}\n}}\nchain {hook} {{\n{head}\n{base}\n}}")
        body = "\n".join(chains)
        tables.append(f"table inet t{number} {{\n{body}\n}}")
    return "flush ruleset\n" + "\n".join(tables)
