"""The first file system of the machine, read back by the format's own rules."""

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from preflight.lab.vm.archive import pack

_PATHS = st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), min_size=1, max_size=3).map("/".join)


def entries(archive: bytes) -> Iterator[tuple[str, int, bytes]]:
    """Path, mode and content of each entry, as the kernel's documentation of `newc` has it."""
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_length = fields[1], fields[6], fields[11]
        path = archive[at + 110 : at + 110 + name_length - 1].decode()
        content_at = at + -(-(110 + name_length) // 4) * 4
        if path == "TRAILER!!!":
            return
        yield path, mode, archive[content_at : content_at + size]
        at = content_at + -(-size // 4) * 4


def test_each_folder_is_made_before_what_is_in_it() -> None:
    """The kernel makes no folder by itself: a file above which none was made is silently lost."""
    found = [(path, oct(mode)) for path, mode, _ in entries(pack({"lib/modules/a.ko": b"x", "init": b"y"}))]
    assert found == [
        ("lib", "0o40755"),
        ("lib/modules", "0o40755"),
        ("lib/modules/a.ko", "0o100755"),
        ("init", "0o100755"),
    ]


@given(st.dictionaries(_PATHS, st.binary(max_size=20)))
def test_every_file_comes_out_as_it_went_in(files: dict[str, bytes]) -> None:
    """Contents are filled up to four bytes, and what is behind one is still found."""
    found = {path: content for path, mode, content in entries(pack(files)) if mode & 0o100000}
    assert found == files
