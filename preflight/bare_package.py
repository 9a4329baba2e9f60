"""A way to parts of a library past its `__init__`, where that would load everything that the library knows."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def enter(name: str) -> None:
    """Make a package known, so that its parts can be imported, and run its `__init__` no sooner than it is needed.

    That is when somebody asks the package for a name that is not one of its modules. A package that is loaded already,
    or missing, stays as it is.
    """
    spec = None if name in sys.modules else find_spec(name)
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, module_from_spec(spec)

    def other(wanted: str) -> Any:
        if find_spec(f"{name}.{wanted}") is not None:
            return import_module(f"{name}.{wanted}")
        if "__getattr__" in vars(package):
            del package.__getattr__
            loader.exec_module(package)
        return getattr(package, wanted)

    package.__getattr__ = other  # type: ignore[method-assign]
    sys.modules[name] = package
