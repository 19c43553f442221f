"""Configs of taming-transformers: what a YAML file says of a VQGAN's network, as the official classes take it.

Source: CompVis/taming-transformers `taming/models/vqgan.py` (VQModel) and `taming/modules/diffusionmodules/model.py`
(Encoder, Decoder). Nothing that a config names is imported or run, and torch is not imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from lactok import outside_text
from lactok.config import Config, Count, Share, Side, Within, build
from lactok.errors import UserError, WrongValue, one_line
from lactok.given_file import GivenFile
from lactok.nn.vqgan_config import VQConfig
from lactok.outside_text import shown
from lactok.specs import Asset, Given

LICENSE = "as the checkpoint's authors state"
MODELS = ("taming.models.vqgan.VQModel", "taming.models.vqgan.VQNoDiscModel")  # of one network, with other losses
GUMBEL = "GumbelVQ"
LARGEST = 1 << 20  # characters of a config; published ones have less than a thousand
# arguments of VQModel for training and its logs, which may hold anything
UNREAD = ("lossconfig", "ckpt_path", "ignore_keys", "image_key", "colorize_nlabels", "monitor")

Width = Annotated[int, Within(ge=1, le=2**14)]  # channels of a layer
Factor = Annotated[int, Within(ge=1, le=2**8)]
Factors = Annotated[tuple[Factor, ...], Within(min_length=1)]
Blocks = Annotated[int, Within(ge=1, le=64)]


class Refused(WrongValue):
    """A network that the official VQModel cannot run, or that this project does not have."""


@dataclass(frozen=True)
class AutoencoderArguments(Config):
    """`ddconfig`, the arguments of the official Encoder and Decoder, with the official defaults.

    Attributes:
        ch, ch_mult: the width of a level is `ch` times its entry, from the finest to the coarsest.
        num_res_blocks: residual blocks of a level of the encoder; the decoder's levels have one more.
        attn_resolutions: levels of these sides have attention, where the finest has the side `resolution`.
        resolution: side of the images that the network was made for, in pixels.
        in_channels, out_ch: channels of images.
        z_channels: channels of the encoder's output.
        double_z: whether the encoder gives twice as many; the official VQModel cannot run so.
        dropout: of the training.
        resamp_with_conv: whether resolutions are changed by convolutions.
        give_pre_end: whether the decoder leaves out its last layers.
    """

    ch: Width
    num_res_blocks: Blocks
    attn_resolutions: tuple[int, ...]
    resolution: Side
    in_channels: Count
    out_ch: Count
    z_channels: Width
    ch_mult: Factors = (1, 2, 4, 8)
    double_z: bool = True
    dropout: Share = 0.0
    resamp_with_conv: bool = True
    give_pre_end: bool = False


@dataclass(frozen=True)
class ModelArguments(Config):
    """Arguments of the official VQModel that decide what it computes.

    Attributes:
        n_embed, embed_dim: number and width of the codes.
        remap: a file that gives some of the codes other ids.
        sane_index_shape: whether ids keep the map's shape; their order is the same.
    """

    n_embed: Count
    embed_dim: Annotated[int, Within(ge=1, le=2**16)]
    remap: str | None = None
    sane_index_shape: bool = False


def read(file: GivenFile) -> tuple[VQConfig, int]:
    """Return the shape of the network of a config, and the side of its images in pixels.

    Raises:
        UserError: the file is no config of a network that is read; the message says why.
    """
    where = f"config {shown(file.path.name, 100)}"
    text = outside_text.read(file.path, where)
    file.check()
    return parse(text, where)


def parse(text: str, where: str) -> tuple[VQConfig, int]:
    """Return what `read` does of the text of a config; `where` begins its messages.

    >>> parse("model: {target: taming.models.vqgan.GumbelVQ}", "config x.yaml")
    Traceback (most recent call last):
    ...
    lactok.errors.WrongValue: config x.yaml: taming.models.vqgan.GumbelVQ is not read, since it draws ids at random; \
