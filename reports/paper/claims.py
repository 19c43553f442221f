"""What the paper claims, each claim with the comparisons that decide it. No verdict stands here."""

from __future__ import annotations

from dataclasses import dataclass

from reports.paper.systems import CONTROL, guidance_key, steps_key

IMAGENET, COCO, MJHQ, FLUX = RECONSTRUCTION = ("recon_imagenet", "recon_coco", "recon_mjhq", "recon_flux5k")
COMPONENTS, TOKENS = "ablation_components_mjhq5k", "ablation_tokens_mjhq5k"
ALL_FOUR = ("rfid", "psnr", "ssim", "lpips")
REWARDS = ("image_reward", "mps", "hpsv2")
GENEVAL = ("geneval_overall", "geneval_two_obj", "geneval_position", "geneval_color_attr")
LADD, LADD_H, LADD_T = "vq-ladd (25-step DDIM)", "vq-ladd+hypersd (1 step)", "vq-ladd+tlcm (3 steps)"


@dataclass(frozen=True)
class Test:
    """A comparison of two systems in some metrics.

    Attributes:
        first: the paper's name of the system that is said to be better (or as good), a key of `systems.tokenizers` or
            `systems.generators`.
        second: the other one.
        columns: the published columns that are compared.
        tables: the published tables with these columns, which also say on which data they are measured.
    """

    first: str
    second: str
    columns: tuple[str, ...]
    tables: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper.

    Attributes:
        id: a short name.
        text: the claim in our words.
        where: where the paper makes it.
        tests: the comparisons that decide it.
        kind: "better", the first system of each test is better than the second; "comparable", they differ by no more
            than the two numbers of any published pair do.
        note: what a reader must know, "" for nothing.
    """

    id: str
    text: str
    where: str
    tests: tuple[Test, ...]
    kind: str = "better"
    note: str = ""


CLAIMS = (
    Claim(
        "llamagen",
        "From as many ids, LaCTok-H reconstructs better than LlamaGen in rFID, SSIM and LPIPS.",
        "section 5.1, Tables 1 and 2",
        (Test("lactok-h", "llamagen", ("rfid", "ssim", "lpips"), RECONSTRUCTION),),
    ),
    Claim(
        "llamagen-psnr",
        "LaCTok-H's PSNR is comparable with LlamaGen's.",
        "section 5.1, Tables 1 and 2",
        (Test("lactok-h", "llamagen", ("psnr",), RECONSTRUCTION),),
        kind="comparable",
        note="Comparable means: apart by no more than the largest difference that the paper prints for these two.",
    ),
    Claim(
        "titok-flextok-pixels",
        "LaCTok-H is better than TiTok and FlexTok in PSNR, SSIM and LPIPS.",
        "section 5.1, Tables 1 and 2",
        tuple(
            Test("lactok-h", other, ("psnr", "ssim", "lpips"), RECONSTRUCTION) for other in ("titok-s128", "flextok")
        ),
    ),
    Claim(
        "titok-flextok-rfid",
        "On complex pictures (COCO, MJHQ, FLUX), LaCTok-H has a lower rFID than TiTok and FlexTok.",
        "section 5.1, Tables 1 and 2",
        tuple(Test("lactok-h", other, ("rfid",), (COCO, MJHQ, FLUX)) for other in ("titok-s128", "flextok")),
    ),
    Claim(
        "seedtok",
        "SeedTok, which decodes by a pretrained diffusion model alone, reconstructs worse than LaCTok-H.",
        "section 5.1, Tables 1 and 2",
        (Test("lactok-h", "seedtok+", ("rfid", "psnr", "lpips"), RECONSTRUCTION),),
    ),
    Claim(
        "tlcm-hyper-sd",
        "Trained on the constructed data, LaCTok-T has a lower rFID and LPIPS than LaCTok-H, thanks to more steps.",
        "section 5.1, Tables 1 and 2",
        (Test("lactok-t*", "lactok-h*", ("rfid", "lpips"), RECONSTRUCTION),),
    ),
    Claim(
        "ladd",
        "A latent diffusion decoder without pixel losses is worse than LlamaGen's decoder in PSNR, SSIM and LPIPS.",
        "section 5.3, Table 4",
        (Test("llamagen", LADD, ("psnr", "ssim", "lpips"), (COMPONENTS,)),),
    ),
    Claim(
        "acceleration",
        "Without pixel losses, three steps of TLCM reconstruct better than one step of Hyper-SD.",
        "section 5.3, Table 4",
        (Test(LADD_T, LADD_H, ALL_FOUR, (COMPONENTS,)),),
    ),
    Claim(
        "pixel-loss",
        "The pixel reconstruction loss makes LaCTok-H better than the latent diffusion decoder before it in rFID, SSIM "
        "and LPIPS.",
        "section 5.3, Table 4",
        (Test("lactok-h", LADD, ("rfid", "ssim", "lpips"), (COMPONENTS,)),),
    ),
    Claim(
        "second-stage",
        "By the same one-step sampler, the second stage of the training improves on the first in all metrics.",
        "sections 4.2 and 5.3, Table 4",
        (Test("lactok-h", LADD_H, ALL_FOUR, (COMPONENTS,)),),
    ),
    Claim(
        "tokens",
        "More ids reconstruct better: 324 better than 256, and 256 better than 196 (the paper prints 192).",
        "section 5.3, Table 5",
        (Test("324", "256", ALL_FOUR, (TOKENS,)), Test("256", "192", ALL_FOUR, (TOKENS,))),
    ),
    Claim(
        "two-steps",
        "TLCM needs at least two steps: with two, LaCTok-T reconstructs better than with one.",
        "section 4.2",
        (Test(steps_key(2), steps_key(1), ("psnr", "ssim", "lpips"), (IMAGENET,)),),
        note="The paper prints no numbers of this.",
    ),
    Claim(
        "pretrained-decoder",
        "LaCTok-H's advantage stems from its pretrained diffusion model: a plain decoder of the same ids is worse.",
        "section 5.1",
        (Test("lactok-h", CONTROL, ("rfid", "ssim", "lpips"), (MJHQ,)),),
        note="The paper has no such control; here it is the small model that the ablation of components names.",
    ),
    Claim(
        "geneval",
        "LaCTokGen-T* follows its prompts better than LlamaGen, in every column of GenEval.",
        "section 5.2, Table 3",
        (Test("lactokgen-t*", "llamagen", GENEVAL, ("generation",)),),
    ),
    Claim(
        "geneval-h",
        "LaCTokGen-T* follows its prompts better than LaCTokGen-H.",
        "section 5.2, Table 3",
        (Test("lactokgen-t*", "lactokgen-h", ("geneval_overall",), ("generation",)),),
    ),
    Claim(
        "guidance",
        "Pictures get better as the guidance grows from 1.5 to 3.",
        "Table 6",
        (Test(guidance_key("3"), guidance_key("1.5"), REWARDS, ("ablation_cfg_coco5k",)),),
    ),
    Claim(
        "seconds",
        "Fewer ids for a picture make LaCTokGen-T* faster than LlamaGen.",
        "section 5.2, and the seconds of the later version",
        (Test("lactokgen-t*", "llamagen", ("seconds",), ("generation_seconds",)),),
        note="Seconds are stored with the pictures and have no interval; a difference below a fifth counts as none.",
    ),
)
