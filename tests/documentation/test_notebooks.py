"""The tutorials: what they print is stored, small and without errors, and each runs from its first cell to its last."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from documents import NOTEBOOKS, ROOT

AGAIN = "execute it: python -m tox -e notebooks -- docs/tutorials/NAME.ipynb"
named = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@named
def test_what_a_notebook_prints_is_stored(path: Path) -> None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1)), AGAIN
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs, AGAIN
    for output in outputs:
        assert output["output_type"] != "error", output
        assert output.get("name") != "stderr", output
        assert len(json.dumps(output)) < 60_000
    assert str(Path.home()) not in json.dumps(outputs)


@pytest.mark.slow
@named
def test_a_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := [name for name in ("nbformat", "nbclient", "ipykernel") if find_spec(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed; the extra `docs` brings it: pip install -e '.[docs]'")
    import nbformat
    from nbclient import NotebookClient

    for name, value in (
        ("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"),  # `!python` is this one
        ("PYTHONPATH", str(ROOT)),
        ("IPYTHONDIR", str(tmp_path / "ipython")),
        ("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime")),
        ("TMPDIR", str(tmp_path)),
    ):
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=where).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