give the config of a VQModel
    """
    tree = _loaded(text, where)
    model = tree.get("model") if isinstance(tree, dict) else None
    target = model.get("target") if isinstance(model, dict) else None
    if not isinstance(model, dict) or not isinstance(target, str):
        raise WrongValue(f"{where}: no model.target, so it is no config of taming-transformers")
    if target.endswith(GUMBEL):
        raise WrongValue(
            f"{where}: {shown(target)} is not read, since it draws ids at random; give the config of a VQModel"
        )
    if target not in MODELS:
        raise WrongValue(f"{where}: model.target {shown(target)} is not read, only {' and '.join(MODELS)}")
    params = model.get("params")
    network = params.get("ddconfig") if isinstance(params, dict) else None
    if not isinstance(params, dict) or not isinstance(network, dict):
        raise WrongValue(f"{where}: no model.params.ddconfig, which says what the network is")
    own = {key: _plain(value) for key, value in params.items() if key not in ("ddconfig", *UNREAD)}
    arguments = build(ModelArguments, own, f"{where} model.params")
    if arguments.remap is not None:
        raise WrongValue(f"{where}: remap is not read, since ids that it leaves out are drawn at random; take it out")
    return shape(network, arguments.n_embed, arguments.embed_dim, f"{where} ddconfig")


def shape(ddconfig: Mapping[str, Any], n_embed: int, embed_dim: int, where: str) -> tuple[VQConfig, int]:
    """Return the shape of the network of a VQModel's arguments, and the side of its images in pixels.

    A level has attention if `attn_resolutions` has the level's resolution: the configured `resolution`, halved once for
    each level above it. The size of the images that are encoded has no influence.

    Args:
        ddconfig: as of the official Encoder and Decoder, which take and ignore further keys.
        n_embed, embed_dim: number and width of the codes.
        where: how messages begin.

    Raises:
        Refused: a network that the official VQModel cannot run or this project does not have.
        UserError: wrong values.
    """
    fields = AutoencoderArguments.__dataclass_fields__
    known = {key: _plain(value) for key, value in ddconfig.items() if key in fields}
    given = build(AutoencoderArguments, known, where)
    levels = len(given.ch_mult)
    refused = {
        "double_z true (its default), which the official VQModel cannot run: write double_z: False": given.double_z,
        f"in_channels {given.in_channels} and out_ch {given.out_ch}: images have 3": given.in_channels != 3
        or given.out_ch != 3,
        "resamp_with_conv false is not read": not given.resamp_with_conv,
        "give_pre_end true is not read, since its output is no image": given.give_pre_end,
        f"resolution {given.resolution} cannot be halved {levels - 1} times, as ch_mult has it": (
            given.resolution % 2 ** (levels - 1) != 0
        ),
    }
    for why, is_so in refused.items():
        if is_so:
            raise Refused(f"{where}: {why}")
    try:
        config = VQConfig(
            channels=given.ch,
            channel_mult=given.ch_mult,
            res_blocks=given.num_res_blocks,
            z_channels=given.z_channels,
            codebook_size=n_embed,
            codebook_dim=embed_dim,
            l2_norm=False,
            usage_buffer=False,
            attention=tuple(i for i in range(levels) if given.resolution >> i in given.attn_resolutions),
        )
    except UserError as error:
        raise WrongValue(f"{where}: {error}") from None
    return config, given.resolution


def asset(name: str, checkpoint: GivenFile | None = None) -> Asset:
    """Return a checkpoint of taming-transformers: the file that was given, else one by this name in a user's folder."""
    sources = () if checkpoint is None else (Given(str(checkpoint.path)),)
    note = "or name your checkpoint, as in vqgan@config=FILE.yaml,ckpt=FILE.ckpt"
    return Asset(name, LICENSE, sources, "lactok.nn.vqgan:from_taming", note=note)


def attributes(values: Mapping[str, int | float | str]) -> dict[str, object]:
    """Return the attributes of a spec that follow from its options `config` and `ckpt`; for `TokenizerSpec.derive`."""
    config, checkpoint = values["config"], values["ckpt"]
    checkpoint_file = checkpoint if isinstance(checkpoint, GivenFile) else None
    if not isinstance(config, GivenFile):
        return {"assets": (asset("vqgan", checkpoint_file),)}
    network, side = read(config)
    return {
        "tokens": (side // network.downsampling) ** 2,
        "codebook_size": network.codebook_size,
        "input_size": side,
        "output_size": side,
        "assets": (asset(f"taming-{config.name}", checkpoint_file),),
    }


def _loaded(text: str, where: str) -> Any:
    """Return what a YAML file holds: plain values alone, whatever tags it has."""
    import yaml

    if len(text) > LARGEST:
        raise WrongValue(f"{where} has {len(text):,} characters, too many for a config; is it the right file?")
    try:
        return yaml.safe_load(text)
    except Exception as error:  # besides YAML's own errors, whatever its readers of numbers, dates and tags raise
        raise WrongValue(f"{where} is not YAML: {shown(one_line(error), 200)}") from None


def _plain(value: Any) -> Any:
    """Return a number, a text or a list of them as it is, and of anything else its kind.

    A few letters of YAML can stand for gigabytes of nested lists, which are thus never written out.
    """
    plain = (bool, int, float, str, type(None))
    if isinstance(value, list):
        return [item if isinstance(item, plain) else type(item).__name__ for item in value]
    return value if isinstance(value, plain) else type(value).__name__
