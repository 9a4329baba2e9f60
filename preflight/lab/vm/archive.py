"""The archive that a kernel unpacks as its first file system: cpio in the `newc` format."""

from collections.abc import Mapping

_FILE, _FOLDER = 0o100755, 0o040755
_END = "TRAILER!!!"


def pack(files: Mapping[str, bytes]) -> bytes:
    """An archive of these files, by their paths without a leading slash; the folders above them are made.

    Every file may be executed, and belongs to root.
    """
    folders = {str(parent) for path in files for parent in _above(path)}
    entries = [*((folder, _FOLDER, b"") for folder in sorted(folders))]
    entries += [(path, _FILE, content) for path, content in files.items()]
    packed = [_entry(number, *entry) for number, entry in enumerate([*entries, (_END, 0, b"")], start=1)]
    return b"".join(packed)


def _above(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _entry(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), device that it is (2), length of the name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + name) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
