"""`python -m reports paper`: verdicts from stored results, and the report that is made of them."""

from __future__ import annotations

import importlib
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from page_runs import Kind, write_geneval, write_row

from lactok.evaluation.results import Result, load_results
from lactok.metrics.registry import find
from reports.__main__ import main
from reports.paper import full, systems, tables, writing
from reports.paper.claims import CLAIMS, Claim, Test
from reports.paper.systems import CONTROL, PHOTOGRAPHS, SCENES, Found
from reports.paper.verdict import FAILS, HOLDS, INSIDE, UNDECIDED, Line, decide, seconds_verdict, summed_up

Test.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's
N = 20
NAMES = {"lactok-h": "good", "llamagen": "poor", "flextok": "alike", "titok-s128": "missing"}


def stored(runs: Path, of: Mapping[str, Iterable[float]], dataset: str = "photographs") -> dict[str, Result]:
    """Results of tokenizers with these values of each image, by name."""
    samples = [f"{i:02}.png" for i in range(N)]
    for name, values in of.items():
        kind = Kind(name, "lactok", 256, 4096, 3072.0, 16)
        psnrs = [float(value) for value in values]
        scores = {"psnr": psnrs, "lpips_vgg": [(40 - value) / 40 for value in psnrs]}
        write_row(runs, kind, dataset, samples, [None] * N, {}, scores=scores)
    return {result.label: result for result in load_results(runs).recon if result.dataset == dataset}


def empty(scale: str) -> Found:
    return Found(scale, systems.tokenizers(scale), systems.generators(scale))


@pytest.fixture
def found(tmp_path: Path) -> Found:
    """`good` is clearly better than `poor`, `alike` is as good as `good` but for noise, `missing` was not run."""
    rng = np.random.default_rng(0)
    good = rng.normal(24, 2, N)
    values = {"good": good, "poor": good - rng.normal(2, 0.3, N), "alike": good + rng.normal(0, 0.5, N)}
    known = Found("tiny", NAMES, {})
    known.results = {(PHOTOGRAPHS, name): result for name, result in stored(tmp_path / "runs", values).items()}
    known.reasons = {("", "missing"): "no source has missing.safetensors"}
    known.places = {PHOTOGRAPHS: "20 photographs", SCENES: "no scenes", "geneval": "no captions"}
    return known


def claim(first: str, second: str, *columns: str, kind: str = "better") -> Claim:
    return Claim("it", "It is so.", "section 1", (Test(first, second, columns, ("recon_imagenet",)),), kind)


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("lactok-h", "llamagen", HOLDS),
        ("llamagen", "lactok-h", FAILS),
        ("lactok-h", "flextok", INSIDE),
        ("lactok-h", "titok-s128", UNDECIDED),
        ("lactok-h", "seedtok+", UNDECIDED),
    ],
)
def test_a_verdict_is_that_of_the_interval(found: Found, first: str, second: str, verdict: str) -> None:
    (decision,) = decide([claim(first, second, "psnr", "lpips")], found)
    assert decision.verdict == verdict
    assert [line.metric.key for line in decision.lines] == ["psnr", "lpips_vgg"]  # one better higher, one lower
    assert {line.verdict for line in decision.lines} == {verdict}
    for line in decision.lines:
        assert [(p.table, p.column) for p in line.printed] == [
            ("recon_imagenet", {"lpips_vgg": "lpips"}.get(line.metric.key, line.metric.key))
        ]


def test_what_was_not_run_says_why(found: Found) -> None:
    missing, unknown = decide([claim("lactok-h", "titok-s128", "psnr"), claim("lactok-h", "seedtok+", "psnr")], found)
    assert missing.reason == "not run: no source has missing.safetensors"
    assert unknown.reason == "no model of this scale stands for seedtok+"
    assert {line.compared for d in (missing, unknown) for line in d.lines} == {None}


def test_a_metric_without_an_interval_leaves_a_claim_open(found: Found) -> None:
    (decision,) = decide([claim("lactok-h", "llamagen", "psnr", "rfid")], found)
    assert [line.verdict for line in decision.lines] == [HOLDS, UNDECIDED]
    assert decision.verdict == UNDECIDED
    assert decision.reason == ("of 2 comparisons 1 agree, 1 are not decided: rFID of so few images has no interval")


