"""Packages that this project needs for some work only: the extra to install is named where one of them is missing.

Which package belongs to which extra is read from the metadata of the installed project, so it stands in pyproject.toml
alone. An ImportError of anything else, and of a package that is installed, stays the bug that it is.
"""

from __future__ import annotations

import contextlib
import importlib.util
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from importlib.metadata import distributions

from lactok.errors import UserError

PROJECT = "lactok"
COLLECTIONS = ("all", "test")  # extras of extras, which are never the smallest one
# packages whose import name is not their own with `_` for `-`
IMPORTED_AS = {
    "cleanfid": "clean-fid",
    "dlib": "dlib-bin",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+).*;.*\bextra\s*==\s*['\"](?P<extra>[\w.-]+)")


class MissingPackage(UserError, ImportError):
    """A package of an extra that is not installed; the message says how to install it.

    Attributes:
        name: the package.
        what: needs it.
    """

    def __init__(self, message: str, name: str = "", what: str = ""):
        super().__init__(message, name=name)
        self.what = what

    def __reduce__(self) -> tuple[type[MissingPackage], tuple[str, str, str]]:
        """For worker processes, which send it to the one that started them."""
        return type(self), (str(self), self.name or "", self.what)


@contextlib.contextmanager
def extras_named(prefer: Collection[str] = (), what: str = "this") -> Iterator[None]:
    """Turn the ModuleNotFoundError of a package that belongs to an extra into a MissingPackage.

    Args:
        prefer, what: see `missing_package`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = of_error(error, prefer, what)
        if missing is None:
            raise
        raise missing from error


def of_error(error: ImportError, prefer: Collection[str] = (), what: str = "this") -> MissingPackage | None:
    """The error that says which extra to install, for a failed import; None where no extra would mend it."""
    module = (error.name or "").partition(".")[0]
    if not module or importlib.util.find_spec(module) is not None:
        return None
    return missing_package(IMPORTED_AS.get(module, module), prefer, what)


def missing_package(package: str, prefer: Collection[str] = (), what: str = "this") -> MissingPackage | None:
    """The error that says which extra brings a package; None for a package of no extra.

    Args:
        package: as it is installed, "torch-fidelity".
        prefer: extras that are named rather than others that have the package too.
        what: needs the package, in the message.

    >>> print(missing_package("matplotlib"))
    this needs the package matplotlib; install it with: pip install 'lactok[reports]'
    >>> print(missing_package("transformers", ["preference"], "python -m benchmarks.preference"))
    python -m benchmarks.preference needs the package transformers; install it with: pip install 'lactok[preference]'
    """
    package = _normal(package)
    having = {extra: packages for extra, packages in _extras().items() if package in packages}
    if not having:
        return None
    best = min(having, key=lambda extra: (extra not in prefer, len(having[extra]), extra))
    command = f"pip install '{PROJECT}[{best}]'"
    return MissingPackage(f"{what} needs the package {package}; install it with: {command}", package, what)


@lru_cache(maxsize=1)
def _extras() -> dict[str, set[str]]:
    """The packages of each extra; in the metadata an extra that names others has their packages."""
    found: dict[str, set[str]] = {}
    for distribution in distributions(name=PROJECT):
        for requirement in map(_REQUIREMENT.match, distribution.requires or ()):
            if requirement is not None and requirement["extra"] not in COLLECTIONS:
                found.setdefault(requirement["extra"], set()).add(_normal(requirement["name"]))
    return found


def _normal(name: str) -> str:
    """A package's name as indexes compare it.

    >>> _normal("torch_fidelity")
    'torch-fidelity'
    """
    return re.sub(r"[-_.]+", "-", name).lower()
