"""nginx in a lab: the gateway at the control plane's address, and the proxy of a company.

Each is one process that stays in the foreground, so that it keeps the mark of its lab.
"""

from preflight.lab.front import NOBODY, OTHER_PAGE, SECURE_PORT, SITE, Act, Front, Route, Stand
from preflight.lab.gateways import Gateway

_MAIN = """
daemon off;
master_process off;
user root;
worker_rlimit_nofile 1024;
error_log stderr notice;
pid {folder}/{name}.pid;
events {{ worker_connections 512; }}
http {{
  access_log off;
  client_body_temp_path {folder}/{name}-body;
  proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/{name}-fastcgi;
  uwsgi_temp_path {folder}/{name}-uwsgi;
  scgi_temp_path {folder}/{name}-scgi;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_set_header Host $http_host;
{servers}
}}
"""
_OLD_TLS = "ssl_protocols TLSv1 TLSv1.1{more}; ssl_ciphers DEFAULT@SECLEVEL=0;"
_WITHOUT = {
    "": "",
    "bearer": 'proxy_set_header Authorization ""; proxy_set_header Connection ""; ',
    "body": 'proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection ""; ',
}
"""A location that sets a header has to set them all."""


def servers(front: Front, stand: Stand) -> str:
    """The `server` blocks of a gateway."""
    certificate = _certificate(stand, "tls")
    if front.sites:
        listen = f"listen {stand.bind}{' ssl' if stand.secure else ''}"
        shown = _certificate(stand, "other") if stand.secure else ""
        certificate = certificate if stand.secure else ""
        first = f"{shown} location / {{ {_act(Act(200, OTHER_PAGE), stand)} }}"
        first = first if front.sites == "two" else "ssl_reject_handshake on;"
        other = f"server {{ {listen} default_server; {first} }}\n"
        own = f"server_name {SITE}; {certificate} {_location(Route('/', Act()), stand)}"
        return f"{other}server {{ {listen}; {own} }}\n"
    root = Act(301, to="https://<host><path>") if front.upgrades else front.root
    lines = [f"listen {stand.bind}{' ssl' if stand.secure else ''};", certificate if stand.secure else ""]
    lines += [_OLD_TLS.format(more="" if front.no_new_tls else " TLSv1.2 TLSv1.3")] if front.old_tls else []
    lines += [f"ssl_client_certificate {stand.folder}/ca.pem; ssl_verify_client on;"] if front.certificates else []
    lines += [f"client_max_body_size {front.most_body};"] if front.most_body else []
    lines += ["proxy_cache answers; proxy_cache_valid 200 1m;"] if front.caches else []
    lines += [_location(route, stand) for route in (*front.routes, Route("/", root))]
    if front.keeps_slash:
        lines.append(f"location {front.prefix} {{ proxy_pass http://{stand.backend}/; }}")
    elif front.prefix:
        lines.append(f"location {front.prefix}/ {{ rewrite ^{front.prefix}(/.*)$ $1 break; {_act(Act(), stand)} }}")
    own = "server {\n" + "".join(f"  {line}\n" for line in lines if line) + "}\n"
    if front.half_dead:
        both = "".join(f"server {each} max_fails=0; " for each in (NOBODY, stand.backend))
        own = own.replace(f"http://{stand.backend}", "http://both")
        own = f"upstream both {{ {both}}}\nproxy_next_upstream off;\n{own}"
    if front.caches:
        own = f"proxy_cache_path {stand.folder}/kept keys_zone=answers:1m;\n{own}"
    if not front.upgrades:
        return own
    there = f"listen {stand.host}:{SECURE_PORT} ssl; {certificate}"
    return own + f"server {{ {there} {_location(Route('/', Act()), stand)} }}\n"


def _certificate(stand: Stand, name: str) -> str:
    return f"ssl_certificate {stand.folder}/{name}.pem; ssl_certificate_key {stand.folder}/{name}.key;"


def _location(route: Route, stand: Stand) -> str:
    return f"location {'= ' if route.exact else ''}{route.path} {{ {_act(route.act, stand)} }}"


def _act(act: Act, stand: Stand) -> str:
    headers = "".join(f"add_header {name} {value} always; " for name, value in act.headers.items())
    if act.to:
        to = act.to.replace("<host>", "$host").replace("<path>", "$request_uri")
        return f"{headers}return {act.status} {to};"
    if act.page:
        return f"{headers}default_type text/html; return {act.status} '{act.page}';"
    if act.status:
        return f"{headers}return {act.status};"
    password = 'auth_basic "Staff"; auth_basic_user_file /dev/null; ' if act.password else ""
    own = f'proxy_set_header Authorization "{stand.bearer}"; proxy_set_header Connection ""; ' if act.bearer else ""
    return f"{password}{own}{_WITHOUT[act.without]}proxy_pass http://{NOBODY if act.dead else stand.backend};"


# It prints its version when all of its sockets listen.
NGINX = Gateway("nginx", ("-c", "{config}", "-e", "{log}"), ready="nginx/", main=_MAIN, servers=servers)
