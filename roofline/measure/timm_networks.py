"""Networks of pytorch-image-models: none is in the plan, so that they can test what was fitted to it."""

from __future__ import annotations

import importlib
from contextlib import suppress
from typing import Any

from roofline.errors import InputError
from roofline.measure.plan import Case

#: what a calibration is judged on: ten published networks of as many kinds, batch 1 and 8, at 224 pixels
LEFT_OUT = (
    *("resnet50", "mobilenetv2_100", "mobilenetv3_large_100", "efficientnet_b0", "regnety_008", "densenet121"),
    *("convnext_tiny", "vit_small_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s16_224"),
)
BATCHES, PIXELS, SMALL_PIXELS = (1, 8), 224, 96
#: how a case says that timm builds it
PREFIX = "timm:"


def left_out(dtype: str = "fp32", *, names: tuple[str, ...] = LEFT_OUT, pixels: int = PIXELS) -> list[Case]:
    """Return the cases that judge a calibration."""
    return [
        Case(build=PREFIX + name, sizes=(pixels,), family=name, dtype=dtype, batch=batch, network=True)
        for name in names
        for batch in BATCHES
    ]


def import_timm(*, required: bool = True) -> Any:
    """Import timm; see `import_beside`.

    Raises
    ------
    InputError
        PyTorch or timm is not installed, and it is `required`.
    """
    try:
        return import_beside("timm", "networks of pytorch-image-models")
    except InputError:
        if required or not _has_torch():
            raise
        return None


def import_beside(library: str, what: str) -> Any:
    """Import a library, also beside a torchvision built for another torch: its compiled operators are not needed here.

    Raises
    ------
    InputError
        PyTorch or the library is not installed: `what` needs it.
    """
    if not _has_torch():
        raise InputError("networks of PyTorch need it: pip install 'roofline[torch]'")
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
        with suppress(ImportError):
            importlib.import_module("torchvision")  # libraries import it late
        return importlib.import_module(library)
    except ImportError:
        raise InputError(f"{what} need {library}: pip install {library}") from None
    finally:
        torch.library.register_fake = register


def _has_torch() -> bool:
    try:
        import torch.library  # noqa: F401
    except ImportError:
        return False
    return True


def build(name: str, pixels: int) -> Any:
    """Return a network at an image size, with weights that nobody trained.

    Raises
    ------
    InputError
        timm is not installed, or does not build it.
    """
    timm = import_timm()
    try:
        try:
            return timm.create_model(name, img_size=pixels)
        except TypeError:  # a network that does not care how large its images are
            return timm.create_model(name)
    except Exception as error:  # any reason a third party's constructor has
        line = " ".join(str(error).split())[:120]
        raise InputError(f"timm does not build {name!r} at {pixels}: {type(error).__name__}: {line}") from None
