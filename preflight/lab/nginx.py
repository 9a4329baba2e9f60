"""nginx in a lab: the gateway at the control plane's address, and the proxy of a company.

Each is one process that stays in the foreground, so that it keeps the mark of its lab.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preflight.lab.blueprint import HAND_ON, Front
from preflight.lab.processes import program, start, wait_for_words

READY_S = 10.0

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


@dataclass(frozen=True, slots=True)
class Nginx:
    """One nginx. folder: for its files; command: runs a program at its place in the lab."""

    name: str
    folder: Path
    mark: str
    command: Callable[[Sequence[str]], list[str]]

    def start(self, servers: str) -> Callable[[float], None]:
        """Start it with these `server` blocks; call what is returned, with a deadline, to wait until it listens.

        Raises LabError if nginx is missing.
        """
        config, log = self.folder / f"{self.name}.conf", self.folder / f"{self.name}.log"
        config.write_text(_MAIN.format(folder=self.folder, name=self.name, servers=servers), encoding="utf-8")
        words = self.command([program("nginx"), "-c", str(config), "-e", str(log)])
        daemon = start(self.name, words, mark=self.mark, log=log)
        # It prints its version when all of its sockets listen.
        return partial(wait_for_words, daemon, "nginx/", 1)

    def start_now(self, servers: str) -> None:
        """Start it and wait."""
        self.start(servers)(time.monotonic() + READY_S)


def front_servers(front: Front, *, bind: str, host: str, backend: str, folder: Path, secure: bool) -> str:
    """The `server` blocks of the gateway. folder: with `tls.pem` and `tls.key`; secure: its own port speaks TLS."""
    certificate = f"ssl_certificate {folder}/tls.pem; ssl_certificate_key {folder}/tls.key;"
    own = f"server {{ listen {bind}{' ssl' if secure else ''}; {certificate if secure else ''}\n"
    own += f"location / {{ {front.root} }}\n{front.more} }}\n"
    text = front.whole or own + front.servers
    values = {HAND_ON: f"proxy_pass http://{backend};", "<bind>": bind, "<host>": host, "<folder>": str(folder)}
    for word, value in {"<certificate>": certificate, **values}.items():
        text = text.replace(word, value)
    return text
