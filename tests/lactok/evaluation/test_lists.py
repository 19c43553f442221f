"""Lists of images."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from conftest import photograph

from lactok.errors import UserError
from lactok.evaluation import datasets, samples


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for i, name in enumerate(("a.png", "n01/0.png", "n02/0.png", "n02/1.png", "caf\u00e9.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        photograph(i).save(tmp_path / name)
    return tmp_path


def ids(images: Path, text: str | bytes, name: str = "list.txt") -> list[str]:
    (images / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    found = datasets.get(str(images / name)).samples
    assert all(sample.path.is_file() for sample in found)
    return [sample.id for sample in found]


def test_ids_are_the_paths_as_written(images: Path) -> None:
    assert ids(images, "n01/0.png\n\n  ./a.png \n") == ["./a.png", "n01/0.png"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_line_ends(images: Path, encoding: str, end: str) -> None:
    text = end.join(["a.png", "n01/0.png", ""])
    assert ids(images, text.encode(encoding)) == ["a.png", "n01/0.png"]
    assert ids(images, text.encode(encoding), "LIST.TXT") == ["a.png", "n01/0.png"]


def test_lists_that_were_joined(images: Path) -> None:
    assert ids(images, "\ufeffa.png\n\ufeffn01/0.png\n") == ["a.png", "n01/0.png"]


def test_absolute_paths_are_told_apart_by_as_much_as_is_needed(images: Path) -> None:
    names = ["n01/0.png", "n02/0.png", "n02/1.png"]
    assert ids(images, "".join(f"{images / name}\n" for name in names)) == ["1.png", "n01/0.png", "n02/0.png"]
    assert ids(images, f"{images / 'n01/0.png'}\n") == ["0.png"]
    (images / "n01" / "n02").mkdir()
    photograph(9).save(images / "n01" / "n02" / "0.png")
    found = ids(images, f"{images / 'n01/n02/0.png'}\n{images / 'n02/0.png'}\nn02/1.png")
    assert found == sorted([f"{images.name}/n02/0.png", "n01/n02/0.png", "n02/1.png"])
    # an absolute path makes way for a relative one of the same name
    (images / "b").mkdir()
    photograph(8).save(images / "b" / "a.png")
    assert ids(images, f"a.png\n{images / 'b' / 'a.png'}") == ["a.png", "b/a.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.png\n./a.png", "list.txt line 2 names an image twice: ./a.png is a.png in line 1"),
        ("a.png\nn01/../a.png", "line 2 names an image twice"),
        ("caf\u00e9.png\ncafe\u0301.png", "line 2 names an image twice"),
        ("a.png\n\n# more\nn.png\n", "list.txt: no such image in line 3 (# more), 4 (n.png)"),
        ("x" * 5000, "no such image in line 1 (xxx"),
        ("a.png\nn01", "no such image in line 2 (n01)"),
        ("a\0.png", "a zero byte in line 1"),
        ("caf\u00e9.png".encode("latin-1"), "not UTF-8 text (byte 0xe9 in line 1; Latin-1"),
        ("a.png".encode("utf-16-le"), "a zero byte in line 1: no text, or UTF-16 without its mark"),
        ("\n \n", "names no images"),
    ],
)
def test_a_wrong_list_is_one_line(images: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError) as stop:
        ids(images, text)
    assert message in str(stop.value)
    assert len(str(stop.value)) < 500


def test_an_absolute_path_may_be_the_relative_one(images: Path) -> None:
    with pytest.raises(UserError, match="names an image twice"):
        ids(images, f"a.png\n{images / 'a.png'}")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_in_another_unicode_form_are_found(images: Path, form: str) -> None:
    there = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "caf\u00e9.png")
    (images / "caf\u00e9.png").rename(images / there)
    name = unicodedata.normalize(form, "caf\u00e9.png")  # type: ignore[arg-type]
    assert ids(images, name) == [name]


def test_only_what_is_chosen_is_read(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []
    one = samples.file_sha256
    monkeypatch.setattr(samples, "file_sha256", lambda path, member: hashed.append(path) or one(path, member))
    (images / "list.txt").write_text("a.png\nn01/0.png\nn02/0.png\n")
    (sample,) = datasets.get(str(images / "list.txt"), limit=1).samples
    assert hashed == [sample.path]
