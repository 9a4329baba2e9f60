"""`preflight control-plane`: the bundled Populi control plane."""

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from preflight.cli import lean
from preflight.cli.nearest import NearestGroup

if TYPE_CHECKING:
    from preflight.control.config import ServerConfig

DEFAULT_BIND = "127.0.0.1:9847"
DATABASE_NAME = "control-plane.db"


@click.group("control-plane", cls=NearestGroup)
def control_plane() -> None:
    """Run the bundled Populi control plane, or make a one-time enrolment token for it."""


@control_plane.command()
@click.option(
    "--bind",
    "bind_to",
    metavar="ADDRESS:PORT",
    default=DEFAULT_BIND,
    show_default=True,
    help="Where to listen; [::1]:9847 for IPv6, wg0:9847 for the addresses of an interface.",
)
@click.option(
    "--db",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The database [default: control-plane.db in $STATE_DIRECTORY or the user's state directory].",
)
@click.option("--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="Certificate chain, PEM.")
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="Its private key, PEM.")
@click.option("--metrics-bind", metavar="ADDRESS:PORT", help="Serve Prometheus metrics there.")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Settings file; its key control_plane counts, VOX_MESH_* variables win.",
)
@click.option(
    "--fault",
    "fault_names",
    metavar="NAME",
    multiple=True,
    help="Misbehave on request, for drills: heartbeat-500, throttle[=COUNT], hang, unhealthy, "
    "clock-skew=SECONDS, slow=MILLISECONDS, scope-open, crash.",
)
@click.option(
    "--like-upstream",
    is_flag=True,
    help="For rehearsals: with the traps of the real server. Any exchange spends the one-time token, also a wrong one, "
    "there is no rate limiter, and without VOX_MESH_NODE_ID requests that any key signed need no bearer.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
def serve(
    bind_to: str,
    db: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    metrics_bind: str | None,
    config: Path | None,
    fault_names: tuple[str, ...],
    like_upstream: bool,
    verbose: bool,
) -> None:
    """Serve the control plane until SIGTERM or Ctrl-C.

    Secrets, scope and limits come from the VOX_MESH_* variables or the settings file, never from options. Prints
    `listening on URL` when it is ready; logs go to stderr.
    """
    from preflight.control import bind, faults, logs
    from preflight.control import serve as server
    from preflight.control.database import DatabaseError
    from preflight.settings.reading import SettingsError

    logs.configure(verbose=verbose)
    lean.loaded()
    try:
        server.run(
            _config(config, upstream=like_upstream),
            bind.places(bind_to),
            db or _default_database(),
            tls=server.tls_files(tls_cert, tls_key),
            metrics_on=bind.places(metrics_bind)[0] if metrics_bind else None,
            drill=faults.parse(fault_names),
            announce=lambda url: click.echo(f"listening on {url}"),
        )
    except (bind.BindError, server.TlsError, DatabaseError, SettingsError, faults.FaultError) as error:
        _fail(str(error))


@control_plane.command("bootstrap-token")
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the token there (mode 0600) instead of to stdout.",
)
@click.option(
    "--env-out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write token and deadline there as the server's environment, for systemd's EnvironmentFile=.",
)
@click.option(
    "--ttl", metavar="DURATION", default="1h", show_default=True, help="How long it can be exchanged: 90s, 15m, 1h, 7d."
)
def bootstrap_token(out: Path | None, env_out: Path | None, ttl: str) -> None:
    """Make a one-time token that a new node exchanges for its credential.

    The token goes to stdout or to --out, how to hand it over goes to stderr. An existing file is never overwritten.
    """
    from preflight.control import bootstrap

    try:
        token = bootstrap.new_token(ttl)
        bootstrap.write(token, out, env_out)
    except bootstrap.BootstrapError as error:
        _fail(str(error))
    if out is None:
        click.echo(token.text)
    click.echo(bootstrap.instructions(token, out, env_out), err=True)


def _config(path: Path | None, *, upstream: bool = False) -> "ServerConfig":
    """The server's configuration from the environment and the settings file that applies."""
    from preflight.control.config import like_upstream, server_config
    from preflight.settings.load import find_config
    from preflight.settings.schema import ConfigFile, read_config

    named = os.environ.get("PREFLIGHT_CONFIG")
    source = path or (Path(named) if named else find_config(os.environ))
    config = server_config((read_config(source) if source else ConfigFile()).control_plane, os.environ)
    return like_upstream(config, time.time_ns() // 1_000_000, os.environ) if upstream else config


def _default_database() -> Path:
    """In systemd's state directory, or else in the user's (XDG base directory specification)."""
    if state := os.environ.get("STATE_DIRECTORY"):
        return Path(state.partition(":")[0]) / DATABASE_NAME
    from preflight.net.control.journal import JournalError, state_folder

    try:
        home = state_folder()
    except JournalError as error:
        _fail(f"{error}; name a database with --db FILE")
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _fail(f"the state directory {home} cannot be made ({error.strerror}); name a database with --db FILE")
    return home / DATABASE_NAME


def _fail(message: str) -> NoReturn:
    click.echo(f"preflight control-plane: {message}", err=True)
    sys.exit(2)
