"""Checkpoints of others: torch's safe loader and the restricted reader agree, and files made to harm are refused."""

from __future__ import annotations

import argparse
import collections
import datetime
import io
import json
import pathlib
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lactok.errors import UserError
from lactok.weights import restricted_pickle, unpickle

MEMORY = 1_500_000_000  # more than importing torch takes, less than any of the harmful files would
READ = """
import json, resource, sys, time
from pathlib import Path
from lactok.errors import UserError
from lactok.weights import unpickle
resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 120,) * 2)
resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
for path in map(Path, sys.argv[2:]):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        said = f"read {sorted(unpickle.read(path))}"
    except UserError as error:
        said = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([path.name, said, grown // 1024]), flush=True)
"""


def archive(path: Path, program: bytes, storage: bytes = b"", how: int = zipfile.ZIP_STORED) -> None:
    """A torch archive with a pickle of one's own."""
    with zipfile.ZipFile(path, "w", how) as file:
        file.writestr("a/data.pkl", program)
        file.writestr("a/byteorder", "little")
        file.writestr("a/data/0", storage)
        file.writestr("a/version", "3\n")


def tensor_program(size: str, stride: str) -> bytes:
    """A pickle of one tensor on storage 0, by its size and stride in pickle's text protocol, which torch refuses."""
    storage = "(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"
    text = f"ctorch._utils\n_rebuild_tensor_v2\n({storage}I0\n({size}t({stride}tI00\nccollections\nOrderedDict\n(tRtR."
    return text.encode()