def test_comparable_values_lie_within_the_largest_published_difference(found: Found) -> None:
    """The paper's PSNR of these two differ by 0.14 on ImageNet; here they are 2 dB apart."""
    of = [claim("lactok-h", other, "psnr", kind="comparable") for other in ("llamagen", "flextok")]
    apart, near = decide(of, found)
    assert apart.lines[0].margin == pytest.approx(19.94 - 19.80)
    assert apart.verdict == FAILS
    assert near.lines[0].margin == pytest.approx(19.80 - 18.02)
    assert near.verdict == HOLDS


def test_p_values_are_corrected_over_all_claims(found: Found) -> None:
    one = decide([claim("lactok-h", "llamagen", "psnr")], found)[0].lines[0].compared
    many = decide([claim("lactok-h", "llamagen", "psnr")] * 4, found)[0].lines[0].compared
    assert one is not None
    assert many is not None
    assert one.p_corrected == one.difference.p == pytest.approx(0.001, abs=0.001)
    assert many.p_corrected == pytest.approx(4 * (many.difference.p or 0))


def line(verdict: str, place: str = PHOTOGRAPHS, metric: str = "psnr", reason: str = "") -> Line:
    return Line("a", "b", place, find(metric), (), verdict, reason or ("why" if verdict == UNDECIDED else ""))


@pytest.mark.parametrize(
    ("lines", "verdict", "reason"),
    [
        ([line(HOLDS), line(HOLDS, SCENES)], HOLDS, "of 2 comparisons 2 agree"),
        ([line(HOLDS), line(INSIDE, SCENES)], INSIDE, "of 2 comparisons 1 agree, 1 are inside the interval"),
        ([line(HOLDS), line(FAILS, SCENES), line(UNDECIDED, metric="ssim")], FAILS, None),
        # the same models and metric are decided on other data
        ([line(UNDECIDED), line(HOLDS, SCENES)], HOLDS, "of 2 comparisons 1 agree, 1 are not decided"),
        ([line(HOLDS), line(UNDECIDED, metric="ssim")], UNDECIDED, None),
        ([line(UNDECIDED), line(UNDECIDED, SCENES)], UNDECIDED, "why"),
    ],
)
def test_comparisons_are_summed_up(lines: list[Line], verdict: str, reason: str | None) -> None:
    found, said = summed_up(lines)
    assert found == verdict
    assert reason is None or said == reason


def test_seconds_have_no_interval_but_a_margin() -> None:
    assert seconds_verdict(2.4, 7.3) == HOLDS
    assert seconds_verdict(7.3, 2.4) == FAILS
    assert seconds_verdict(1.0, 1.2) == INSIDE


