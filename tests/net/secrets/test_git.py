"""Secrets in real git repositories: tree, history, placeholders, and repositories that git does not read."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from preflight.model.leaks import Leak, Repository
from preflight.net.secrets import git as git_shell
from preflight.net.secrets.detector import leaks
from preflight.net.secrets.git import Git, repository_of
from preflight.proto.secrets.gitlog import Line

SECRET = "s3cr3t-of-the-tests-0815"
Commit = Callable[..., None]


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Commit files, by name, into the repository at tmp_path; None removes one."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)

    def make(**files: str | None) -> None:
        for key, text in files.items():
            path = tmp_path / key.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        author = ["-c", "user.name=t", "-c", "user.email=t@t.invalid"]
        for words in (["add", "-A"], ["commit", "-q", "--allow-empty", "-m", "x"]):
            subprocess.run(["git", "-C", tmp_path, *author, *words], check=True)

    return make


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine git may take long; only the test about time limits has one."""
    monkeypatch.setattr(git_shell, "TREE_S", 60.0)
    monkeypatch.setattr(git_shell, "HISTORY_S", 60.0)


def search(folder: Path, **more: object) -> Repository:
    found = asyncio.run(Git(**more).search(folder))  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "line",
    [
        f"      VOX_MESH_TOKEN: {SECRET}",
        f"      - VOX_MESH_WORKER_TOKEN={SECRET}",
        f'VOX_MESH_ADMIN_TOKEN="{SECRET}"',
        f'  "VOX_MESH_JWT_HMAC_SECRET": "{SECRET}",',
        f"VOX_MESH_TOKEN: ${{VOX_MESH_TOKEN:-{SECRET}}}",
        f"ENV VOX_MESH_SUBMITTER_TOKEN {SECRET}",
        f"Environment=VOX_MESH_TOKEN={SECRET} OTHER=1",
        f"export VOX_MESH_BOOTSTRAP_TOKEN='{SECRET}'  # for the roll-out",
        f"# VOX_MESH_TOKEN={SECRET}",
        f"docker run -e VOX_MESH_TOKEN={SECRET} vox",
    ],
)
def test_a_literal_value_is_found(line: str) -> None:
    """Each way in which such a variable is set: the place and the name come out, the value does not."""
    (leak,) = leaks([Line("f", 7, line)])
    assert (leak.line, leak.what.startswith("VOX_MESH_")) == (7, True)
    assert SECRET not in repr(leak)


@pytest.mark.parametrize(
    "line",
    [
        "VOX_MESH_TOKEN: ${VOX_MESH_TOKEN}",
        "VOX_MESH_TOKEN: ${VOX_MESH_TOKEN:?set it}",
        "VOX_MESH_TOKEN=$TOKEN",
        "VOX_MESH_TOKEN=$(cat token)",
        "VOX_MESH_TOKEN={{ lookup('file', 'token') }}",
        "VOX_MESH_TOKEN: <your token here>",
        "VOX_MESH_TOKEN=changeme",
        "VOX_MESH_TOKEN=change-me-please",
        "VOX_MESH_TOKEN: your-token-here",
        "VOX_MESH_TOKEN: xxxxxxxxxxxx",
        "VOX_MESH_TOKEN: ************",
        "VOX_MESH_TOKEN:",
        'VOX_MESH_TOKEN: ""',
        "VOX_MESH_TOKEN: null",
        "VOX_MESH_TOKEN: !vault |",
        "VOX_MESH_TOKEN_FILE: /run/secrets/mesh_token",
        "VOX_MESH_TOKEN: /run/secrets/mesh_token",
        "# VOX_MESH_TOKEN: full-access bearer of the cluster",
        "VOX_MESH_TOKEN = get_secret('mesh')",
        "the variable VOX_MESH_TOKEN holds the full-access bearer",
        "NOT_VOX_MESH_TOKENS=whatever-this-is",
    ],
)
def test_a_placeholder_is_left_alone(line: str) -> None:
    """References, templates, empty values and prose are how it is meant to be."""
    assert list(leaks([Line("f", 1, line)])) == []


def test_a_weak_value_counts_where_this_node_really_uses_it() -> None:
    """`changeme` is a placeholder until someone uses it as the token."""
    assert len(list(leaks([Line("f", 1, "VOX_MESH_TOKEN=changeme")], ["changeme"]))) == 1


def test_kubernetes_writes_name_and_value_on_two_lines() -> None:
    """The value is found under the name, and a value of another variable is not."""
    lines = [
        Line("d.yml", 1, "- name: VOX_MESH_TOKEN"),
        Line("d.yml", 2, f"  value: {SECRET}"),
        Line("d.yml", 3, "- name: VOX_MESH_ADMIN_TOKEN"),
        Line("d.yml", 4, "  valueFrom:"),
        Line("d.yml", 9, f"  value: {SECRET}"),
    ]
    assert list(leaks(lines)) == [Leak("d.yml", "VOX_MESH_TOKEN", 2)]


