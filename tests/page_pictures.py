"""Pictures of the page as a visitor sees it: `python tests/page_pictures.py SITE --out docs/page`.

SITE is what `python -m reports` wrote. Each view is taken at the width of a laptop and of a phone, light and dark.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from browser import running

SIZES = ((1280, 800), (390, 844))
VIEWS = ("overview", "pictures")


def main(argv: Sequence[str] | None = None) -> None:
    """Write SIZES x VIEWS x 2 files VIEW-WIDTH-light.png and -dark.png."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", nargs="+", default=VIEWS)
    arguments = parser.parse_args(argv)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with running() as chromium:
        for size in SIZES:
            for dark in (False, True):
                for view in arguments.views:
                    with chromium.open(arguments.site, size, dark, fragment=f"#{view}") as (page, _):
                        page.wait_for_load_state("networkidle")
                        name = f"{view}-{size[0]}-{'dark' if dark else 'light'}.png"
                        page.screenshot(path=arguments.out / name)
                        print(arguments.out / name)


if __name__ == "__main__":
    main()