def test_geneval_is_paired_by_prompt(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_geneval(tmp_path, f"images-{name}-abcdef", tasks=("two_object", "position"), prompts=4)
    known = Found("tiny", {}, {"lactokgen-t*": "one", "llamagen": "other"})
    known.results = {("geneval", result.label): result for result in load_results(tmp_path).geneval}
    test = Test("lactokgen-t*", "llamagen", ("geneval_overall", "geneval_position"), ("generation",))
    (decision,) = decide([Claim("it", "It is so.", "section 1", (test,))], known)
    assert decision.verdict == INSIDE  # the same verdicts
    assert [line.place for line in decision.lines] == ["geneval", "geneval"]
    assert [(line.printed[0].first, line.printed[0].second) for line in decision.lines] == [(0.73, 0.32), (0.53, 0.07)]


def test_every_claim_is_of_systems_and_columns_that_the_paper_has() -> None:
    assert len(CLAIMS) >= 8
    assert len({c.id for c in CLAIMS}) == len(CLAIMS)
    for scale in ("tiny", "full"):
        found = empty(scale)
        asked = {key for c in CLAIMS for test in c.tests for key in (test.first, test.second)}
        assert asked - (found.tokenizers.keys() | found.generators.keys()) <= {CONTROL}
        for decision in decide(CLAIMS, found):
            assert decision.verdict == UNDECIDED  # nothing is stored
            assert decision.reason
            assert all(line.printed for line in decision.lines) or "paper" in decision.claim.note


def test_one_name_of_the_paper_may_be_of_a_tokenizer_and_of_a_generator() -> None:
    decisions = {d.claim.id: d for d in decide(CLAIMS, empty("full"))}
    assert {line.second for line in decisions["llamagen"].lines} == {"llamagen-vq16"}
    assert {line.second for line in decisions["geneval"].lines} == {"llamagen-t2i-512"}


def test_the_paper_itself_agrees_with_most_of_its_claims() -> None:
    """Directions are not turned round: the published numbers say of each "better" claim at least once what it says."""
    found = empty("full")
    for decision in decide(CLAIMS, found):
        pairs = [(line.metric.higher, p.first - p.second) for line in decision.lines for p in line.printed]
        if decision.claim.kind == "better" and pairs:
            assert sum((gap > 0) == higher for higher, gap in pairs if gap) > len(pairs) / 2, decision.claim.id


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def report(known: Found, out: Path) -> dict[str, bytes]:
    writing.write(decide(CLAIMS, known), tables.build(known), known, out)
    return files_of(out)


def test_the_report_has_six_tables_and_the_same_bytes_twice(found: Found, tmp_path: Path) -> None:
    known = empty("tiny")
    known.places = found.places
    values = {
        known.tokenizers["lactok-h"]: np.linspace(20, 30, N),
        known.tokenizers["llamagen"]: np.linspace(19, 28, N),
    }
    known.results = {(PHOTOGRAPHS, name): r for name, r in stored(tmp_path / "small", values).items()}
    first = report(known, tmp_path / "out")
    assert report(known, tmp_path / "out") == first
    assert report(known, tmp_path / "other") == first
    built = {t["id"]: t for t in json.loads(first["tables.json"])["tables"]}
    assert {f"table{i}" for i in range(1, 7)} <= built.keys()
    for id in built:
        assert {f"tables/{id}{suffix}" for suffix in (".md", ".csv", ".tex", ".json")} <= first.keys()
    rows = {r["row"]: {c["metric"]: c for c in r["cells"]} for r in built["table1"]["rows"]}
    assert rows["LaCTok-H"]["psnr"]["measured"] == pytest.approx(25)
    assert (rows["LaCTok-H"]["psnr"]["published"], rows["LaCTok-H"]["psnr"]["second"]) == (19.80, 19.28)
    assert rows["LaCTok-H"]["psnr"]["difference"] is None  # of another model on other data
    assert rows["TiTok-S-128"]["psnr"]["reason"] == "not run"
    claims = json.loads(first["claims.json"])["claims"]
    assert [c["id"] for c in claims] == [c.id for c in CLAIMS]
    page = first["claims.md"].decode()
    assert all(f'<a id="{c.id}"></a>' in page for c in CLAIMS)
    assert "They reproduce no number of the paper" in page


def test_the_cluster_run_is_planned_by_commands_that_parse(own_cache: Path) -> None:
    planned = full.jobs("runs", "local")
    assert [job.what for job in planned] == [
        "Table 1",
        "Table 1",
        "Tables 2, 4 and 5",
        "Table 2",
        "Table 3, and the seconds an image",
        "Table 6",
    ]
    for engine in ("local", "ray"):
        for job in full.jobs("runs", engine):
            python, flag, module, *words = shlex.split(job.command)
            assert (python, flag) == ("python", "-m")
            args = importlib.import_module(f"{module}.__main__").parser().parse_args(words)
            assert args.engine == engine
            assert job.data
            assert job.weights
    assert any("lactok-h-star: cannot be fetched" in line for line in planned[0].weights)


def command(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["paper", *map(str, words)])
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--engine", "ray"), "--engine does not go with --scale tiny; leave it out"),
        (("--scale", "full", "--dataset", "sample"), "--dataset does not go with --scale full; leave it out"),
        (("--dataset", "/nowhere/photographs"), "no such folder"),
        (("--workers", "0"), "--workers 0"),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*words, "--out", tmp_path / "out", "--runs", tmp_path / "runs") == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_full_scale_shows_what_there_is_and_plans_the_rest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--scale", "full", "--runs", tmp_path / "none", "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "python -m benchmarks.table3 --captions coco" in said
    written = files_of(tmp_path / "out")
    assert {"index.md", "claims.md", "claims.json", "cluster.md", "tables.md", "tables/table6.tex"} <= written.keys()
    assert {c["verdict"] for c in json.loads(written["claims.json"])["claims"]} == {UNDECIDED}
