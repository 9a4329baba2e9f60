"""What a node gets: everything, and the same name for the same content."""

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import requires
from pathlib import Path

from preflight.engine.catalog import OURS
from preflight.fleet import delivery
from preflight.fleet.remote.agent import PAYLOAD


def test_a_delivery_runs_by_itself_and_has_a_steady_name(tmp_path: Path) -> None:
    """Protects nodes without internet: what is unpacked runs with the plain interpreter, its checks included."""
    packed = delivery.pack()
    assert delivery.pack().name == packed.name
    with (
        zipfile.ZipFile(io.BytesIO(packed.content)) as whole,
        whole.open(PAYLOAD) as payload,
        tarfile.open(fileobj=payload, mode="r|gz") as archive,
    ):
        archive.extraction_filter = staticmethod(lambda member, path: member)
        archive.extractall(tmp_path)
    assert {path.suffix for path in tmp_path.rglob("__pycache__/*")} == {".pyc"}
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'lib')!r})\n"
    code += "from preflight.cli import fleet_node; from preflight.engine.catalog import load_catalog\n"
    code += "import preflight, json; print(json.dumps([preflight.__file__, len(load_catalog().checks)]))"
    base = [f"{sys.base_prefix}/bin/python{delivery.python_version()}", "-I", "-S", "-c", code]
    where, checks = json.loads(subprocess.run(base, capture_output=True, text=True, check=True).stdout)
    assert where == str(tmp_path / "lib" / "preflight" / "__init__.py")
    assert checks > 20


def test_every_dependency_of_a_node_is_in_it_and_no_extra() -> None:
    """Protects the delivery from growing by what only the controller needs, Ansible first of all."""
    names = {found.metadata["Name"].lower().replace("_", "-") for found in delivery.dependencies(delivery.NOT_ON_NODES)}
    wanted = {text.split(">")[0].lower() for text in requires(OURS) or () if "extra ==" not in text}
    assert wanted - delivery.NOT_ON_NODES <= names
    assert wanted | {"pygments"} >= delivery.NOT_ON_NODES
    assert not names & {*delivery.NOT_ON_NODES, "scapy", "ansible-core", "ansible-runner", "pytest"}
