"""Ansible as the engine: inventories as they are in the wild, and nothing left on the controller."""

import secrets
from pathlib import Path

import pytest

from preflight.fleet.engine import Access, engine
from preflight.fleet.hosts import Host, InventoryError, read_hosts

INI = "[web]\nn1 ansible_host=192.0.2.1 overlay_address=10.66.0.1\nn2\n\n[db]\nn3\n[web:vars]\noverlay_site=oslo\n"
YAML = "web: {hosts: {n1: {overlay_address: 10.66.0.1}, n2: {}}, vars: {overlay_site: oslo}}\ndb: {hosts: {n3: {}}}\n"
SCRIPT = """#!/bin/sh
echo '{"web": {"hosts": ["n1", "n2"], "vars": {"overlay_site": "oslo"}}, "db": {"hosts": ["n3"]},
"_meta": {"hostvars": {"n1": {"overlay_address": "10.66.0.1"}}}}'
"""
WEB = (Host("n1", "10.66.0.1", "oslo"), Host("n2", None, "oslo"))


def own_run() -> str:
    """An id that no other test has: what bears it is ended with its engine."""
    return secrets.token_hex(4)


def hosts_of(access: Access) -> tuple[Host, ...]:
    with engine(own_run(), access, lambda: False) as made:
        return read_hosts(made.inventory())


@pytest.mark.parametrize(("name", "content"), [("hosts", INI), ("hosts.yml", YAML), ("hosts.sh", SCRIPT)])
def test_inventories_of_every_kind(tmp_path: Path, name: str, content: str) -> None:
    """Protects operators' inventories: files and scripts mean what they mean to Ansible."""
    path = tmp_path / name
    path.write_text(content)
    path.chmod(0o755 if content.startswith("#!") else 0o644)
    assert hosts_of(Access(str(path))) == (*WEB, Host("n3"))


def test_a_pattern_and_a_list(tmp_path: Path) -> None:
    """Protects `--limit`, and an inventory on the command line."""
    path = tmp_path / "hosts"
    path.write_text(INI)
    assert hosts_of(Access(str(path), limit="web")) == WEB
    assert hosts_of(Access("n1,n2")) == (Host("n1"), Host("n2"))


def test_what_is_no_inventory_is_told(tmp_path: Path) -> None:
    """Protects from a run on no host that ends well."""
    with pytest.raises(InventoryError, match="is not an inventory"):
        hosts_of(Access(str(tmp_path / "nothing")))


def test_nothing_is_left_of_an_engine() -> None:
    """Protects what a run writes on the controller: only its owner sees it, and it goes with the run."""
    with engine(own_run(), Access("n1,"), lambda: False) as made:
        made.write("start", {"n1": "text"})
        files = [path for path in made.folder.rglob("*") if path.is_file()]
        assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
        assert made.folder.stat().st_mode & 0o777 == 0o700
    assert not made.folder.exists()