def test_tree_and_history(tmp_path: Path, commit: Commit) -> None:
    """What is there now and what once was there, each once; what is not tracked is fine."""
    commit(
        deploy__docker_compose_dot_yml=f"a: 1\nVOX_MESH_TOKEN: {SECRET}\n",
        old_dot_env=f"VOX_MESH_ADMIN_TOKEN={SECRET}\n",
    )
    commit(old_dot_env=None, readme_dot_md=f"VOX_MESH_TOKEN={SECRET}\n")
    (tmp_path / ".env").write_text(f"VOX_MESH_TOKEN={SECRET}\n")
    found = search(tmp_path / "deploy")
    assert found.root == tmp_path
    places = {(leak.path, leak.what, leak.line, leak.commit is not None) for leak in found.leaks}
    assert places == {
        ("deploy/docker_compose.yml", "VOX_MESH_TOKEN", 2, False),
        ("old.env", "VOX_MESH_ADMIN_TOKEN", 1, True),
    }
    assert found.unfinished is None


def test_this_nodes_own_secrets_are_found_anywhere(tmp_path: Path, commit: Commit) -> None:
    """Under no variable's name, in any kind of file; a secret file that was committed is reported by its setting."""
    commit(notes_dot_txt=f"the token is {SECRET}\n", worker_dot_token="another-secret-of-the-tests\n")
    commit(worker_dot_token=None)
    found = search(tmp_path, own=[SECRET, "short"], files={"control.token_file": tmp_path / "worker.token"})
    assert {(leak.path, leak.what) for leak in found.leaks} == {
        ("notes.txt", "a secret of this node"),
        ("worker.token", "control.token_file"),
    }


def test_a_clean_an_empty_and_no_repository(tmp_path: Path, commit: Commit) -> None:
    """Nothing is found where nothing is, also before the first commit."""
    assert search(tmp_path) == Repository(tmp_path)
    commit(compose_dot_yml="VOX_MESH_TOKEN: ${VOX_MESH_TOKEN}\n")
    assert search(tmp_path).leaks == ()
    assert repository_of(Path("/proc")) is None
    assert asyncio.run(Git().search(Path("/proc"))) is None


@pytest.mark.lab
def test_a_repository_of_somebody_else_is_not_read(tmp_path: Path, commit: Commit) -> None:
    """git refuses it with good reason, and so the result is undecided, not clean."""
    commit(a_dot_env=f"VOX_MESH_TOKEN={SECRET}\n")
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.lchown(path, 65534, 65534)
    found = search(tmp_path)
    assert found.leaks == ()
    assert found.unread is not None
    assert "ownership" in found.unread


def test_a_search_is_cut_short_and_says_so(tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that takes too long costs the check its time limit, and the tree was searched before."""
    commit(a_dot_env=f"VOX_MESH_TOKEN={SECRET}\n")
    monkeypatch.setattr(git_shell, "HISTORY_S", 0.0)
    found = search(tmp_path)
    assert [leak.path for leak in found.leaks] == ["a.env"]
    assert found.unfinished is not None


def test_more_output_than_anybody_reads_is_not_read(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository full of candidates ends the search instead of filling the memory."""
    commit(a_dot_env=f"VOX_MESH_TOKEN={SECRET}\n" * 20_000)
    monkeypatch.setattr(git_shell, "MOST_BYTES", 100_000)
    found = search(tmp_path)
    assert len(found.leaks) == 1
    assert found.unfinished is not None


def test_a_search_that_was_cut_short_leaves_no_pipe_open(
    tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git that is ended with much of its output unread is let go of at once, not when memory is tidied."""
    commit(a_dot_env=f"VOX_MESH_TOKEN={SECRET}\n" * 20_000)
    monkeypatch.setattr(git_shell, "MOST_BYTES", 100_000)
    started: list[asyncio.subprocess.Process] = []
    create = asyncio.create_subprocess_exec

    async def noted(*argv: str, **more: object) -> asyncio.subprocess.Process:
        started.append(await create(*argv, **more))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    search(tmp_path)
    assert started
    for process in started:
        assert process.stdout is not None
        assert process.stdout.at_eof()


def test_secrets_are_not_among_the_arguments(tmp_path: Path, commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every user of the machine reads command lines: what is looked for goes to git by its standard input."""
    commit(notes_dot_txt=f"{SECRET}\n")
    words: list[str] = []
    create = asyncio.create_subprocess_exec

    async def noted(*argv: str, **more: object) -> asyncio.subprocess.Process:
        words.extend(argv)
        environment = more["env"]
        assert isinstance(environment, dict)
        words.extend(environment.values())
        return await create(*argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setenv("VOX_MESH_TOKEN", SECRET)
    assert len(search(tmp_path, own=[SECRET]).leaks) == 1
    assert not [word for word in words if SECRET in word]
