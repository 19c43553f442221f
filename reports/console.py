"""The script `lactok` runs every command from any folder: `lactok recon ...` is `python -m benchmarks.recon ...`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from lactok.command import command, set_program_name
from lactok.errors import unknown


@dataclass(frozen=True)
class Entry:
    """A command of the script.

    Attributes:
        module: the module that `python -m` would run.
        about: what the command does, in one line.
        words: arguments that are put before the user's own.
    """

    module: str
    about: str
    words: tuple[str, ...] = ()


COMMANDS = {
    "recon": Entry("benchmarks.recon", "how well tokenizers reconstruct photographs"),
    "geneval": Entry("benchmarks.geneval", "whether generated pictures show what their prompts ask for"),
    "preference": Entry("benchmarks.preference", "rewards of generated pictures, and their distance to photographs"),
    "gfid": Entry("benchmarks.gfid", "FID, Inception Score, precision and recall of pictures of ImageNet classes"),
    "table3": Entry("benchmarks.table3", "the paper's Table 3: GenEval and rewards of its generators"),
    "data": Entry("lactok.data", "pairs of pictures and captions for training: make, caption and filter them"),
    "datasets": Entry("benchmarks.datasets", "data sets: where they are, whether they are right; fetch or make them"),
    "generation": Entry("benchmarks.generation", "pictures of a generator, for GenEval and preference scores"),
    "generate": Entry("lactok.generate", "pictures of a generator, from prompts on the command line"),
    "ablation": Entry("benchmarks.ablation", "what LaCTok's parts, its ids and its steps are worth"),
    "exchange": Entry("benchmarks.recon.exchange", "reconstructions decoded from the ids of other photographs"),
    "perturb": Entry("benchmarks.recon.perturb", "how reconstructions suffer from ids that are a little off (pFID)"),
    "replay": Entry("benchmarks.replay", "one tokenizer under many protocols, beside the published numbers"),
    "probe": Entry("benchmarks.probe", "what a linear probe and a small autoregressive model learn from ids"),
    "retrieval": Entry("benchmarks.recon.retrieval", "whether a reconstruction is nearest to its own photograph"),
    "variety": Entry("benchmarks.recon.variety", "whether different photographs give different pictures"),
    "speed": Entry("benchmarks.speed", "speed and size of tokenizers"),
    "coverage": Entry("benchmarks.coverage", "how often intervals cover the true value, by simulation"),
    "verify": Entry("benchmarks.verify", "this project's models against stored outputs of the official code"),
    "contract": Entry("benchmarks.contract", "whether an adapter does what a tokenizer has to"),
    "scenes": Entry("benchmarks.scenes", "composed scenes: pictures, and a judge trained on them"),
    "weights": Entry("lactok.weights", "which weights there are, where they are; fetch them"),
    "train": Entry("lactok.train", "train a model of this project"),
    "reports": Entry(
        "reports", "tables, figures and the page, from stored results; build, compare, table, try, serve and more"
    ),
    "compare": Entry(
        "reports", "results, each with the first one, paired over the images that both have", ("compare",)
    ),
    "table": Entry("reports", "the table for a paper: chosen runs and columns, as LaTeX, Markdown or CSV", ("table",)),
    "paper": Entry("reports", "the paper's tables and claims: run what is missing, and decide", ("paper",)),
    "try": Entry("reports", "every tokenizer that is on this machine, on pictures of your own", ("try",)),
    "chd": Entry("reports", "sets of images compared by the codes that a tokenizer gives them", ("chd",)),
    "correlations": Entry(
        "reports", "which reconstruction figures order tokenizers as probes of their ids do", ("correlations",)
    ),
    "bundle": Entry("reports", "results in one file for others: numbers, records and ids, no pictures", ("bundle",)),
    "merge": Entry("reports", "the results of several folders and bundles in one folder", ("merge",)),
    "serve": Entry("reports", "show the page of the reports in a browser", ("serve",)),
}


def overview() -> str:
    """Return the text of `lactok --help`, with a line for each command."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {entry.about}" for name, entry in COMMANDS.items()]
    return "\n".join(
        ["usage: lactok COMMAND ...", "", *lines, "", "`lactok COMMAND --help` explains a command's arguments."]
    )


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that the first argument names, with the others as its arguments."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0
    if words[0] == "--version":
        from lactok import __version__

        print(f"lactok {__version__}")
        return 0
    name, *own = words
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    entry = COMMANDS[name]
    # the parser of `reports` adds `compare` or `serve` to its name by itself
    set_program_name(f"python -m {entry.module}", "lactok" if entry.words else f"lactok {name}")
    importlib.import_module(_file(entry.module)).main([*entry.words, *own])
    return 0  # not reached: the command's own `main` ends the process


def _file(module: str) -> str:
    """Return the module that holds the command's `main`: a package's is in its `__main__`."""
    found = find_spec(module)
    return f"{module}.__main__" if found is not None and found.submodule_search_locations else module


if __name__ == "__main__":
    main()
