"""This node's secrets and where they are: tokens by role, files with their modes, folders that may be in git."""

import os
import stat
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from preflight.model.leaks import SecretFile
from preflight.model.roles import RoleName, RoleToken
from preflight.settings.reading import secret_text
from preflight.settings.secrets import known_secrets, secret_files

if TYPE_CHECKING:
    from preflight.net.secrets.git import Git
    from preflight.settings.load import Settings

VARIABLES: tuple[tuple[RoleName, str], ...] = (
    ("mesh", "VOX_MESH_TOKEN"),
    ("worker", "VOX_MESH_WORKER_TOKEN"),
    ("submitter", "VOX_MESH_SUBMITTER_TOKEN"),
    ("admin", "VOX_MESH_ADMIN_TOKEN"),
)
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
    """Reads them and shows no value. It leaves out what it cannot read; the check that needs it reports that."""

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
            if value := self._environment.get(name, "").strip():
                yield RoleToken(role, name, SecretStr(value))

    def _from_files(self) -> Iterator[RoleToken]:
        for key, path in secret_files(self._settings).items():
            if key in ROLES and (value := secret_text(path)):
                yield RoleToken(ROLES[key], key, SecretStr(value))

    def _paths(self) -> dict[str, Path]:
        enrolment = self._settings.enrolment
        stored = {"--credentials-out": enrolment.credentials_out} if enrolment and enrolment.credentials_out else {}
        return secret_files(self._settings) | stored


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
