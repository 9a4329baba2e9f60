"""What users' own playbooks need of us in one folder: the program, what the roles must know of it, and the roles."""

import subprocess
from pathlib import Path

import yaml

from preflight.fleet import plays
from preflight.fleet.delivery import known_of, pack
from preflight.fleet.engine import MISSING
from preflight.fleet.hosts import InventoryError
from preflight.programs import python_folder

COLLECTION = Path(plays.__path__[0], "collections", "ansible_collections", "overlay", "preflight")


def write_all(folder: Path) -> tuple[Path, ...]:
    """Write them, and return the files. Raises InventoryError if Ansible is not there, or has something against it."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    program, known = folder / "delivery.pyz", folder / "delivery.yml"
    delivery = pack(without=frozenset())
    program.write_bytes(delivery.content)
    known.write_text(yaml.safe_dump(known_of(delivery, program)), encoding="utf-8")
    return program, known, _built(folder)


def _built(folder: Path) -> Path:
    """The collection as `ansible-galaxy collection install` takes it."""
    galaxy = str(python_folder() / "ansible-galaxy")
    words = [galaxy, "collection", "build", "--force", "--output-path", str(folder), str(COLLECTION)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise InventoryError(MISSING) from None
    if done.returncode != 0:
        raise InventoryError(done.stderr.strip() or "ansible-galaxy cannot build the collection")
    about = yaml.safe_load((COLLECTION / "galaxy.yml").read_text(encoding="utf-8"))
    return folder / "{namespace}-{name}-{version}.tar.gz".format(**about)