def binary_tensor(size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The same as torch writes it: protocol 2, which its safe loader reads."""
    whole = io.BytesIO()
    torch.save(torch.arange(4.0), whole)
    with zipfile.ZipFile(whole) as file:
        program = file.read("archive/data.pkl")

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", v) for v in values) + b"t"

    assert program.count(b"K\x04\x85") == program.count(b"K\x01\x85") == 1
    return program.replace(b"K\x04\x85", numbers(size)).replace(b"K\x01\x85", numbers(stride))


def shared(opening: bytes, step: bytes) -> bytes:
    """Forty containers, each of which holds the one before twice: 2^40 paths."""
    program, memo = b"\x80\x02" + opening + b"q\x00", 0
    for memo in range(1, 41):
        program += step.replace(b"<", bytes([memo - 1])).replace(b">", bytes([memo]))
    return program + b"."


DICTIONARIES = shared(b"}", b"}(X\x01\x00\x00\x00ah<X\x01\x00\x00\x00bh<uq>")
TUPLES = shared(b")", b"h<h<\x86q>")[:-1] + b"}h\x28K\x01s."  # the last one is hashed as a key


class Harm:
    """Files that hang a careless reader or fill its memory; each writes one and gives the words of its refusal."""

    @staticmethod
    def shared_dictionaries(path: Path) -> str:
        archive(path, DICTIONARIES)
        assert path.stat().st_size < 2000
        return "more than 2,000,000 entries"

    @staticmethod
    def shared_dictionaries_in_a_plain_pickle(path: Path) -> str:
        path.write_bytes(DICTIONARIES)
        return "more than 2,000,000 entries"

    @staticmethod
    def shared_tuples(path: Path) -> str:
        archive(path, TUPLES)
        return "would not end"

    @staticmethod
    def shared_tuples_in_a_plain_pickle(path: Path) -> str:
        path.write_bytes(TUPLES)
        return "would not end"

    @staticmethod
    def memo_index(path: Path) -> str:
        path.write_bytes(b"Nr\xff\xff\xff\x1f0N.")
        return "numbers an object 536870911"

    @staticmethod
    def memo_index_in_an_archive(path: Path) -> str:
        archive(path, b"Nr\xff\xff\xff\x1f0N.")
        return "numbers an object 536870911"

    @staticmethod
    def deflated(path: Path) -> str:
        archive(path, binary_tensor((4,), (1,)), bytes(200_000_000), zipfile.ZIP_DEFLATED)
        assert path.stat().st_size < 1_000_000
        return "that unpack to 200 MB are not weights"

    @staticmethod
    def deflated_pickle(path: Path) -> str:
        archive(path, b"X" + struct.pack("<I", 200_000_000) + bytes(200_000_000) + b".", b"", zipfile.ZIP_DEFLATED)
        return "that unpack to 200 MB are not weights"

    @staticmethod
    def compressed_otherwise(path: Path) -> str:
        archive(path, binary_tensor((4,), (1,)), bytes(2**20), zipfile.ZIP_BZIP2)
        return "compression is one that torch does not know"

    @staticmethod
    def stride_nought(path: Path) -> str:
        archive(path, binary_tensor((10**15,), (0,)), bytes(16))
        return "its tensors would take 4000000000 MB or more"

    @staticmethod
    def stride_nought_for_the_restricted_reader(path: Path) -> str:
        archive(path, tensor_program("L1000000000000000L\n", "I0\n"), bytes(16))
        return "its tensors would take 4000000000 MB or more"

    @staticmethod
    def a_storage_longer_than_its_file(path: Path) -> str:
        whole = binary_tensor((10**6,), (1,)).replace(b"K\x04tq", b"J\x40\x42\x0f\x00tq")
        assert b"J\x40\x42\x0f\x00tq" in whole
        archive(path, whole, bytes(16))
        return "out of bounds for storage"

    @staticmethod
    def memory_by_a_number(path: Path) -> str:
        archive(path, b"\x80\x02c__builtin__\nbytearray\n\x8a\x08" + struct.pack("<q", 2**40) + b"\x85R.")
        return "would call builtins.bytearray"

    @staticmethod
    def text_in_a_slow_encoding(path: Path) -> str:
        path.write_bytes(b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00aX\x08\x00\x00\x00punycodetR.")
        return "would encode text as punycode"

    @staticmethod
    def deep(path: Path) -> str:
        path.write_bytes(b"}" + b"X\x01\x00\x00\x00a}" * 100_000 + b"s" * 100_000 + b".")
        return "nested more than 100 deep"

    @staticmethod
    def a_list_of_bytes(path: Path) -> str:
        path.write_bytes(b"ctorch.jit._pickle\nbuild_intlist\n(B\x04\x00\x00\x00abcdtR.")
        return "would make a list of a bytes"

    @staticmethod
    def names(path: Path) -> str:
        path.write_bytes(pickle.dumps({"a" * 2000: {"b": np.ones(1)}}))
        return "name has more than 1000 characters"


HARM = {name: write for name, write in vars(Harm).items() if not name.startswith("_")}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str, int]]:
    """By harmful file: the words that are expected, what a process said of it, and by how many MB it grew.

    The process has a limit on its time and memory, and is not asked about the files after the one that ends it.
    """
    folder = tmp_path_factory.mktemp("harm")
    expected = {name: write(folder / name) for name, write in HARM.items()}
    command = [sys.executable, "-c", READ, str(MEMORY), *(str(folder / name) for name in HARM)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = {name: (expected[name], said.replace(str(folder / name), "FILE"), grown) for name, said, grown in lines}
    return dict.fromkeys(HARM, ("", f"ended with {done.returncode}: {done.stderr[-1000:]}", 0)) | found


@pytest.mark.slow
@pytest.mark.parametrize("name", HARM)
def test_a_file_made_to_harm_is_refused(name: str, answers: dict[str, tuple[str, str, int]]) -> None:
    words, said, grown = answers[name]
    assert said.startswith(("FILE is refused: ", "FILE cannot be read as a checkpoint"))
    assert words in said
    assert "\n" not in said
    assert grown < 200


def test_the_instructions_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lactok.weights.pickle_scan.INSTRUCTIONS", 100)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(list(range(200))))
    with pytest.raises(UserError, match="more than 100 instructions"):
        unpickle.read(tmp_path / "a.pkl")


@pytest.mark.parametrize(
    "target", [b"ctorch._utils\n_rebuild_tensor_v2\n", b"c_codecs\nencode\n", b"cargparse\nNamespace\n"]
)
@pytest.mark.parametrize("state", [b"}X\x03\x00\x00\x00newK\x01s", b"N}X\x03\x00\x00\x00newK\x01s\x86"])
def test_a_file_cannot_change_the_reader(tmp_path: Path, target: bytes, state: bytes) -> None:
    """Attributes set on the reader's functions and classes would still be there for the next file."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02" + target + state + b"b.")
    with pytest.raises(UserError, match=r"would change the reader|cannot be read"):
        unpickle.read(tmp_path / "a.pkl")
    known = [*restricted_pickle._KNOWN.values(), restricted_pickle.Inert]
    assert not [k for k in known if hasattr(k, "new") or hasattr(getattr(k, "_function", None), "new")]


@pytest.mark.parametrize(
    "program",
    [
        tensor_program("I4\n", "I1\n").replace(b"ctorch\nFloatStorage", b"ccollections\nOrderedDict"),  # no type
        tensor_program("I-4\n", "I1\n"),
        tensor_program("I4\n", "S'1'\n"),
        b"ctorch._utils\n_rebuild_tensor_v2\n(NI0\n(t(ttR.",  # no storage
        b"cnumpy.core.multiarray\n_reconstruct\n(tR(I1\n(I4\ntNI00\nS'abcd'\ntb.",  # no dtype
    ],
)
def test_descriptions_that_no_library_writes(tmp_path: Path, program: bytes) -> None:
    archive(tmp_path / "a.pt", program, bytes(16))
    with pytest.raises(UserError, match="is refused"):
        unpickle.read(tmp_path / "a.pt")


def checkpoint() -> dict[str, Any]:
    """What training scripts save: nested weights, shared ones, views, numbers and texts beside them."""
    weight = torch.randn(4, 6)
    return {
        "model": collections.OrderedDict(
            a=weight,
            tied=weight,
            view=weight[:, ::2],
            turned=weight.T,
            empty=torch.zeros(0, 3),
            number=torch.tensor(3),
            parameter=torch.nn.Parameter(torch.randn(2)),
            **{str(t): torch.arange(5).to(t) for t in (torch.float16, torch.bfloat16, torch.bool, torch.uint8)},
        ),
        "blocks": [torch.ones(1), (torch.zeros(2), {"deep": torch.arange(3)})],
        7: {"state": torch.eye(2, dtype=torch.float64)},
        "lr": 1e-4,
        "name": "run",
        "seen": {1, 2},
        "size": torch.Size([2, 3]),
        "none": None,
    }


def read_by(reader: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """`unpickle.read` with only one of its two readers."""
    with monkeypatch.context() as patch:
        if reader == "restricted":
            patch.setattr(unpickle, "_by_torch", lambda _: None)
        else:
            patch.setattr(unpickle, "RestrictedReader", None)
        return unpickle.read(path)


def test_both_readers_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(checkpoint(), tmp_path / "a.pt")
    ours, theirs = (read_by(reader, tmp_path / "a.pt", monkeypatch) for reader in ("restricted", "torch"))
    assert list(ours) == list(theirs)
    assert {"model.a", "model.tied", "blocks.0", "blocks.1.0", "blocks.1.1.deep", "7.state"} < set(ours)
    for name, tensor in ours.items():
        assert type(tensor) is type(theirs[name]) is torch.Tensor
        assert not theirs[name].requires_grad
        assert tensor.dtype == theirs[name].dtype
        assert tensor.stride() == theirs[name].stride()
        torch.testing.assert_close(tensor, theirs[name], atol=0, rtol=0)


def test_torch_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(checkpoint(), tmp_path / "a.pt")
    monkeypatch.setattr(unpickle, "RestrictedReader", None)
    assert "model.a" in unpickle.read(tmp_path / "a.pt")


def test_a_deflated_archive_of_weights(tmp_path: Path) -> None:
    value = torch.randn(100)
    torch.save({"a": value}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as stored, zipfile.ZipFile(tmp_path / "b.pt", "w", 8) as packed:
        for member in stored.infolist():
            packed.writestr(member.filename, stored.read(member))
    assert torch.equal(unpickle.read(tmp_path / "b.pt")["a"], value)


@pytest.mark.parametrize("save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_what_is_harmless_beside_weights(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    options = argparse.Namespace(
        dtype=torch.bfloat16,
        out=pathlib.PurePosixPath("runs/a"),
        data=Path("."),
        day=datetime.date(2026, 11, 29),
        began=datetime.datetime(2026, 11, 29, tzinfo=datetime.UTC),
        took=datetime.timedelta(hours=1),
    )
    save({"model": {"a": np.arange(3.0)}, "args": options, "paths": [Path("a")]}, tmp_path / "a.pt")
    read = unpickle.read(tmp_path / "a.pt")
    assert list(read) == ["model.a"]
    assert read["model.a"].tolist() == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).eval()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3)), str(tmp_path / "a.pt"))
    read = unpickle.read(tmp_path / "a.pt")
    for name, tensor in module.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(read[name], tensor)


