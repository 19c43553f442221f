"""How long the page takes to build and to open: `python tests/page_speed.py [--records 50000] [--tokenizers 10]`.

Opening is from the start of the navigation to the first painted table row; the browser is started before. Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from browser import running
from page_runs import write_large

from reports.page import build

FIRST_ROW = """() => new Promise((done) => {
  const look = () => document.querySelector("tbody tr")
    ? requestAnimationFrame(() => setTimeout(() => done(performance.now())))
    : requestAnimationFrame(look);
  look();
})"""


FIRST_PICTURE = FIRST_ROW.replace("tbody tr", ".stage img")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--tokenizers", type=int, default=10)
    parser.add_argument("--pictures", type=int, default=48, help="of each tokenizer")
    arguments = parser.parse_args()
    with TemporaryDirectory() as temporary:
        runs, site = Path(temporary, "runs"), Path(temporary, "site")
        write_large(runs, arguments.records, arguments.tokenizers, arguments.pictures)
        for what in ("built", "built again"):
            start = time.perf_counter()
            build(runs, site)
            print(f"{what} in {time.perf_counter() - start:.2f} s")
        sizes = [p.stat().st_size for p in site.rglob("*") if p.is_file()]
        print(f"{len(sizes)} files, {sum(sizes) / 1e6:.1f} MB")
        with running() as chromium:
            for view in ("overview", "tables", "plots", "pictures", "records"):
                opened = []
                for _ in range(3):
                    with chromium.open(site, fragment=f"#{view}") as (page, watched):
                        opened.append(page.evaluate(FIRST_ROW if view != "pictures" else FIRST_PICTURE))
                        loaded = len(watched.requests)
                print(f"{view} opened in {sorted(opened)[1]:.0f} ms (median of 3), {loaded} files loaded")


if __name__ == "__main__":
    main()
