"""This node's secrets and where they are: tokens by role, files with their modes, folders that may be in git."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from preflight.model.leaks import SecretFile
from preflight.model.roles import RoleName, RoleToken
from preflight.model.token import HeldToken
from preflight.settings.reading import SettingsError
from preflight.settings.secrets import SECRET_VARIABLES, known_secrets, secret_files
from preflight.settings.tokens import in_file, in_variable

if TYPE_CHECKING:
    from preflight.net.secrets.git import Git
    from preflight.settings.load import Settings

VARIABLES: tuple[tuple[RoleName, str], ...] = (
    ("node", "VOX_MESH_TOKEN"),
    ("worker", "VOX_MESH_WORKER_TOKEN"),
    ("submitter", "VOX_MESH_SUBMITTER_TOKEN"),
    ("admin", "VOX_MESH_ADMIN_TOKEN"),
)
"""`VOX_MESH_TOKEN` is what workers send, whatever role it has on the server."""
ROLES: dict[str, RoleName] = {
    "control.token_file": "node",
    "control.submitter_token_file": "submitter",
    "control_plane.token_file": "mesh",
    "control_plane.worker_token_file": "worker",
    "control_plane.submitter_token_file": "submitter",
    "control_plane.admin_token_file": "admin",
}
"""Whose token a file of the settings holds; other secret files hold none of a role."""


class LocalSecrets:
    """Reads them and shows no value. It leaves out what it cannot read and what cannot be a token; checks report it."""

    def __init__(self, settings: "Settings", environment: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._environment = os.environ if environment is None else environment

    def tokens(self) -> tuple[RoleToken, ...]:
        """Every token of a role, from the environment, then from the files of the settings."""
        return (*self._from_environment(), *self._from_files())

    def files(self) -> tuple[SecretFile, ...]:
        """The secret files that exist."""
        return tuple(SecretFile(path, what, _mode(path)) for what, path in self._paths().items() if path.exists())

    def folders(self) -> tuple[Path, ...]:
        """Where to look for git repositories: those named, else the working folder and that of the settings file."""
        named = self._settings.posture.repositories
        if named is not None:
            return named
        source = self._settings.source
        return tuple(dict.fromkeys([Path.cwd(), *([source.absolute().parent] if source else [])]))

    @cached_property
    def git(self) -> "Git":
        """Searches repositories for secrets of the cluster, and for this node's own."""
        from preflight.net.secrets.git import Git

        own = (*known_secrets(self._settings, self._environment), *(t.value.get_secret_value() for t in self.tokens()))
        return Git(dict.fromkeys(own), self._paths())

    def _from_environment(self) -> Iterator[RoleToken]:
        for role, name in VARIABLES:
            yield from _of_role(role, in_variable(self._environment, name))

    def _from_files(self) -> Iterator[RoleToken]:
        for key, path in secret_files(self._settings).items():
            if key in ROLES:
                with suppress(SettingsError):
                    yield from _of_role(ROLES[key], in_file(path, key))

    def _paths(self) -> dict[str, Path]:
        enrolment = self._settings.enrolment
        stored = {"--credentials-out": enrolment.credentials_out} if enrolment and enrolment.credentials_out else {}
        workers = {
            f"the workers' {file.path.name}": file.path
            for file in self._settings.worker_files
            if any(name in file.values for name in SECRET_VARIABLES)
        }
        return secret_files(self._settings) | stored | workers


def _of_role(role: RoleName, held: HeldToken | None) -> Iterator[RoleToken]:
    if held is not None and held.value is not None:
        yield RoleToken(role, held.source, held.value)


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
