"""What comes with the package for a user's project: the suites, and the limits they judge by."""

from __future__ import annotations

from pathlib import Path

from facenet_validate.base.errors import SettingsError
from facenet_validate.gates.limits import GatesFile, read_gates

_GATES = Path("baselines", "gates.toml")
_WORKFLOW = Path("docs", "guide", "ci", "github.yml")


def project_files() -> list[tuple[Path, Path]]:
    """Return what ``init`` copies always: source files and their paths in a project.

    Raises
    ------
    SettingsError
        If the suites did not come with this installation.
    """
    root = _root()
    files = [*sorted((root / "suites").glob("*.py")), root / _GATES]
    return [(path, path.relative_to(root)) for path in files]


def workflow_file() -> tuple[Path, Path]:
    """Return the workflow of GitHub Actions that ``init --ci github`` copies, and its place.

    Raises
    ------
    SettingsError
        If it did not come with this installation.
    """
    return _root() / _WORKFLOW, Path(".github", "workflows", "facenet.yml")


def shipped_gates() -> GatesFile:
    """Return the limits that come with the package, for a command that no project surrounds.

    Raises
    ------
    SettingsError
        If they did not come with this installation.
    """
    return read_gates(_root() / _GATES)


def _root() -> Path:
    # In a wheel beside the rooms; in a checkout beside the package.
    package = Path(__file__).parents[1]
    roots = [package / "_project", package.parent]
    for root in roots:
        if any((root / "suites").glob("*.py")) and (root / _GATES).is_file():
            return root
    raise SettingsError(f"no suites in {roots[0]} or {roots[1]}. Install the package again.")
