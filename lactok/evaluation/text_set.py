"""The data set "text": pictures of 1024 px with lines of text of several scripts and sizes, rendered here.

Each picture is of one script and one size, and its sample knows what it says. Words are chosen by a hash, so that the
pictures are the same everywhere with one version of Pillow. The fonts are DejaVu Sans, which matplotlib ships, for
Latin letters, and Noto Sans CJK JP, of the package `noto-cjk-sans-jp-regular`, for Chinese and Japanese.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from lactok.errors import disk_errors
from lactok.evaluation.samples import Sample
from lactok.extras import extras_named
from lactok.files import is_file, write_atomically
from lactok.weights.resolution import cache_dir

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

SIDE = 1024  # pixels of a picture
MARGIN = 48  # pixels on the left and on the right of a line
MOST_LINES = 5  # of a picture; of large letters fewer fit
SIZES = (24, 32, 48, 64, 96, 128)  # of the letters in pixels: 6 to 32 where a protocol brings a picture to 256 px
LEADING = 1.7  # from one line to the next, in sizes
COLOURS = (  # ink and paper
    ((20, 20, 20), (250, 250, 250)),
    ((15, 40, 110), (240, 236, 220)),
    ((255, 255, 240), (40, 70, 50)),
    ((120, 20, 30), (225, 235, 245)),
)
VERSION = 1  # part of the folder's name; raise it when the pictures change

# words that are put one after the other; Chinese and Japanese ones without spaces
WORDS = {
    "latin": "river bridge market seven garden window letter morning station winter number coffee yellow island paper "
    "silver travel answer forest camera 1987 42 306 open under every quick harbour mountain between",
    "accents": "über Straße grün café élève où garçon naïve señor mañana kůň žlutý příliš çok göl Ærø søster født "
    "zażółć gęś łąka têtu Brücke führt déjà forêt año corazón",
    "chinese": "河水 七座 古桥 市场 九点 早上 花园 山上 信件 银色 旅行 回答 森林 海岛 冬天 车站 黄色 数字 咖啡 明天",
    "japanese": "川は 古い 橋の 下を 流れる 市場は 九時に 開きます 朝の 駅で 手紙を 読む 黄色い 花が 冬の 山へ 行く",
}
UNSPACED = ("chinese", "japanese")


def samples() -> tuple[Sample, ...]:
    """Render the pictures into the cache, unless they lie there, and return them with their texts.

    Raises:
        MissingPackage: a font's package is not installed.
        DiskError: the cache cannot be written to.
    """
    folder = cache_dir() / f"text-{VERSION}"
    found = []
    with disk_errors(folder, "set LACTOK_CACHE to another folder"):
        for script in WORDS:
            for size in SIZES:
                lines, data = rendered(script, size)
                path = folder / script / f"{size:03}.png"
                if not is_file(path) or path.read_bytes() != data:
                    write_atomically(path, data)
                text = " ".join(lines)
                found.append(Sample(f"{script}/{size:03}.png", path, caption=text, text=text))
    return tuple(sorted(found, key=lambda sample: sample.id))


def rendered(script: str, size: int) -> tuple[list[str], bytes]:
    """Return the lines of a picture, and the picture as PNG.

    Args:
        script: one of `WORDS`.
        size: of the letters in pixels.
    """
    from PIL import Image, ImageDraw

    font = _font(script, size)
    ink, paper = COLOURS[_hash(script, size) % len(COLOURS)]
    picture = Image.new("RGB", (SIDE, SIDE), paper)
    draw = ImageDraw.Draw(picture)
    leading = round(LEADING * size)
    count = min(MOST_LINES, (SIDE - size) // leading)
    lines = [_line(script, size, number, font) for number in range(count)]
    top = (SIDE - count * leading) // 2
    for number, line in enumerate(lines):
        draw.text((MARGIN, top + number * leading), line, font=font, fill=ink)
    out = io.BytesIO()
    picture.save(out, "PNG", compress_level=6)
    return lines, out.getvalue()


def _line(script: str, size: int, number: int, font: FreeTypeFont) -> str:
    """Return a line of a picture: words as long as there is room for them, one at least."""
    words, space = WORDS[script].split(), "" if script in UNSPACED else " "
    line = ""
    for place in range(SIDE):
        word = words[_hash(script, size, number, place) % len(words)]
        longer = f"{line}{space}{word}" if line else word
        if line and font.getlength(longer) > SIDE - 2 * MARGIN:
            break
        line = longer
    return line


def _hash(*of: object) -> int:
    """Return a number that stands for some values."""
    return int.from_bytes(hashlib.sha256(repr(of).encode()).digest()[:8], "big")


def _font(script: str, size: int) -> FreeTypeFont:
    """Return the font of a script; letters are placed by Pillow's own layout, which is the same everywhere."""
    from PIL import ImageFont

    with extras_named(("ocr",), "the data set text"):
        if script in UNSPACED:
            import noto_cjk_sans_jp_regular

            path = Path(noto_cjk_sans_jp_regular.__file__).parent / "NotoSansCJKjp-Regular.otf"
        else:
            import matplotlib

            path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
