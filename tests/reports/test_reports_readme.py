"""README's table and picture: drawn from the kept sample run, and the kept run is of today's weights and protocol."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lactok
from lactok import registry
from lactok.evaluation import protocol
from lactok.evaluation.results import ReconResult
from lactok.metrics.registry import assets
from reports.__main__ import main
from reports.readme import PROTOCOL, ROOT, load_kept, rendered_files

BUNDLED = Path(lactok.__file__).parent / "bundled"
FETCHED = {a.name for a in assets()["metrics"]}  # published networks, pinned by their sources' digests
HAS_WEIGHTS_HERE = "run `python -m tox -e recon`, then `python -m reports readme --runs runs`"


def has_weights(name: str) -> bool:
    """Whether all that a tokenizer needs is bundled or pinned by its source."""
    needed = registry.tokenizer_spec(name).assets
    return all((BUNDLED / f"{a.name}.safetensors").is_file() or a.name in FETCHED for a in needed)


def stale(results: list[ReconResult]) -> list[str]:
    """What of the kept results is not of this version."""
    found = []
    today = protocol.get(PROTOCOL)
    kept_results = [r.result for r in results]
    for result in kept_results:
        name = result["tokenizer"]["name"]
        hashes = (result["protocol"]["prepare"], result["protocol"]["score"])
        if hashes != (today.prepare_hash, today.score_hash):
            found.append(f"{name}: protocol")
        expected = (
            {a.name for a in registry.tokenizer_spec(name).assets} if name in registry.list_tokenizers() else set()
        )
        if expected != {a["name"] for a in result["tokenizer"]["assets"]}:
            found.append(f"{name}: weights")
        for asset in result["tokenizer"]["assets"]:
            if asset["name"] in FETCHED:
                continue
            file = BUNDLED / f"{asset['name']}.safetensors"
            if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != asset["sha256"]:
                found.append(f"{name}: weights {asset['name']}")
    names = {r["tokenizer"]["name"] for r in kept_results}
    shipped = {name for name, place in registry.TOKENIZERS.own().items() if place.listed and has_weights(name)}
    return found + sorted(f"{name}: row" for name in names ^ shipped)


def test_the_kept_run_is_of_todays_weights_and_protocol() -> None:
    assert stale(load_kept(ROOT)) == [], HAS_WEIGHTS_HERE


def test_readme_and_picture_are_what_it_gives() -> None:
    for path, text in rendered_files(ROOT, load_kept(ROOT)).items():
        assert path.read_text() == text, f"{path.name}: run `python -m reports readme`"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda r: r["protocol"].update(score="0" * 8), "protocol"),
        (lambda r: r["protocol"].update(prepare="0" * 8), "protocol"),
        (lambda r: r["tokenizer"].update(assets=[]), "weights"),
        (lambda r: r["tokenizer"]["assets"][0].update(sha256="0" * 64), "weights"),
        (lambda r: r["tokenizer"].update(name="gone"), "row"),
    ],
)
def test_staleness_is_seen(change: Callable[[dict[str, Any]], None], what: str) -> None:
    results = load_kept(ROOT)
    change(next(r.result for r in results if r.tokenizer["assets"]))
    assert any(line.endswith(what) or f": {what} " in line for line in stale(results))


def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "docs" / "sample-run", tmp_path / "docs" / "sample-run")
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["readme", "--root", str(tmp_path), *words])
        return int(str(ended.value.code))

    assert run() == 0
    assert run("--check") == 0
    one = next((tmp_path / "docs" / "sample-run").glob("*/result.json"))
    result = json.loads(one.read_text())
    result["metrics"]["psnr"]["value"] += 1
    one.write_text(json.dumps(result))
    assert run("--check") == 2
    assert "run `python -m reports readme`" in capsys.readouterr().err
    assert run() == 0
    assert run("--check") == 0
    (tmp_path / "README.md").write_text("no place")
    assert run() == 2
    assert "no place for the table" in capsys.readouterr().err
