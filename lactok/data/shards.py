"""Finished shards: tar files in webdataset's layout, and how many pairs of each came how far.

OUT/pairs/000000.tar       KEY.png, KEY.txt (the caption) and KEY.json (prompt, caption, scores, facts) of each pair
OUT/rejected/000000.tar    the same for what did not pass; "rejected" in KEY.json says why
OUT/counts/000000.json     how many pairs came how far; written last
"""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lactok.data.captioning import WORDS
from lactok.data.filtering import Rule
from lactok.data.work import State, Work
from lactok.files import is_file, replacing, write_atomically

PAIRS, REJECTED, COUNTS = "pairs", "rejected", "counts"
MARK = "rejected.json"  # in the folder of rejected pairs, so that no reader of data sets takes them for data
NO_PICTURE, NO_CAPTION = "no picture", "no caption"  # reasons besides the filters


def reasons(state: State, rules: Sequence[Rule]) -> dict[str, str]:
    """Return why a pair is rejected: what it fails -> in words; nothing for a pair that passes."""
    if not state.picture:
        return {NO_PICTURE: state.fault}
    if not state.caption:
        return {NO_CAPTION: "the captioner wrote none"}
    found = {}
    for rule in rules:
        value, why = state.scores[rule.name]
        if not rule.passes(value):
            found[rule.name] = f"{value:g} is not above {rule.least:g}" + (f": {why}" if why else "")
    return found


def write(out: Path, shard: str, keys: Sequence[str], rules: Sequence[Rule]) -> None:
    """Write the tars and the counts of a shard whose pairs have gone through all stages, and remove its work."""
    work = Work(out, shard)
    kept: list[tuple[str, bytes]] = []
    rejected: list[tuple[str, bytes]] = []
    counts: Counter[str] = Counter()
    why: Counter[str] = Counter()
    passed = Counter({rule.name: 0 for rule in rules})
    for key in keys:
        state = work.state(key)
        assert state is not None, key
        failed = reasons(state, rules)
        why.update(list(failed))
        counts["pictures"] += bool(state.picture)
        counts["captions"] += bool(state.picture and state.caption)
        counts["long_captions"] += len((state.caption or "").split()) > WORDS
        counts["kept"] += not failed
        if state.picture and state.caption:
            passed.update(rule.name for rule in rules if rule.name not in failed)
        (rejected if failed else kept).extend(_members(work, key, state, failed))
    # every reader of counts finds the tars that they count
    _write_tar(out / REJECTED / f"{shard}.tar", rejected)
    _write_tar(out / PAIRS / f"{shard}.tar", kept)
    values = {"pairs": len(keys), **counts, "passed": dict(passed), "rejected": dict(why)}
    write_atomically(out / COUNTS / f"{shard}.json", (json.dumps(values, indent=1) + "\n").encode())
    work.remove()


def _members(work: Work, key: str, state: State, failed: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Return the files of a pair in a shard: name and bytes."""
    record: dict[str, Any] = {"prompt": state.prompt, "caption": state.caption or ""}
    record |= {"source": "real", "name": state.name} if state.name else {"source": "generated"}
    record |= {"seed": state.seed, "scores": {name: value for name, (value, _) in state.scores.items()}}
    record |= {"facts": state.facts, "picture": state.picture}
    if failed:
        record["rejected"] = dict(failed)
        record["said"] = {name: why for name, (_, why) in state.scores.items() if why}
    found = [(state.picture, work.picture(state))] if state.picture else []
    if state.caption:
        found.append((f"{key}.txt", state.caption.encode()))
    return [*found, (f"{key}.json", json.dumps(record, ensure_ascii=False).encode())]


def _write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """Write a tar, the same bytes for the same members; without any there is no file."""
    if not members:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def counts_of(out: Path, shard: str) -> dict[str, Any] | None:
    """Return the counts of a shard, None if it is not finished."""
    path = out / COUNTS / f"{shard}.json"
    return json.loads(path.read_text("utf-8")) if is_file(path) else None


def is_done(out: Path, shard: str, pairs: int) -> bool:
    """Return whether a shard is finished and holds so many pairs, before they were filtered, or more."""
    counts = counts_of(out, shard)
    return counts is not None and counts["pairs"] >= pairs


def unpack(out: Path, shard: str) -> None:
    """Bring the pairs of a finished shard back into its work, for a shard that is to have more of them.

    Pairs that are at work already stay as they are.
    """
    work = Work(out, shard)
    if counts_of(out, shard) is None:
        return
    for folder in (PAIRS, REJECTED):
        path = out / folder / f"{shard}.tar"
        if not is_file(path):
            continue
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member) for member in tar.getmembers()}
            contents = {name: file.read() for name, file in files.items() if file is not None}
        for name, data in contents.items():
            key = name.removesuffix(".json")
            if key == name or work.state(key) is not None:
                continue
            record = json.loads(data)
            state = State(record["prompt"], record["picture"], record["seed"], record.get("name", ""))
            state.facts, state.caption = record["facts"], record["caption"]
            said = record.get("said", {})
            state.scores = {name: (value, said.get(name, "")) for name, value in record["scores"].items()}
            if state.picture:
                work.save_picture(key, Path(state.picture).suffix, contents[state.picture])
            else:
                state.fault = record["rejected"][NO_PICTURE]
            work.save(key, state)
    (out / COUNTS / f"{shard}.json").unlink()


def totals(out: Path) -> dict[str, Any]:
    """Return the sums of the counts of all finished shards, and the number of shards."""
    sums: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = {"passed": Counter(), "rejected": Counter()}
    found = sorted((out / COUNTS).glob("*.json"))
    for path in found:
        for name, value in json.loads(path.read_text("utf-8")).items():
            if name in parts:
                for inner, number in value.items():
                    parts[name][inner] += number
            else:
                sums[name] += value
    return {"shards": len(found), **sums, **{name: dict(inner) for name, inner in parts.items()}}
