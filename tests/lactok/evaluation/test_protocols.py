"""The protocols: hashes that stored results are found by, sources, readings of the paper, and what `identity` gets."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import photograph

import lactok
from lactok.errors import WrongValue
from lactok.evaluation import protocol
from lactok.evaluation.options import OPTIONS
from lactok.evaluation.protocol import Protocol, Score, protocols
from lactok.images import Prepare

PREPARE = {"square-256": "66f4d4b3", "paper-1024": "7c08f884", "llamagen-256": "ae984401", "titok-256": "cf8bcf52"}
OLD = tuple(PREPARE)


def test_protocols_keep_the_hashes_by_which_stored_results_are_found() -> None:
    """A setting that was added later is hashed only where it is not the default."""
    assert {name: protocols()[name].prepare_hash for name in OLD} == PREPARE
    known = {name: protocols()[name].score.settings() for name in OLD}
    for name, settings in known.items():
        assert list(settings) == ["metrics", "rounding", "version", "versions"], name
    # the hashes of the settings without the versions of metrics and libraries, which change with an installation
    plain = {name: protocol.digest({**s, "versions": {}})[:8] for name, s in known.items() if name != "paper-1024"}
    assert plain == {"square-256": "fdd3e440", "llamagen-256": "28fe4297", "titok-256": "f041fd2a"}


def test_the_help_and_the_docs_name_every_protocol() -> None:
    docs = (Path(__file__).parents[3] / "docs" / "protocols.md").read_text()
    for name, one in protocols().items():
        assert re.search(rf"\b{name}\b", OPTIONS["protocol"]["help"]), name
        assert f"## {name}\n" in docs, name
        for word in re.findall(r"arXiv \d{4}\.\d{5}", one.source):
            assert word in docs, name


def test_every_other_setting_changes_a_hash() -> None:
    base = Protocol("x", Prepare(256), Score(("psnr",)))
    others = [
        replace(base, prepare=replace(base.prepare, **change))  # type: ignore[arg-type]
        for change in (
            {"crop": "squash"},
            {"upright": False},
            {"filter": "bilinear"},
            {"margin": 1.125},
            {"resolution": None, "crop": "pad"},
        )
    ]
    assert len({p.prepare_hash for p in (base, *others)}) == 6
    scored = [
        replace(base, score=replace(base.score, **change))  # type: ignore[arg-type]
        for change in ({"enlarge": "bilinear"}, {"references": "rounded"}, {"rounding": "seed-voken"})
    ]
    assert len({p.score_hash for p in (base, *scored)}) == 4
    assert replace(base, source="y", note="z", options=(("a", 1.0),)).score_hash == base.score_hash


def test_a_protocol_that_repeats_somebodys_evaluation_names_paper_repository_and_file() -> None:
    for name, one in protocols().items():
        assert one.note, name
        if name not in ("square-256", "native"):
            assert re.search(r"arXiv \d{4}\.\d{5}", one.source), name


def test_the_readings_of_the_paper_share_its_ids_or_say_why_not() -> None:
    paper, fourm, squash = (protocols()[f"paper-1024{end}"] for end in ("", "-4m", "-squash"))
    assert paper.prepare == fourm.prepare != squash.prepare
    assert paper.score == squash.score
    assert {"lpips_alex", "lpips_vgg", "rfid", "rfid_clean", "psnr", "ssim"} <= set(paper.score.metrics)
    assert (fourm.score.rounding, fourm.score.enlarge) == ("truncate", "bilinear")


def test_a_protocol_sets_an_option_of_the_tokenizers_that_have_it() -> None:
    fourm = protocols()["paper-1024-4m"]
    assert fourm.tokenizer_name("lactok-h") == "lactok-h@cond_scale=0.8"
    assert fourm.tokenizer_name("lactok-h@cond_scale=1") == "lactok-h@cond_scale=1"  # the user's word holds
    assert fourm.tokenizer_name("lactok-h@size=512") == "lactok-h@size=512,cond_scale=0.8"
    assert fourm.tokenizer_name("identity") == "identity"
    assert protocols()["paper-1024"].tokenizer_name("lactok-h") == "lactok-h"


def test_a_protocol_that_keeps_sizes_takes_no_resolution() -> None:
    with pytest.raises(WrongValue, match="native keeps the size of photographs"):
        protocol.get("native", 512)
    assert protocol.get("tokbench", 512).prepare.size_text == "own size, by way of 512 px"


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of photographs of three shapes, mixed."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i, (width, height) in enumerate([(64, 48), (48, 64), (64, 48), (80, 50), (48, 64), (64, 48)]):
        photograph(i, width, height).save(folder / f"{i}.png")
    return folder


# of these, `tokbench` alone changes every picture on the way: it shrinks it to the square and enlarges it again
@pytest.mark.parametrize("name", [n for n in protocols() if n != "tokbench"])
def test_nothing_is_lost_by_identity(name: str, mixed: Path, tmp_path: Path) -> None:
    side = 64 if protocols()[name].prepare.resolution else None
    result = lactok.evaluate(
        "identity", dataset=str(mixed), protocol=name, resolution=side, metrics="psnr", out=tmp_path / "runs"
    )
    assert result["psnr"].value == 100
    assert result["psnr"].capped == result["psnr"].n == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OLD, "native", "seed-voken-256"])
def test_identity_has_no_distance(name: str, mixed: Path, tmp_path: Path) -> None:
    """Features of equal pictures are equal, so the distance of their sets is 0 but for the last bits of its formula."""
    side = 64 if protocols()[name].prepare.resolution else None
    result = lactok.evaluate(
        "identity", dataset=str(mixed), protocol=name, resolution=side, metrics="psnr,rfid", out=tmp_path / "runs"
    )
    assert (result["psnr"].value, result["rfid"].value) == (100, pytest.approx(0, abs=1e-6))
