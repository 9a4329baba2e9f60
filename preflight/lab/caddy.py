"""Caddy in a lab: the gateway at the control plane's address, as a Caddyfile."""

from preflight.lab.front import NOBODY, SECURE_PORT, SITE, Act, Front, Route, Stand
from preflight.lab.gateways import Gateway

_MAIN = """{{
	admin off
	auto_https off
	skip_install_trust
	storage file_system {folder}/{name}-storage
	servers {{
		protocols h1
	}}
}}
{servers}
"""
_STAFF = "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
"""The hash of a password that nobody knows."""


def sites(front: Front, stand: Stand) -> str:
    """The sites of a gateway."""
    if front.sites:
        # It has a certificate for the other site's name only, and no default one.
        scheme, tls = ("https", _tls(stand, "other")) if stand.secure else ("http", "")
        return _site(f"{scheme}://{SITE}:{stand.port}", stand, tls, _act(Act(), stand))
    root = Act(301, to="https://<host><path>") if front.upgrades else front.root
    routes = [f"request_body {{\nmax_size {front.most_body}\n}}"] if front.most_body else []
    routes += [_handle(route, stand) for route in front.routes]
    if front.prefix:
        routes.append(f"handle_path {front.prefix}/* {{\n{_act(Act(), stand)}\n}}")
    routes.append(f"handle {{\n{_act(root, stand)}\n}}")
    scheme = "https" if stand.secure else "http"
    tls = _tls(stand, "tls", certificates=front.certificates) if stand.secure else ""
    own = _site(f"{scheme}://:{stand.port}", stand, tls, *routes)
    if front.half_dead:
        both = f"reverse_proxy {NOBODY} {stand.backend} {{\nlb_policy round_robin"
        own = own.replace(f"reverse_proxy {stand.backend} {{", both)
    return own + _site(f"https://:{SECURE_PORT}", stand, _tls(stand, "tls"), _act(Act(), stand)) * front.upgrades


def _site(address: str, stand: Stand, tls: str, *routes: str) -> str:
    text = "\n".join(routes)
    return f"{address} {{\nbind {stand.host.strip('[]')}\n{tls}\nroute {{\n{text}\n}}\n}}\n"


def _tls(stand: Stand, name: str, *, certificates: bool = False) -> str:
    demand = f"client_auth {{\nmode require_and_verify\ntrusted_ca_cert_file {stand.folder}/ca.pem\n}}"
    more = f" {{\n{demand}\n}}" if certificates else ""
    return f"tls {stand.folder}/{name}.pem {stand.folder}/{name}.key{more}"


def _handle(route: Route, stand: Stand) -> str:
    return f"handle {route.path}{'' if route.exact else '*'} {{\n{_act(route.act, stand)}\n}}"


def _act(act: Act, stand: Stand) -> str:
    headers = "".join(f"header {name} {value}\n" for name, value in act.headers.items())
    if act.to:
        to = act.to.replace("<host>", "{host}").replace("<path>", "{uri}")
        return f"{headers}redir {to} {act.status}"
    if act.page:
        return f'{headers}header Content-Type text/html\nrespond "{act.page}" {act.status}'
    if act.status:
        return f"{headers}respond {act.status}"
    password = f"basicauth bcrypt Staff {{\nstaff {_STAFF}\n}}\n" if act.password else ""
    changed = "header_up -Authorization" if act.without == "bearer" else ""
    changed = f'header_up Authorization "{stand.bearer}"' if act.bearer else changed
    return f"{password}reverse_proxy {NOBODY if act.dead else stand.backend} {{\n{changed}\n}}"


CADDY = Gateway(
    "caddy",
    ("run", "--adapter", "caddyfile", "--config", "{config}"),
    ready="serving initial configuration",
    main=_MAIN,
    servers=sites,
    environment={"XDG_DATA_HOME": "{folder}", "XDG_CONFIG_HOME": "{folder}"},
)
