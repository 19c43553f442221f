"""Hooks of mkdocs: pages that lie elsewhere in the repository, notebooks as pages, links to files that are no pages.

A notebook becomes Markdown by nbconvert before mkdocs reads it, so that its links are checked and its code looks as
that of every other page. It is not executed here: what it printed is stored in it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {  # page of the site -> file of the repository
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    **{f"models/{card.name}": f"lactok/bundled/{card.name}" for card in sorted((ROOT / "lactok/bundled").glob("*.md"))},
}
LINK = re.compile(r"\[([^][]*)\]\((?!\w+:|#)([^()\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie elsewhere, and put a page in the place of each notebook."""
    for page, path in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        page = Path(notebook.src_uri).with_suffix(".md")
        # pictures of outputs lie beside the page, under names that begin with the page's
        text, resources = MarkdownExporter().from_filename(
            str(notebook.abs_src_path), resources={"unique_key": page.stem, "output_files_dir": ""}
        )
        files.remove(notebook)
        files.append(File.generated(config, page.as_posix(), content=text))
        for name, content in resources["outputs"].items():
            files.append(File.generated(config, (page.parent / name).as_posix(), content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into links to their pages, or into their paths where they are no pages."""
    here = page.file.src_uri
    pages = {in_repository(file.src_uri): file.src_uri for file in files}

    def on_site(found: re.Match[str]) -> str:
        text, (path, hash_sign, anchor) = found[1], found[2].partition("#")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository(here)), path))
        target = re.sub(r"^(docs/.*)\.ipynb$", r"\1.md", target)
        if target in pages:
            return f"[{text}]({posixpath.relpath(pages[target], posixpath.dirname(here) or '.')}{hash_sign}{anchor})"
        # a link that leads nowhere stays, and mkdocs says so
        return f"`{target}`" if (ROOT / target).exists() else found[0]

    return LINK.sub(on_site, markdown)


def in_repository(page: str) -> str:
    """Return the path in the repository of a page or another file of the site."""
    return ELSEWHERE.get(page, f"docs/{page}")
