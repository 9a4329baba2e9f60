"""HAProxy in a lab: the gateway at the control plane's address."""

from collections.abc import Iterator

from preflight.lab.front import NOBODY, OTHER_PAGE, SECURE_PORT, SITE, Act, Front, Stand
from preflight.lab.gateways import Gateway

_MAIN = """
global
  maxconn 500
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
userlist staff
{servers}
"""
_HOST = "%[req.hdr(host),regsub(:[0-9]+$,)]"


def sections(front: Front, stand: Stand) -> str:
    """The sections of a gateway. The certificate's file is made from the lab's: HAProxy wants its key in it too."""
    tls = f" ssl crt {_pair(stand, 'tls')}" if stand.secure else ""
    if front.sites and stand.secure:
        tls = f" ssl crt {_pair(stand, 'other')}" + (" strict-sni" if front.sites == "one" else "")
    tls += f" verify required ca-file {stand.folder}/ca.pem" if front.certificates else ""
    tls += " ssl-min-ver TLSv1.0 ciphers ALL:@SECLEVEL=0" if front.old_tls else ""
    tls += " ssl-max-ver TLSv1.1" if front.no_new_tls else ""
    rules = list(_rules(front, stand))
    text = [f"frontend front\n  bind {stand.bind}{tls}", *rules, "  default_backend control"]
    if front.upgrades:
        pair = _pair(stand, "tls")
        text += [f"frontend secure\n  bind {stand.host}:{SECURE_PORT} ssl crt {pair}\n  default_backend control"]
    other = f"  retries 0\n  server other {NOBODY}\n" if front.half_dead else ""
    text += [f"backend dead\n  server one {NOBODY}", f"backend control\n{other}  server one {stand.backend}"]
    return "\n".join(text)


def _pair(stand: Stand, name: str) -> str:
    """A file with a certificate and its key."""
    pair = stand.folder / f"{name}.haproxy.pem"
    parts = [(stand.folder / f"{name}.{end}").read_bytes() for end in ("pem", "key")]
    pair.touch(mode=0o600)
    pair.write_bytes(b"".join(parts))
    return str(pair)


def _rules(front: Front, stand: Stand) -> Iterator[str]:
    """The rules of the frontend: those that answer come first, those that change a request last."""
    if front.sites == "two":
        named = "ssl_fc_sni" if stand.secure else "req.hdr(host),field(1,:)"
        yield _return(Act(200, OTHER_PAGE), f"!{{ {named} {SITE} }}")
    if front.most_body:
        yield f"  http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {front.most_body} }}"
    for route in front.routes:
        yield from _act(route.act, stand, f"{{ {'path' if route.exact else 'path_beg'} {route.path} }}")
    root = Act(301, to="https://<host><path>") if front.upgrades else front.root
    others = [f"!{{ path_beg {path} }}" for path in (*(route.path for route in front.routes), front.prefix) if path]
    yield from _act(root, stand, " ".join(others))
    if front.keeps_slash:
        yield rf"  http-request replace-path {front.prefix}(.*) /\1 if {{ path_beg {front.prefix} }}"
    elif front.prefix:
        yield rf"  http-request replace-path {front.prefix}(/.*) \1 if {{ path_beg {front.prefix}/ }}"


def _act(act: Act, stand: Stand, condition: str) -> Iterator[str]:
    when = f" if {condition}" if condition else ""
    headers = "".join(f" hdr {name} {value}" for name, value in act.headers.items())
    if act.to:
        to = act.to.replace("<host>", _HOST).replace("<path>", "%[pathq]")
        yield f"  http-request redirect code {act.status} location {to}{when}"
    elif act.page:
        yield _return(act, condition)
    elif act.status:
        yield f"  http-request deny deny_status {act.status}{headers}{when}"
    if act.password:
        yield f"  http-request auth realm Staff if {condition} !{{ http_auth(staff) }}"
    if act.without == "bearer":
        yield f"  http-request del-header Authorization{when}"
    if act.bearer:
        yield f'  http-request set-header Authorization "{stand.bearer}"{when}'
    if act.dead:
        yield f"  use_backend dead{when}"


def _return(act: Act, condition: str) -> str:
    page = f'content-type text/html string "{act.page}"'
    return f"  http-request return status {act.status} {page}{f' if {condition}' if condition else ''}"


# Its first process says so when the second one, which serves, has its sockets.
HAPROXY = Gateway("haproxy", ("-W", "-db", "-f", "{config}"), ready="Loading success.", main=_MAIN, servers=sections)
