"""What to do about the reason that keeps an OpenVPN client from its remote end, by its words; pure."""

from preflight.model.remedy import Remedies, by_hand, look

STOPPED = "it was stopped by a signal"
OTHERS_NAME = "may use this node's certificate"
_TIME = look("date -u   # is this the right time?")
_SIGNED = by_hand("Have the authority sign another certificate for this node, and start openvpn again.")

_KNOWN: tuple[tuple[str, Remedies], ...] = (
    (
        "no shared cipher",
        by_hand(
            "Add a cipher of its remote end (AES-256-GCM) to data-ciphers in its configuration, and start it again."
        ),
    ),
    (
        OTHERS_NAME,
        look(
            "journalctl -u 'openvpn*' | grep 'will cause previous active'   # on the server: is it this node's name?",
            where="peer",
            root=True,
        ),
    ),
    (
        "each that connects ends the other's session",
        by_hand(
            "Give each of the two clients a certificate with its own name, or set `duplicate-cn` in the server's file."
        ),
    ),
    ("AUTH_FAILED", look("Are user name and password right? The server's log says what it does not accept.")),
    ("is not found:", look("Is the name behind `remote` in its configuration right, and does the resolver work?")),
    ("this node's certificate has expired", (*_TIME, *_SIGNED)),
    ("this node's certificate is not yet valid", (*_TIME, *_SIGNED)),
    (
        "may not accept this node's certificate",
        look(
            "openssl x509 -noout -issuer -dates -in CERT   # that behind `cert`; the server's log says what it refuses"
        ),
    ),
    ("an authority in the chain", look("Is the file behind `ca` in its configuration that of the server's authority?")),
    (
        "the certificate of its remote end",
        (
            *_TIME,
            *look("openssl x509 -noout -subject -dates -ext extendedKeyUsage -in CERT   # on the server", where="peer"),
        ),
    ),
    ("nobody listens there", look("Does `remote` have the server's address and port, and `proto` fit (udp or tcp)?")),
    ("there is no way to", look("Does `remote` in its configuration have the server's address?")),
    ("own firewall", look("nft -a list ruleset; iptables-save -c   # which rule counts?", root=True)),
    (
        "does not fit this node's key",
        look("Do both ends have one key file and one `auth`, and tls-auth the direction 0 there and 1 here?"),
    ),
    (
        "not the same on both ends",
        look("Compare comp-lzo, compress and fragment of both configurations, and what the server pushes."),
    ),
    (
        "answer",
        look(
            "Does the server run, with this address, port and proto? It also drops in silence what lacks its tls-auth "
            "or tls-crypt key: its log says so."
        ),
    ),
)


def of_stopped(said: str, unit: str) -> Remedies:
    """For a client that is configured and does not run: starting it heals where somebody stopped it."""
    start = f"systemctl restart {unit}"
    if STOPPED in said:
        return by_hand(start, root=True)
    if "refuses its options" in said:
        return by_hand(f"Correct its configuration by that error; then: {start}.", root=True)
    return look(f"{start}; sleep 5; journalctl -u {unit} -n 30   # it runs, or says why not", root=True)


def of_reason(said: str, unit: str) -> Remedies:
    """For one that runs. unit: of systemd, which has the log."""
    if "in its own configuration it should be" in said:
        take_out = "Take comp-lzo, compress and allow-compression out of its configuration; then: "
        return by_hand(f"{take_out}systemctl restart {unit}.", root=True)
    log = look(f"journalctl -u {unit} -n 50   # what it says", root=True)
    return next((remedies for words, remedies in _KNOWN if words in said), log)
