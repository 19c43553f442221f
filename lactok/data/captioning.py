"""Captioners: the raw caption as it is, and Qwen2.5-VL with the paper's instruction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lactok.data.registry import register_stage
from lactok.data.stages import Captioner, Pair, StageSpec
from lactok.errors import UserError, WeightsNotFound, disk_errors
from lactok.specs import Option

WORDS = 20  # of a caption, as the paper asks for; longer ones are counted and kept
# Section 4.4 says what a caption has to describe, "according to image and raw caption"; it does not give the wording.
INSTRUCTION = (
    "Write a new caption for this image, in one sentence within {words} words. It has to describe the main objects and "
    "their attributes, as well as the spatial relationship among the objects. The raw caption, which may be too simple "
    "or wrong, is: {raw} Answer with the new caption alone."
)
NEW_TOKENS = 64  # of a caption at most
# name -> the folder on the Hugging Face hub, its licence, gigabytes; the paper uses the largest
PUBLISHED = {
    "qwen2.5-vl-72b": ("Qwen/Qwen2.5-VL-72B-Instruct", "Qwen License", 147),
    "qwen2.5-vl-7b": ("Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0", 17),
    "qwen2.5-vl-3b": ("Qwen/Qwen2.5-VL-3B-Instruct", "Qwen Research License", 8),
}


def instruction(raw: str, words: int = WORDS) -> str:
    """Return what the captioner is asked for.

    Args:
        raw: the raw caption; "" if there is none.
        words: how many words the new caption may have.

    >>> instruction("a bus").partition("is: ")[2]
    '"a bus". Answer with the new caption alone.'
    """
    quoted = f'"{raw}".' if raw else "missing."
    return INSTRUCTION.format(words=words, raw=quoted)


@register_stage(StageSpec("raw"))
class Raw(Captioner):
    """Leaves captions as they are: a generated picture's prompt, a real photograph's own caption."""

    def captions(self, pairs: Sequence[Pair]) -> list[str]:
        return [pair.prompt for pair in pairs]


_OPTIONS = {"words": Option(WORDS, "words that a caption may have, in the instruction", 1, 1000)}


@register_stage(StageSpec("qwen2.5-vl-72b", PUBLISHED["qwen2.5-vl-72b"][1], _OPTIONS))
@register_stage(StageSpec("qwen2.5-vl-7b", PUBLISHED["qwen2.5-vl-7b"][1], _OPTIONS))
@register_stage(StageSpec("qwen2.5-vl-3b", PUBLISHED["qwen2.5-vl-3b"][1], _OPTIONS))
class QwenCaptioner(Captioner):
    """Qwen2.5-VL (arXiv 2502.13923) by transformers, greedily, so that the same pair gets the same caption."""

    def _folder(self) -> Path | None:
        """Find NAME/ or the repository's folder in the user's folders of weights, or in huggingface_hub's cache."""
        from huggingface_hub import snapshot_download

        from lactok import weights

        base = self.spec.name.partition("@")[0]
        repository = PUBLISHED[base][0]
        for folder in weights.user_folders():
            for name in (base, repository.rpartition("/")[2]):
                if (folder / name / "config.json").is_file():
                    return folder / name
        try:
            return Path(snapshot_download(repository, local_files_only=True))
        except Exception:  # not there, which huggingface_hub says by several classes
            return None

    def state(self) -> str:
        gigabytes = PUBLISHED[self.spec.name.partition("@")[0]][2]
        return "ready" if self._folder() is not None else f"to fetch, {gigabytes:.1f} GB"

    def settings(self) -> dict[str, Any]:
        """Return its options, and the digest of the list of its weights' files; what the instruction is."""
        from lactok.evaluation.protocol import digest

        folder = self._found()
        files = sorted((path.name, path.stat().st_size) for path in folder.iterdir() if path.is_file())
        asked = instruction("", int(self.spec.values["words"]))
        return {"name": self.spec.name, "version": self.spec.version, "files": digest(files), "instruction": asked}

    def _found(self) -> Path:
        """Return the folder of the weights, after a download if it is not there yet.

        Raises:
            WeightsNotFound: the hub does not give it.
        """
        folder = self._folder()
        if folder is not None:
            return folder
        from huggingface_hub import constants, snapshot_download

        from lactok.weights.hub import explained

        base = self.spec.name.partition("@")[0]
        repository, license, gigabytes = PUBLISHED[base]
        try:
            with disk_errors("huggingface_hub's cache", "set HF_HOME to another folder"):
                return Path(snapshot_download(repository))
        except UserError:
            raise
        except Exception as error:
            why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else explained(error) or error
        raise WeightsNotFound(
            f"weights not found: {base} ({gigabytes} GB, {license}); tried hub:{repository} "
            f"({' '.join(str(why).split())[:200]}); get it with `hf download {repository} --local-dir FOLDER/{base}` "
            "and name FOLDER by --weights or LACTOK_WEIGHTS"
        )

    def load(self, device: str, dtype: str) -> None:
        import torch
        from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

        folder = self._found()
        # "cuda" without a number: spread over all GPUs that this process sees, of which 72B needs several
        place = "auto" if device == "cuda" else {"": device}
        try:
            self.processor = AutoProcessor.from_pretrained(folder, padding_side="left")
            self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
                folder, dtype=getattr(torch, dtype), device_map=place
            ).eval()
        except Exception as error:  # transformers' errors have no common base class
            text = " ".join(str(error).split())[:200]
            raise UserError(f"{self.spec.name}: {folder} cannot be loaded ({text}); get its files anew") from error

    def captions(self, pairs: Sequence[Pair]) -> list[str]:
        import torch

        words = int(self.spec.values["words"])
        texts = []
        for pair in pairs:
            content = [{"type": "image"}, {"type": "text", "text": instruction(pair.prompt, words)}]
            message = {"role": "user", "content": content}
            texts.append(self.processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True))
        inputs = self.processor(
            text=texts, images=[pair.image for pair in pairs], padding=True, return_tensors="pt"
        ).to(self.model.device)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [plain(text) for text in self.processor.batch_decode(new, skip_special_tokens=True)]


def plain(text: str) -> str:
    r"""Return a caption on one line, without the quotation marks and the word that models put around it.

    >>> plain('"A red bus \n beside a tree."'), plain("Caption: a bus")
    ('A red bus beside a tree.', 'a bus')
    """
    line = " ".join(text.split())
    for word in ("New caption:", "Caption:"):
        line = line.removeprefix(word).strip()
    for mark in ('"', "'"):
        if len(line) > 1 and line.startswith(mark) and line.endswith(mark):
            line = line[1:-1].strip()
    return line