def wide(number: int) -> bytes:
    """A pickle's instruction for a whole number of twelve bytes."""
    return b"\x8a\x0c" + number.to_bytes(12, "little")


@pytest.mark.parametrize(
    "key",
    [lambda i: wide((2**61 - 1) * (80 + i)), lambda i: b"J" + struct.pack("<i", i) + b"K\x01\x86"],
    ids=["numbers with one hash", "tuples"],
)
def test_keys_whose_hashes_can_be_equal_are_few(tmp_path: Path, key: Callable[[int], bytes]) -> None:
    """A dictionary of many keys with one hash takes hours to build."""
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02}(" + b"".join(key(i) + b"N" for i in range(20_000)) + b"u.")
    with pytest.raises(UserError, match="more than 10,000 of its keys are tuples or numbers of more than 64 bits"):
        unpickle.read(tmp_path / "a.pkl")


@pytest.mark.parametrize("what", ["tensors", "a model and its optimizer"])
def test_many_tensors_are_no_odd_keys(tmp_path: Path, what: str) -> None:
    """Only keys count, not what stands under them."""
    state: dict[str, Any] = {f"l{i}.w": torch.zeros(1) for i in range(10_500 if what == "tensors" else 3_400)}
    if what != "tensors":
        moments = {
            i: {"step": torch.zeros(1), "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)} for i in range(3_400)
        }
        state = {"model": state, "optimizer": {"state": moments, "param_groups": [{"params": list(moments)}]}}
    torch.save(state, tmp_path / "a.pt")
    assert len(unpickle.read(tmp_path / "a.pt")) >= 3_400


def test_a_list_of_tuples_for_a_dictionary_is_bounded(tmp_path: Path) -> None:
    pairs = b"".join(b"J" + struct.pack("<i", i) + b"K\x01\x86N\x86" for i in range(20_000))
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02ccollections\nOrderedDict\n](" + pairs + b"e\x85R.")
    with pytest.raises(UserError, match="more than 10,000"):
        unpickle.read(tmp_path / "a.pkl")


def test_complex_numbers_are_not_hashed(tmp_path: Path) -> None:
    torch.save({"model": {"a": torch.ones(1)}, "phase": 1j, 2j: 3}, tmp_path / "a.pt")
    assert list(unpickle.read(tmp_path / "a.pt")) == ["model.a"]


PAIRS: list[dict[Any, Any]] = [
    {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}},
    {1: torch.ones(1), "1": torch.zeros(1)},
]


@pytest.mark.parametrize("pair", PAIRS)
def test_two_tensors_of_one_name(tmp_path: Path, pair: dict[Any, Any]) -> None:
    torch.save(pair, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"two of its tensors have the name (a\.b|1);"):
        unpickle.read(tmp_path / "a.pt")


def test_a_cut_file_of_the_old_format_is_damaged(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(9)}, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "a.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:-4])
    with pytest.raises(UserError, match=r"cannot be read as a checkpoint \(cut short or damaged\); fetch it again"):
        unpickle.read(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
    ],
)
def test_what_a_file_looks_like_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(UserError, match=f"cannot be read as a checkpoint .{said}"):
        unpickle.read(tmp_path / "a.pt")


def test_a_tensor_alone_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "a.pt")
    with pytest.raises(UserError, match="one tensor without a name"):
        unpickle.read(tmp_path / "a.pt")
