"""What XLA's own compiler makes of a network on a TPU that is not there, beside the prediction: another estimate.

The compiler's cycles are its own estimates, not measurements; where measurements say otherwise, they are right. What it
fuses, how it lays arrays out and in which memory it keeps them is what would run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from roofline.arch.build import op_graph
from roofline.arch.load import model as load_model
from roofline.arch.spec import Arch
from roofline.engine.members import members_of_arch, members_of_graph
from roofline.engine.setting import Setting, resolve
from roofline.errors import InputError, RooflineError
from roofline.export.api import to_jax
from roofline.frontends.jax.tags import Tagged, tagged
from roofline.graph.opgraph import OpGraph
from roofline.hardware.load import device as load_device
from roofline.hardware.spec import Device
from roofline.numeric import ceil_div
from roofline.report.run import simulate
from roofline.studies.beside import Compared, Witness
from roofline.xla.compile import compiled, kept
from roofline.xla.hlo import parse
from roofline.xla.kernels import compiled_kernels
from roofline.xla.programs import Exported, exported, versions
from roofline.xla.targets import Target, target_of

#: a network by name, file or value; or a JAX function of arrays
Program: TypeAlias = "str | Path | Arch | Callable[..., Any]"
#: done, total, what comes now
Progress: TypeAlias = Callable[[int, int, str], None]
#: our formats -> JAX's, of those that a whole program can be written in
FORMATS = {"bf16": "bfloat16", "fp32": "float32", "fp16": "float16"}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A network at a batch on a device, and what of it one program of the chip runs."""

    model: Arch | Tagged
    setting: Setting
    target: Target
    examples: int

    @property
    def title(self) -> str:
        name = self.model.name if isinstance(self.model, Arch) else self.model.graph.name
        return f"{name} on {self.setting.device.name} at batch {self.setting.batch}"


def witness(
    models: Program | Sequence[Program],
    devices: str | Path | Device | Sequence[str | Path | Device],
    *,
    batch: int | Sequence[int] = 1,
    inputs: Sequence[Any] = (),
    dtype: str | None = None,
    image_size: int | None = None,
    topology: str | None = None,
    cache: str | Path | None = None,
    kept_only: bool = False,
    progress: Progress | None = None,
) -> Witness:
    """Compile networks for TPUs that are not there and set what the compiler says beside the predictions.

    Parameters
    ----------
    models
        One or several: names, files, architectures; or a single JAX function of arrays, with `inputs`.
    devices
        One TPU or several.
    batch
        Examples per run and chip, one size or several; where a chip runs several programs, they share it. A function
        runs at the batch of its inputs, on one core.
    inputs
        Arguments of a function, as `jax.ShapeDtypeStruct` or trees of them.
    dtype
        Format of weights and activations, bf16 by default; of a function that of its inputs.
    image_size
        Pixels per side; the networks' own by default.
    topology
        What the compiler calls the device, where it is not one of those known here.
    cache
        Folder in which compiled programs are kept and looked for: what was done is not done again.
    kept_only
        Leave out what the folder does not have, instead of compiling it.
    progress
        Called before each program with how many are done, how many there are, and which comes.

    Returns
    -------
    Witness
        `summary`, `devices`, `table`, `kernels`, `pairs`.

    Raises
    ------
    UnknownNameError
        No such network or device.
    InputError
        JAX or libtpu is missing or of a version that does not fit, a device is no TPU, the compiler does not know the
        topology; it refuses the program, if there is but one.
    """
    found = versions()
    jobs = list(_jobs(models, devices, batch, inputs, dtype, image_size, topology))
    folder, programs = None if cache is None else Path(cache), _Programs()
    runs: list[Compared] = []
    refused: list[tuple[str, str, int, str]] = []
    for done, job in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs), job.title)
        try:
            runs += _compare(job, programs, folder, kept_only)
        except InputError as error:
            if len(jobs) == 1:
                raise
            run = job.setting
            refused.append((job.title.split(" on ")[0], run.device.name, run.batch, str(error)))
    if progress is not None:
        progress(len(jobs), len(jobs), "")
    if not runs:
        raise InputError(refused[0][-1] if refused else f"none of {len(jobs)} programs is in folder {str(cache)!r}")
    return Witness(runs=tuple(runs), refused=tuple(refused), versions=found)


