"""Networks of pytorch-image-models as op graphs, traced when needed and kept in a folder."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import warnings
from pathlib import Path
from typing import Any

from roofline.analysis.measured.types import TimmNetwork
from roofline.errors import InputError, RooflineError
from roofline.files import atomic
from roofline.graph.opgraph import OpGraph

#: folders of the package whose code decides what a traced graph looks like
SOURCES = ("frontends", "graph")
#: a tag that newer releases no longer accept; the network is the same without it
RETIRED_TAGS = ("_sam",)


class GraphSource:
    """Builds the networks that results files name, each once; a folder keeps them between runs.

    Parameters
    ----------
    folder
        Where graphs are kept as pickles of this package's own classes: name a folder that only you write to. A graph is
        traced again when the package's front end or op classes change. None keeps nothing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.known: dict[tuple[TimmNetwork, int], OpGraph | RooflineError] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def graph(self, network: TimmNetwork, batch: int) -> OpGraph:
        """Return a network at a batch size.

        Raises
        ------
        RooflineError
            It cannot be built or lowered, or PyTorch or timm is not installed.
        """
        key = (network, batch)
        if key not in self.known:
            try:
                self.known[key] = self._kept(network, batch)
            except RooflineError as error:
                self.known[key] = error
        found = self.known[key]
        if isinstance(found, RooflineError):
            raise found
        return found

    def _kept(self, network: TimmNetwork, batch: int) -> OpGraph:
        if self.folder is None:
            return trace(network, batch)
        name = f"{network.name}-{network.image_size}-{batch}-{_fingerprint()}.pickle"
        path = self.folder / name
        if path.is_file():
            try:
                graph = pickle.loads(path.read_bytes())
            except (pickle.UnpicklingError, AttributeError, ImportError, EOFError):
                graph = None
            if isinstance(graph, OpGraph):
                return graph
        graph = trace(network, batch)
        with atomic(path) as temporary:
            temporary.write_bytes(pickle.dumps(graph))
        return graph


def trace(network: TimmNetwork, batch: int) -> OpGraph:
    """Return a network as the PyTorch front end lowers it, without weights.

    Raises
    ------
    InputError
        PyTorch or timm is not installed, or timm has no such network or does not build it at this size.
    UnknownOpError
        An op of it has no rule.
    """
    try:
        import torch

        from roofline.frontends.torch import from_torch
    except ImportError:
        raise InputError("networks of pytorch-image-models need PyTorch: pip install 'roofline[torch]' timm") from None
    module = _module(network)
    image = torch.empty(batch, 3, network.image_size, network.image_size, device="meta")
    return from_torch(module, (image,), name=network.name)


def _timm() -> Any:
    """Import timm, also beside a torchvision built for another torch: its compiled operators are not needed here."""
    import torch.library

    register = torch.library.register_fake

    def lenient(op: Any, func: Any = None, /, **options: Any) -> Any:
        if func is not None:
            return register(op, func, **options)

        def decorate(f: Any) -> Any:
            try:
                return register(op, **options)(f)
            except RuntimeError:  # no such operator in this build
                return f

        return decorate

    torch.library.register_fake = lenient
    try:
        return importlib.import_module("timm")
    except ImportError:
        raise InputError("networks of pytorch-image-models need timm: pip install timm") from None
    finally:
        torch.library.register_fake = register


def _module(network: TimmNetwork) -> Any:
    import torch

    timm = _timm()
    name = network.name
    for tag in RETIRED_TAGS:
        name = name.removesuffix(tag)
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                module = timm.create_model(name, img_size=network.image_size)
            except TypeError:  # a network that does not care how large its images are
                module = timm.create_model(name)
    except Exception as error:  # any reason a third party's constructor has
        line = " ".join(str(error).split())[:120]
        raise InputError(
            f"timm does not build {name!r} at {network.image_size}: {type(error).__name__}: {line}"
        ) from None
    return module.eval()


_FINGERPRINT: list[str] = []


def _fingerprint() -> str:
    """Return a digest of the code that makes graphs, so that a changed package traces anew."""
    if not _FINGERPRINT:
        root = Path(__file__).resolve().parent.parent.parent
        digest = hashlib.sha256()
        for folder in SOURCES:
            for path in sorted((root / folder).rglob("*.py")):
                digest.update(path.read_bytes())
        _FINGERPRINT.append(digest.hexdigest()[:12])
    return _FINGERPRINT[0]
