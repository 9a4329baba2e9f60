"""Are this node's secrets where only it can read them: not in git, and in files of mode 0600?"""

from collections.abc import AsyncGenerator, Sequence
from shlex import quote

from preflight.api import (
    NODE,
    Context,
    Direction,
    Evidence,
    Result,
    check,
    codes,
    failed,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.model.leaks import Repository, SecretFile

SHOWN = 3
LISTED = 50


@check(
    "posture.secrets",
    title="Secrets are neither in git nor readable by others",
    subject="node",
    codes=(codes.POSTURE_SECRET_IN_GIT, codes.POSTURE_SECRET_FILE_MODE),
    timeout=30,
)
async def posture_secrets(ctx: Context) -> AsyncGenerator[Result, None]:
    """Search the git repositories of the working and the settings' folder, and look at the modes of secret files.

    Only this machine is read. Files, lines, commits and variables are told, and no value.
    """
    secrets = ctx.net.secrets
    yield judge_files(secrets.files())
    found = [await secrets.git.search(folder) for folder in secrets.folders()]
    repositories = {repository.root: repository for repository in found if repository is not None}
    named = ctx.settings.posture.repositories is not None
    yield judge_git(list(repositories.values()), named=named)


def judge_files(files: Sequence[SecretFile]) -> Result:
    """Modes only: not even the owner's right to read is used."""
    where = (NODE, Direction.LOCAL)
    if not files:
        message = "the settings name no file with a secret that is there"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="files")
    loose = [file for file in files if file.open_to_others]
    if not loose:
        message = f"{len(files)} secret files are open to their owner only"
        return passed(*where, message, aspect="files", measurements={"files": len(files)})
    named = ", ".join(f"{file.path} ({file.what}, mode {file.mode or 0:04o})" for file in loose)
    return warned(
        codes.POSTURE_SECRET_FILE_MODE,
        *where,
        f"others than the owner may use {named}",
        aspect="files",
        remedy=f"chmod 600 {' '.join(quote(str(file.path)) for file in loose)}",
        measurements={"files": len(files), "files_open": len(loose)},
    )


def judge_git(repositories: Sequence[Repository], *, named: bool = True) -> Result:
    """A secret in any of them; where one could not be read, and why; else how much was searched.

    named: the settings ask for these repositories. One that merely lies around the working folder and cannot be read,
    as in many a container, leaves nothing undecided that anybody asked for.
    """
    where = (NODE, Direction.LOCAL)
    if not repositories:
        message = "neither the working folder nor the settings lie in a git repository"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="git")
    leaking = [repository for repository in repositories if repository.leaks]
    if leaking:
        return _leaking(leaking)
    closed = next((repository for repository in repositories if repository.missing_tool or repository.unread), None)
    if closed is not None:
        return _closed(closed, named=named)
    names = ", ".join(str(repository.root) for repository in repositories)
    cut = next((f"; {repository.unfinished}" for repository in repositories if repository.unfinished), "")
    return passed(*where, f"no secret of the cluster found in tree and history of {names}{cut}", aspect="git")


def _leaking(repositories: Sequence[Repository]) -> Result:
    places = [(repository.root, leak) for repository in repositories for leak in repository.leaks]
    shown = ", ".join(str(leak) for _, leak in places[:SHOWN])
    more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
    rows = [f"{root}: {leak}" for root, leak in places[:LISTED]]
    return failed(
        codes.POSTURE_SECRET_IN_GIT,
        NODE,
        Direction.LOCAL,
        f"secrets are committed to git in {repositories[0].root}: {shown}{more}",
        aspect="git",
        remedy="Replace the secret first, on the server and the nodes; then take it out of the repository.",
        measurements={"places": len(places)},
        evidence=(Evidence("git", "file, line, commit and variable; no value", rows),),
    )


def _closed(repository: Repository, *, named: bool) -> Result:
    where = (NODE, Direction.LOCAL)
    if repository.missing_tool:
        message = f"{repository.root} is a git repository, and without git it cannot be searched"
        code, remedy = codes.RUN_NEEDS_TOOL, "sudo apt-get install git"
    else:
        message = f"git does not read {repository.root}: {repository.unread}"
        code = codes.RUN_NEEDS_PRIVILEGE
        remedy = f"git config --global --add safe.directory {quote(str(repository.root))}"
    if not named:
        message += "; name it as posture.repositories if it is to be searched"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="git")
    return inconclusive(code, *where, message, aspect="git", remedy=remedy)