def _jobs(
    models: Any, devices: Any, batch: Any, inputs: Sequence[Any], dtype: Any, image_size: Any, topology: Any
) -> Iterator[_Job]:
    models = list(models) if isinstance(models, Collection) and not isinstance(models, str) else [models]
    devices = list(devices) if isinstance(devices, Collection) and not isinstance(devices, str) else [devices]
    batches = list(batch) if isinstance(batch, Collection) and not isinstance(batch, str) else [batch]
    if not (models and devices and batches):
        raise InputError("give at least one model, one device and one batch size")
    specs = [load_device(device) for device in devices]
    targets = [target_of(spec, topology) for spec in specs]  # before anything is traced
    for model in models:
        if callable(model):
            yield from _of_function(model, specs, targets, inputs, dtype)
            continue
        if inputs:
            raise InputError(f"inputs belong to a function, got {model!r}")
        arch = load_model(model).with_image_size(image_size)
        for spec, target in zip(specs, targets, strict=True):
            for size in batches:
                setting = resolve(spec, batch=size, dtype=dtype, image_size=image_size)
                examples = int(ceil_div(setting.batch, target.programs))
                yield _Job(model=arch, setting=setting, target=target, examples=examples)


def _of_function(
    function: Any, specs: Sequence[Device], targets: Sequence[Target], inputs: Sequence[Any], dtype: str | None
) -> Iterator[_Job]:
    if not inputs:
        raise InputError("a function needs inputs: the shapes of its arguments")
    program = tagged(function, *inputs)
    formats = [t.dtype.name for t in program.graph.tensors.values() if t.dtype.name in FORMATS]
    for spec, target in zip(specs, targets, strict=True):
        setting = resolve(spec, batch=program.graph.examples, dtype=dtype or (formats[0] if formats else None), cores=1)
        yield _Job(model=program, setting=setting, target=target, examples=program.graph.examples)


class _Programs:
    """Exported programs, each once: devices share them."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], tuple[Exported, OpGraph, dict[str, str]]] = {}

    def of(self, job: _Job) -> tuple[Exported, OpGraph, dict[str, str]]:
        """Return the program of a job, its op graph, and the op of each of its scopes."""
        key = (job.model, job.examples, job.setting.policy.precision.name)
        if key not in self.known:
            self.known[key] = self._made(job)
        return self.known[key]

    def _made(self, job: _Job) -> tuple[Exported, OpGraph, dict[str, str]]:
        if isinstance(job.model, Tagged):
            return exported(job.model.function, job.model.specs), job.model.graph, job.model.scopes
        name = job.setting.policy.precision.name
        if name not in FORMATS:
            raise InputError(f"programs are written in {', '.join(FORMATS)}, not {name!r}")
        made = to_jax(job.model, batch=job.examples, dtype=FORMATS[name], folded=True, scoped=True)
        graph = op_graph(job.model, batch=job.examples)
        return exported(made.forward, (made.variables, *made.inputs)), graph, {op: op for op in graph.ops}


def _compare(job: _Job, programs: _Programs, folder: Path | None, kept_only: bool) -> Iterator[Compared]:
    """Yield the run of a job; none where its program is not at hand and is not to be compiled."""
    setting, (program, graph, scopes) = job.setting, programs.of(job)
    answer = kept(program, job.target, folder) if kept_only else compiled(program, job.target, folder)
    if answer is None:
        return
    options: dict[str, Any] = {"batch": setting.batch, "dtype": setting.policy.precision.name}
    if isinstance(job.model, Arch):
        report = simulate(job.model, setting.device, **options)
        members = members_of_arch(job.model, setting.core_batch, setting.policy)
    else:
        report = simulate(graph, setting.device, cores=1, **options)
        members = members_of_graph(graph, setting.policy)
    if [name for name, _ in members] != list(report.kernels["kernel"]):
        raise RooflineError(f"the kernels of {job.title} are not those of its report")
    yield Compared(
        report=report,
        graph=graph,
        members=tuple(ops for _, ops in members),
        compiled=compiled_kernels(parse(answer.text), scopes),
        examples=job.examples,
        target=job.target,
    )
