"""A job's code: the modules that belong to it, and the edits that count."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import InvalidInput
from engine.worker.project_code import check_project_code, project_code

FILES = {
    "models/__init__.py": "raise RuntimeError('run')\n",
    "models/delays.py": (
        "import os, json, pytest, msgspec\n"
        "from engine.model.task import Output\n"
        "from . import rates\n"
        "from .deep.way import down\n"
        "from shared.lib import helper as h\n"
        "def train(context):\n"
        "    import late\n"
        "    return late.x\n"
    ),
    "models/rates.py": "import models.delays\nRATE = 1\n",
    "models/deep/way.py": "from ...models import more\ndown = 1\n",
    "models/more.py": "'''two\n\nlines'''\n",
    "models/unused.py": "1\n",
    "shared/lib.py": "helper = 1\n",
    "late.py": "x = 1\n",
    "site-packages/installed.py": "y = 1\n",
}
OWN = {
    "models",
    "models.delays",
    "models.rates",
    "models.deep.way",
    "models.more",
    "shared.lib",
    "late",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project on the path, with an installed package beside it."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("models", "shared", "late", "installed"):
            del sys.modules[name]


def test_imported_project_modules_are_hashed_without_execution(project: Path) -> None:
    assert project_code("models.delays").keys() == OWN
    assert "models" not in sys.modules


def test_installed_packages_are_hashed_if_they_contain_the_job(project: Path) -> None:
    (project / "late.py").write_text("import installed\nx = 1\n")
    assert "installed" not in project_code("models.delays")
    assert project_code("installed").keys() == {"installed"}


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("late.py", "x = 2\n", {"late"}),
        ("late.py", "# why\n\nx = 1  # because\n\n", set()),
        ("late.py", "x = 1\r\n", set()),
        ("models/more.py", "'''two\nlines'''\n", {"models.more"}),
        ("models/more.py", "'''two\n \nlines'''\n", {"models.more"}),
        ("models/rates.py", "RATE = 'no # comment'\n", {"models.rates"}),
        ("models/unused.py", "2\n", set()),
        ("shared/lib.py", "from shared import new\nhelper = 1\n", {"shared.lib"}),
        ("late.py", "x = (\n", {"late"}),
    ],
)
def test_only_edits_of_code_change_the_hash(
    project: Path, file: str, text: str, changes: set[str]
) -> None:
    before = project_code("models.delays")
    (project / file).write_bytes(text.encode())
    after = project_code("models.delays")
    assert {name for name in after if after[name] != before.get(name)} == changes


def test_differing_modules_are_named(project: Path) -> None:
    code = project_code("models.delays")
    check_project_code(code)
    (project / "late.py").write_text("x = 2\n")
    (project / "shared/lib.py").unlink()
    with pytest.raises(
        InvalidInput,
        match=r"differs from .*module late is \w{16}, not .*module shared.lib is missing",
    ):
        check_project_code(code)


def test_the_imported_code_is_compared_and_not_a_later_file(project: Path) -> None:
    before = project_code("late")
    __import__("late")
    (project / "late.py").write_text("x = 2\n")
    check_project_code(before)
    del sys.modules["late"]
    with pytest.raises(InvalidInput, match="module late"):
        check_project_code(before)


def test_the_standard_library_is_not_hashed() -> None:
    assert project_code("json.decoder") == {}


def test_a_missing_module_is_an_error(project: Path) -> None:
    for name in ("nowhere", "models.nowhere", "late.x", ""):
        with pytest.raises(InvalidInput, match="there is no module"):
            project_code(name)
