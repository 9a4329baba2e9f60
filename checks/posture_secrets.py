"""Are this node's secrets private: not in git, and in files of mode 0600?"""

from collections.abc import AsyncGenerator, Sequence
from shlex import quote

from preflight.api import (
    NODE,
    Context,
    Direction,
    Evidence,
    Result,
    by_hand,
    check,
    codes,
    failed,
    heal,
    inconclusive,
    passed,
    skipped,
    warned,
)
from preflight.model.facts import LeakFacts
from preflight.model.fix import PrivateFiles
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
    """Search the git repositories of the working folder and of the settings' folder, and look at the modes of secret
    files.

    It reads only this machine. It reports files, lines, commits and variables, but no values.
    """
    secrets = ctx.net.secrets
    yield judge_files(secrets.files())
    found = [await secrets.git.search(folder) for folder in secrets.folders()]
    repositories = {repository.root: repository for repository in found if repository is not None}
    named = ctx.settings.posture.repositories is not None
    yield judge_git(list(repositories.values()), named=named)


def judge_files(files: Sequence[SecretFile]) -> Result:
    """Look at modes only; do not read the files."""
    where = (NODE, Direction.LOCAL)
    if not files:
        message = "no secret file named in the settings exists"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="files")
    loose = [file for file in files if file.open_to_others]
    if not loose:
        message = f"{len(files)} secret files are readable only by their owner"
        return passed(*where, message, aspect="files", measurements={"files": len(files)})
    named = ", ".join(f"{file.path} ({file.what}, mode {file.mode or 0:04o})" for file in loose)
    return warned(
        codes.POSTURE_SECRET_FILE_MODE,
        *where,
        f"other users than the owner can read or write {named}",
        aspect="files",
        remedies=heal(lambda: PrivateFiles(paths=tuple(str(file.path.absolute()) for file in loose))),
        measurements={"files": len(files), "files_open": len(loose)},
    )


def judge_git(repositories: Sequence[Repository], *, named: bool = True) -> Result:
    """Report a secret in any of them; else one that could not be read, and why; else how much was searched.

    named: the settings ask for these repositories. An unreadable repository around the working folder, as in many
    containers, was not requested and leaves nothing undecided.
    """
    where = (NODE, Direction.LOCAL)
    if not repositories:
        message = "neither the working folder nor the settings file is in a git repository"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="git")
    leaking = [repository for repository in repositories if repository.leaks]
    if leaking:
        return _leaking(leaking)
    closed = next((repository for repository in repositories if repository.missing_tool or repository.unread), None)
    if closed is not None:
        return _closed(closed, named=named)
    names = ", ".join(str(repository.root) for repository in repositories)
    cut = next((f"; {repository.unfinished}" for repository in repositories if repository.unfinished), "")
    return passed(*where, f"found no secret of the cluster in the files and history of {names}{cut}", aspect="git")


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
        remedies=by_hand("Replace the secret first, on the server and the nodes; then remove it from the repository."),
        facts=LeakFacts(places=len(places), file=tuple(dict.fromkeys(leak.path for _, leak in places[:SHOWN]))),
        evidence=(Evidence("git", "file, line, commit and variable, without values", rows),),
    )


def _closed(repository: Repository, *, named: bool) -> Result:
    where = (NODE, Direction.LOCAL)
    if repository.missing_tool:
        message = f"{repository.root} is a git repository, but git is not installed, so it was not searched"
        code, line = codes.RUN_NEEDS_TOOL, "sudo apt-get install git"
    else:
        message = f"git cannot read {repository.root}: {repository.unread}"
        code = codes.RUN_NEEDS_PRIVILEGE
        line = f"git config --global --add safe.directory {quote(str(repository.root))}"
    if not named:
        message += "; to search it, add it to posture.repositories"
        return skipped(codes.RUN_NOT_APPLICABLE, *where, message, aspect="git")
    return inconclusive(code, *where, message, aspect="git", remedies=by_hand(line, root=repository.missing_tool))
