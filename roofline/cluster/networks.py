"""The networks of a plan, wherever they come from, as what `simulate` takes."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.errors import InputError
from roofline.graph.load import load_graph
from roofline.graph.opgraph import OpGraph
from roofline.measure.timm_graphs import TimmNetwork, trace
from roofline.measure.timm_networks import import_timm

Kind = Literal["model", "file", "timm", "transformers"]
SUFFIXES = (".toml", ".json", ".onnx")
#: tokens of a sequence whose length a plan leaves open
TOKENS = 128


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One network at one input size, with all its runs: what a worker does in one go."""

    kind: Kind
    name: str
    image_size: int | None = None

    @property
    def key(self) -> str:
        """What names the unit in the results."""
        return f"{self.kind}:{self.name}" + (f"@{self.image_size}" if self.image_size else "")


def network_of(unit: Unit, batch: int = 1) -> Arch | OpGraph:
    """Return the network of a unit at its input size; programs are lowered at a batch.

    Raises
    ------
    RooflineError
        It cannot be found, built or lowered.
    """
    if unit.kind == "model" or (unit.kind == "file" and ".toml" in unit.name):
        return load_model(unit.name).with_input_size(unit.image_size, "image size")
    if unit.kind == "timm":
        return trace(TimmNetwork(name=unit.name, image_size=unit.image_size or _timm_size(unit.name)), batch)
    if unit.kind == "transformers":
        return _transformer(unit.name, unit.image_size, batch)
    if unit.image_size is not None:
        raise InputError(f"{unit.name}: image_size is fixed in a file of a graph")
    if Path(unit.name).suffix.lower() == ".json":
        return load_graph(unit.name)
    from roofline.frontends.onnx import from_onnx

    return from_onnx(unit.name)


def timm_names() -> list[str]:
    """Return the names of all networks of pytorch-image-models.

    Raises
    ------
    InputError
        It is not installed.
    """
    names: list[str] = import_timm().list_models()
    return names


def _timm_size(name: str) -> int:
    config = import_timm().get_pretrained_cfg(name)
    return int(config.input_size[-1]) if config is not None else 224


def transformers_names() -> list[str]:
    """Return the model types of Hugging Face's transformers.

    Raises
    ------
    InputError
        It is not installed.
    """
    return sorted(_transformers().CONFIG_MAPPING)


def _transformers() -> Any:
    import_timm(required=False)  # the library imports it where it is there, and torchvision with it
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise InputError("networks of transformers need it: pip install transformers") from None


def _transformer(name: str, size: int | None, batch: int) -> OpGraph:
    """Return a network of a model type's default configuration, with the input that it names as its main one."""
    import torch

    from roofline.frontends.torch import from_torch

    library = _transformers()
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            config = library.AutoConfig.for_model(name)
            config.use_cache = False
            module = library.AutoModel.from_config(config).eval()
            inputs = {module.main_input_name: _input(module.main_input_name, config, size, batch)}
    except InputError:
        raise
    except Exception as error:  # any reason a third party's constructor has
        line = " ".join(str(error).split())[:120]
        raise InputError(f"transformers does not build {name!r}: {type(error).__name__}: {line}") from None
    return from_torch(module, kwargs=inputs, name=name)


def _input(name: str, config: Any, size: int | None, batch: int) -> Any:
    import torch

    if name == "input_ids":
        return torch.empty(batch, size or TOKENS, dtype=torch.int64)
    if name == "pixel_values":
        pixels = size or getattr(config, "image_size", None) or 224
        sides = tuple(pixels) if isinstance(pixels, (list, tuple)) else (pixels, pixels)
        return torch.empty(batch, getattr(config, "num_channels", 3), *sides)
    raise InputError(f"its main input is {name!r}; a sweep makes input_ids and pixel_values: give a file of its graph")
