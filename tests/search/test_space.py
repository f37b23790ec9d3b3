"""Search spaces: genomes both ways, sizes known otherwise, populations, and every mistake as one clear line."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import pytest

import roofline as rf
from roofline.arch.build import build_graph
from roofline.arch.nasbench import accel_nasbench_arch
from roofline.dtypes import precision
from roofline.engine.lowering import lower_arch
from roofline.errors import InputError, SpecError, UnknownNameError
from roofline.passes.pipeline import lower
from roofline.passes.policy import policy
from roofline.search.space.folder import write_arch
from roofline.search.space.genomes import Choice
from roofline.search.space.spec import Space, space_from

SPACES = rf.search_spaces()
TINY = """
name = "tiny"
title = "Tiny"
base = "resnet-18"

[[choices]]
name = "{stage}_repeats"
stages = ["s0", "s1"]
fields = ["{stage}.repeats"]
values = [1, 2]

[[choices]]
name = "stem_width"
fields = ["stem.channels"]
values = [32, 64, 96]
"""


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> Space:
    found = rf.search_space(str(request.param))
    assert isinstance(found, Space)
    return found


def test_genomes_and_mappings_and_words_go_round(space: Space) -> None:
    for genome in space.sample(20, seed=3):
        assert (space.encode(space.mapping(genome)) == genome).all()
        assert (space.from_text(space.text(genome)) == genome).all()


def test_genomes_and_architectures_go_round(space: Space) -> None:
    for genome in space.sample(5, seed=4):
        assert (space.encode(space.decode(genome)) == genome).all()


def test_architecture_files_of_genomes_are_read_back(space: Space, tmp_path: Path) -> None:
    genome = space.sample(1, seed=5)[0]
    arch = space.decode(genome, name="found")
    path = write_arch(arch, tmp_path / "found.toml", "a test")
    assert (space.encode(rf.model(path)) == genome).all()
    assert rf.simulate(path, "v100").latency_s == rf.simulate(arch, "v100").latency_s


@pytest.mark.parametrize(
    ("space", "model"),
    [
        ("efficientnet-x", "efficientnet-b0"),
        ("efficientnet-x", "efficientnet-x-b0"),
        ("accel-nasbench", "accel-nasbench-2274"),
        ("resnet", "resnet-50"),
        ("vit", "vit-b-16"),
    ],
)
def test_known_networks_are_in_their_space(space: str, model: str) -> None:
    found = rf.search_space(space)
    decoded = found.decode(found.encode(rf.model(model)))
    a, b = (rf.simulate(m, "tpu-v3", batch=8) for m in (decoded, model))
    assert (a.latency_s, a.macs, a.params) == (b.latency_s, b.macs, b.params)


def test_accel_nasbench_speaks_the_published_names() -> None:
    space = rf.search_space("accel-nasbench")
    # 3 expansions x 2 kernels x 2 squeeze-excite x 3 layers in six stages, 4 layers in the other
    assert space.size == 36**6 * 48
    long = {f"block{i}_{c}": v for i in range(7) for c, v in (("e", 4), ("k", 5), ("l", 2), ("se", 1))}
    short = {name.replace("block", "b"): str(value) for name, value in long.items()}
    assert (space.encode(long) == space.encode(short)).all()
    assert space.mapping(space.encode(long)) == long
    mine, theirs = space.decode(space.encode(long)), accel_nasbench_arch(long)
    assert rf.simulate(mine, "v100").params == rf.simulate(theirs, "v100").params


def test_size_counts_what_enumeration_yields() -> None:
    space = rf.search_space("vit")
    parts = list(space.enumerate(chunk=5000))
    rows = np.concatenate(parts)
    assert len(rows) == space.size < prod(space.sizes)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert space.valid(rows).all()
    assert np.lexsort(rows.T[::-1]).tolist() == list(range(len(rows)))


def test_samples_are_uniform_valid_and_reproducible(space: Space) -> None:
    n = 20_000
    genomes = space.sample(n, seed=1)
    assert (genomes == space.sample(n, seed=1)).all()
    assert not (genomes == space.sample(n, seed=2)).all()
    assert space.valid(genomes).all()
    if not space.forbidden:
        for gene, size in enumerate(space.sizes):
            counts = np.bincount(genomes[:, gene], minlength=size)
            assert abs(counts / n - 1 / size).max() < 0.02  # 6 standard deviations at size 2


def test_mutation_changes_exactly_the_genes_asked_for(space: Space) -> None:
    parents = space.sample(2000, seed=1)
    for genes in (1, 3):
        children = space.mutate(parents, seed=2, genes=genes)
        changed = (children != parents).sum(axis=1)
        assert space.valid(children).all()
        assert (changed == genes).all() if not space.forbidden else (changed <= genes).all()
    moved = space.mutate(parents, seed=2) != parents
    assert moved.any(axis=0).all()  # every gene is reached


def test_children_of_crossover_have_their_parents_genes(space: Space) -> None:
    a, b = space.sample(500, seed=1), space.sample(500, seed=2)
    child = space.crossover(a, b, seed=3)
    assert ((child == a) | (child == b)).all() and space.valid(child).all()
    assert (child != a).any() and (child != b).any()


def test_twins_are_plain_and_their_own_twins() -> None:
    space = rf.search_space("efficientnet-x")
    twins = space.to_twin(space.sample(50))
    assert space.is_twin(twins).all()
    chosen = space.mapping(twins[0])
    assert chosen["stem"] == "none" and chosen["s1_op"] == "mbconv" and chosen["s1_activation"] == "relu"


@pytest.mark.parametrize(
    ("genomes", "message"),
    [
        (np.zeros((2, 28)), "must be integers"),
        (np.zeros((2, 28), dtype=bool), "must be integers"),
        (np.zeros(28, dtype=int), "must be an array"),
        (np.zeros((2, 27), dtype=int), "have 28 genes, got 27"),
        (np.full((2, 28), 9), "must be in 0..2, got 9"),
        (np.full((1000, 28), -1, dtype=np.int8), "got -1"),
    ],
)
def test_bad_genomes_are_refused(genomes: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rf.search_space("accel-nasbench").check(genomes)


def test_bad_values_are_found_wherever_they_stand() -> None:
    space = rf.search_space("accel-nasbench")
    for row in (0, 255, 256, 999):
        genomes = space.sample(1000)
        genomes[row, 8] = 7
        with pytest.raises(InputError, match=f"genome {row}: gene 8"):
            space.check(genomes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block0_x": 1}, "no choice 'block0_x'"),
        ({"block0_e": 5}, "must be one of 1, 4, 6, got 5"),
        ({"b0_e": 4}, "given twice"),
    ],
)
def test_bad_mappings_are_refused(change: dict[str, int], message: str) -> None:
    space = rf.search_space("accel-nasbench")
    mapping = space.mapping(space.sample(1)[0])
    with pytest.raises(InputError, match=message):
        space.encode({**mapping, **change})
    with pytest.raises(InputError, match="is missing"):
        space.encode({})


def test_networks_of_other_spaces_are_refused() -> None:
    with pytest.raises(InputError, match=r"no genome of space|has no"):
        rf.search_space("accel-nasbench").encode(rf.model("resnet-50"))
    with pytest.raises(UnknownNameError, match="nearest: 'resnet'"):
        rf.search_space("resnett")


def test_a_user_adds_a_space_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    space = rf.search_space(path)
    assert space.names == ("s0_repeats", "s1_repeats", "stem_width") and space.size == 12
    assert space.decode(np.array([1, 0, 2])).stages[1].repeats == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("values = [32, 64, 96]", "values = [32, 32]", "not distinct"),
        ('"stem.channels"', '"stam.channels"', "changes stage 'stam'; nearest: 'stem'"),
        ('base = "resnet-18"', 'base = "resnet-19"', "unknown model"),
        ("values = [1, 2]", "values = []", "either options, or values"),
        ('title = "Tiny"', 'titel = "Tiny"', "unknown key 'titel'"),
    ],
)
def test_bad_space_files_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(TINY.replace(old, new))
    with pytest.raises(SpecError, match=message):
        rf.search_space(path)


def test_empty_spaces_are_refused() -> None:
    base = rf.model("resnet-18")
    choice = Choice(name="w", values=(32, 64), changes=((("stem", "channels", 32),), (("stem", "channels", 64),)))
    assert space_from("mine", base, [choice]).size == 2
    with pytest.raises(SpecError, match="empty"):
        space_from("mine", base, [])
    with pytest.raises(SpecError, match="every combination is forbidden"):
        space_from("mine", base, [choice], forbidden=({"w": (32, 64)},))


def test_every_gene_matters_to_some_stage(space: Space) -> None:
    heard = {gene for genes in space.genes_of_stages for gene in genes}
    assert heard | {space.gene(n) for n in space.names if n == "image_size"} == set(range(space.length))


def test_forbidden_genomes_do_not_decode() -> None:
    space = rf.search_space("vit")
    mapping = space.mapping(space.sample(1)[0]) | {"width": 256, "heads": 3}
    with pytest.raises(InputError, match="forbids"):
        space.decode(space.encode(mapping))


@pytest.mark.parametrize("stem", ["none", "space_to_batch", "space_to_depth"])
def test_reshaped_stems_are_cut_where_no_runtime_fuses(stem: str) -> None:
    space = rf.search_space("efficientnet-x")
    plain = space.mapping(space.encode(rf.model("efficientnet-b0")))
    arch = space.decode(space.encode(plain | {"stem": stem}))
    whole = build_graph(arch, 4)
    for name in rf.runtimes():
        wanted = policy(rf.runtime(name), precision("bf16"))
        lowered = lower_arch(arch, 4, wanted)
        kernels = np.bincount(lowered.table.kernels.block, minlength=lowered.table.block_count)
        assert kernels[lowered.order].sum() == len(lower(whole, wanted)[1]), name
    if stem == "space_to_batch":  # the same work on quarters of the images, but squeeze-excite on each quarter
        squeeze_excite = 2 * 32 * 8  # 32 channels to 8 and back, once an image
        extra = (4 * 4 - 4) * squeeze_excite
        assert whole.macs == build_graph(rf.model("efficientnet-b0"), 4).macs + extra
