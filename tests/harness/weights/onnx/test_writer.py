"""Synthetic models against an independent implementation, and how they are written."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from harness.errors import UserError
from harness.models import MODELS, Architecture, tiny
from harness.weights import writing
from harness.weights.artifact import MANIFEST, Progress, read_manifest
from harness.weights.onnx import recipe as recipe_module
from harness.weights.onnx.recipe import FAMILIES, OnnxRecipe
from harness.weights.writing import DISK_MARGIN, PARTIAL
from tests.harness.weights.onnx.native import Native, greedy
from tests.harness.weights.onnx.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.weights.artifact import Artifact
    from harness.weights.plan import ArtifactPlan

    Make = Callable[..., tuple[Architecture, Artifact]]

# One model of each family.
MODEL_IDS = ("gemma-2b", "gemma-2-2b-it", "gemma-3-1b-it", "qwen2.5-0.5b")
PROMPT = [number * 7 % 1000 for number in range(20)]
TINY = tiny(MODELS["gemma-2b"])


def plan_artifact(model: Architecture, recipe: OnnxRecipe) -> ArtifactPlan:
    return recipe.plan(model)


def key_of(model: Architecture, recipe: OnnxRecipe) -> str:
    return recipe.key(model)


def write(
    model: Architecture, recipe: OnnxRecipe, directory: Path, progress: Progress | None = None
) -> Artifact:
    return writing.write(recipe.plan(model), directory, progress)


# accuracy_level 0 keeps activations in float32: what differs from the reference (float64) is
# rounding alone, measured as 2e-5 at most on logits with a standard deviation of 2.
EXACT = 1e-4
# Scales, activations and the cache rounded to float16; measured: 0.02.
HALF = 0.06
# accuracy_level 4 lets native onnxruntime round activations to int8, block by block, in each of
# some twenty products: a relative error near 0.5 % each. Measured: 0.05 root mean square.
ROUNDED_RMS = 0.1


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Tiny models with logits for all positions, each written once."""
    made: dict[tuple[str, OnnxRecipe], tuple[Architecture, Artifact]] = {}

    def _make(model_id: str, **options: Any) -> tuple[Architecture, Artifact]:
        chosen = OnnxRecipe(**{"accuracy_level": 0, "all_logits": True, **options})
        if (model_id, chosen) not in made:
            model = tiny(MODELS[model_id])
            directory = tmp_path_factory.mktemp("models") / "model"
            made[model_id, chosen] = model, write(model, chosen, directory)
        return made[model_id, chosen]

    return _make


class TestNumbers:
    @pytest.mark.parametrize("quantisation", ["int4", "int8", "fp16", "fp32"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_prefill_and_decode_agree_with_the_reference(
        self, make: Make, model_id: str, quantisation: str
    ) -> None:
        model, artifact = make(model_id, quantisation=quantisation)
        expected = Reference(model, artifact).logits(PROMPT)
        native = Native(artifact)
        pieces = [native.feed(PROMPT[:11]), native.feed(PROMPT[11:14])]
        pieces += [native.feed([token]) for token in PROMPT[14:]]
        np.testing.assert_allclose(np.concatenate(pieces), expected, rtol=0, atol=EXACT)

    @pytest.mark.parametrize("quantisation", ["int4", "int8", "fp16"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_same_tokens_greedily(self, make: Make, model_id: str, quantisation: str) -> None:
        model, artifact = make(model_id, quantisation=quantisation)
        reference = Reference(model, artifact)
        tokens = list(PROMPT)
        for _ in range(8):
            tokens.append(int(reference.logits(tokens)[-1].argmax()))
        assert greedy(artifact, PROMPT, 8) == tokens[len(PROMPT) :]

    @pytest.mark.parametrize("quantisation", ["int4", "int8", "fp16"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_float16_activations(self, make: Make, model_id: str, quantisation: str) -> None:
        model, artifact = make(model_id, quantisation=quantisation, float_type="fp16")
        expected = Reference(model, artifact).logits(PROMPT)
        np.testing.assert_allclose(Native(artifact).feed(PROMPT), expected, rtol=0, atol=HALF)

    @pytest.mark.parametrize("quantisation", ["int4", "int8"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_accuracy_level_four_is_close(
        self, make: Make, model_id: str, quantisation: str
    ) -> None:
        model, artifact = make(model_id, quantisation=quantisation, accuracy_level=4)
        error = Native(artifact).feed(PROMPT) - Reference(model, artifact).logits(PROMPT)
        assert np.sqrt(np.mean(error**2)) < ROUNDED_RMS

    @pytest.mark.parametrize(
        ("model_id", "change"),
        [
            ("gemma-2-2b-it", {"sliding_window": 9}),
            ("gemma-3-1b-it", {"sliding_window": 9}),
            ("gemma-3-1b-it", {"rope_theta": 10_000.0}),
            ("gemma-2-2b-it", {"family": "gemma"}),
            ("gemma-3-1b-it", {"family": "gemma"}),
            ("qwen2.5-0.5b", {"family": "gemma"}),
        ],
    )
    def test_the_comparison_notices_another_architecture(
        self, make: Make, model_id: str, change: dict[str, Any]
    ) -> None:
        model, artifact = make(model_id)
        other = Reference(replace(model, **change), artifact).logits(PROMPT)
        assert np.abs(Native(artifact).feed(PROMPT) - other).max() > 10 * EXACT

    def test_a_table_that_is_not_tied(self, tmp_path: Path) -> None:
        for quantisation in ("int4", "fp16"):
            model = replace(tiny(MODELS["qwen2.5-0.5b"]), tied_embeddings=False)
            options = OnnxRecipe(quantisation=quantisation, accuracy_level=0, all_logits=True)
            artifact = write(model, options, tmp_path / quantisation)
            expected = Reference(model, artifact).logits(PROMPT)
            np.testing.assert_allclose(Native(artifact).feed(PROMPT), expected, rtol=0, atol=EXACT)

    @pytest.mark.parametrize("quantisation", ["int4", "int8", "fp16"])
    @pytest.mark.parametrize("model_id", MODEL_IDS)
    def test_logits_are_sane(self, make: Make, model_id: str, quantisation: str) -> None:
        model, artifact = make(model_id, quantisation=quantisation)
        logits = Native(artifact).feed(PROMPT)
        assert np.isfinite(logits).all()
        assert 1 < logits.std() < 5
        likely = logits.argmax(axis=-1)
        assert len(set(likely.tolist())) > len(PROMPT) // 2
        assert np.mean(likely == PROMPT) < 0.5  # it does not just repeat its last token
        assert logits.shape == (len(PROMPT), model.vocabulary)

    def test_only_the_last_position_by_default(self, make: Make) -> None:
        _, artifact = make("gemma-2-2b-it", all_logits=False)
        _, full = make("gemma-2-2b-it")
        last = Native(artifact).feed(PROMPT)
        assert last.shape[0] == 1
        np.testing.assert_allclose(last[0], Native(full).feed(PROMPT)[-1], rtol=0, atol=EXACT)


class TestBytes:
    def test_the_same_seed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        first = write(TINY, OnnxRecipe(), tmp_path / "a")
        again = write(TINY, OnnxRecipe(), tmp_path / "b")
        assert contents(first) == contents(again)
        assert first.key == again.key

    def test_another_seed_gives_other_bytes(self, tmp_path: Path) -> None:
        first = write(TINY, OnnxRecipe(seed=1), tmp_path / "a")
        other = write(TINY, OnnxRecipe(seed=2), tmp_path / "b")
        assert contents(first)[1:] != contents(other)[1:]
        assert contents(first)[0] == contents(other)[0]  # the graph does not depend on it

    def test_alias_keeps_the_graph_and_shrinks_the_file(self, make: Make) -> None:
        model, plain = make("gemma-3-1b-it")
        _, alias = make("gemma-3-1b-it", alias_layers=True)
        graphs = [
            onnx.load(str(a.entry_path), load_external_data=False).graph for a in (plain, alias)
        ]
        nodes = [[node.SerializeToString() for node in graph.node] for graph in graphs]
        assert nodes[0] == nodes[1]
        shapes = [
            {tensor.name: (tensor.data_type, *tensor.dims) for tensor in graph.initializer}
            for graph in graphs
        ]
        assert shapes[0] == shapes[1]
        assert alias.stored_bytes == plain.stored_bytes > alias.total_bytes
        assert alias.total_bytes < plain.total_bytes / 2
        expected = Reference(model, alias).logits(PROMPT)
        np.testing.assert_allclose(Native(alias).feed(PROMPT), expected, rtol=0, atol=EXACT)

    def test_shards_do_not_change_the_numbers(self, make: Make) -> None:
        _, one = make("gemma-2b")
        _, many = make("gemma-2b", shard_bytes=200_000)
        assert len(one.files) == 2
        assert len(many.files) > 3
        assert all(file.bytes <= 200_000 for file in many.files[1:])
        np.testing.assert_array_equal(Native(one).feed(PROMPT), Native(many).feed(PROMPT))

    def test_sizes_are_known_before(self, tmp_path: Path) -> None:
        calls: list[tuple[int, int]] = []
        options = OnnxRecipe(quantisation="int8")
        planned = plan_artifact(TINY, options)
        artifact = write(TINY, options, tmp_path / "m", lambda *call: calls.append(call))
        assert artifact.files == planned.artifact.files
        assert artifact.total_bytes == planned.total_bytes == sum(f.bytes for f in artifact.files)
        assert artifact.damage() is None
        assert calls[-1] == (planned.total_bytes, planned.total_bytes)

    def test_the_catalogue_knows_the_size(self) -> None:
        """Within the rotary tables, norms and second scales that it leaves out."""
        model = MODELS["gemma-2b"]
        planned = plan_artifact(model, OnnxRecipe())
        blocks = model.embedding_parameters // 32 * 4
        matrices = model.parameters // 2 + model.parameters // 32 * 4
        assert 0 <= planned.total_bytes - matrices - blocks < 12_000_000

    def test_the_manifest_gives_the_artifact_back(self, tmp_path: Path) -> None:
        artifact = write(TINY, OnnxRecipe(), tmp_path / "m")
        assert read_manifest(tmp_path / "m") == artifact
        shutil.move(tmp_path / "m", tmp_path / "n")
        moved = read_manifest(tmp_path / "n")
        assert moved is not None
        assert moved.directory == tmp_path / "n"
        assert moved.damage() is None
        assert str(tmp_path) not in (tmp_path / "n" / MANIFEST).read_text()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"directory": 3}', "\0", '{"key": "x"}'])
    def test_other_manifests_are_no_artifact(self, tmp_path: Path, text: str) -> None:
        (tmp_path / MANIFEST).write_text(text)
        assert read_manifest(tmp_path) is None


class TestKey:
    def test_every_option_changes_it(self) -> None:
        changed = OnnxRecipe(
            quantisation="int8",
            float_type="fp16",
            shard_bytes=1,
            alias_layers=True,
            seed=2,
            all_logits=True,
            accuracy_level=0,
            positions=1,
            zero_share=0.5,
        )
        keys = {key_of(TINY, OnnxRecipe())}
        for field in fields(OnnxRecipe):
            value = getattr(changed, field.name)
            assert value != getattr(OnnxRecipe(), field.name)
            keys.add(key_of(TINY, replace(OnnxRecipe(), **{field.name: value})))
        assert len(keys) == 1 + len(fields(OnnxRecipe))

    def test_the_shape_and_the_writer_change_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        key = key_of(TINY, OnnxRecipe())
        assert key.startswith("gemma-2b-tiny-int4-fp32-")
        assert key_of(replace(TINY, layers=3), OnnxRecipe()) != key
        assert key_of(replace(TINY, notes="other words"), OnnxRecipe()) == key
        monkeypatch.setattr(recipe_module, "WRITER_VERSION", -1)
        assert key_of(TINY, OnnxRecipe()) != key


class TestTiny:
    @pytest.mark.parametrize("model", [m for m in MODELS.values() if m.family in FAMILIES])
    def test_keeps_both_kinds_of_layers(self, model: Architecture) -> None:
        small = tiny(model)
        kinds = {small.is_global_layer(layer) for layer in range(small.layers)}
        assert kinds == {model.is_global_layer(layer) for layer in range(model.layers)}
        assert 2 <= small.layers <= 6
        assert plan_artifact(small, OnnxRecipe()).total_bytes < 4_000_000


class TestRefusals:
    def test_a_family_without_a_graph(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"phi-2: its family is phi.*\n.*gemma3, qwen2"):
            write(MODELS["phi-2"], OnnxRecipe(), tmp_path / "m")

    def test_a_width_that_no_block_divides(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="width 200 is not a multiple of the block of 32"):
            write(replace(TINY, ffn=200), OnnxRecipe(), tmp_path / "m")

    @pytest.mark.parametrize(
        "options",
        [
            {"quantisation": "int5"},
            {"float_type": "fp64"},
            {"shard_bytes": 0},
            {"accuracy_level": 7},
        ],
    )
    def test_unknown_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(UserError):
            plan_artifact(TINY, OnnxRecipe(**options))

    def test_a_short_disk_before_anything_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed = plan_artifact(MODELS["gemma-2b"], OnnxRecipe()).total_bytes + DISK_MARGIN
        usage = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
        with pytest.raises(UserError, match=r"1,70[0-9] MB are needed .* 1,70[0-9] MB are free"):
            write(MODELS["gemma-2b"], OnnxRecipe(), tmp_path / "m")
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_fills_up_meanwhile(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(writing, "write_file", full)
        with pytest.raises(UserError, match="disk too small"):
            write(TINY, OnnxRecipe(), tmp_path / "m")
        assert list(tmp_path.iterdir()) == []

    def test_a_failing_write_leaves_the_old_model(self, tmp_path: Path) -> None:
        old = write(TINY, OnnxRecipe(), tmp_path / "m")
        before = contents(old)

        def stop(_done: int, _total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write(TINY, OnnxRecipe(seed=2), tmp_path / "m", stop)
        assert contents(old) == before
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_a_complete_write_replaces_it(self, tmp_path: Path) -> None:
        write(TINY, OnnxRecipe(), tmp_path / "m")
        new = write(TINY, OnnxRecipe(seed=2), tmp_path / "m")
        assert read_manifest(tmp_path / "m") == new
        assert not list(tmp_path.glob(f"{PARTIAL}*"))


MEASURE = """
import sys
from dataclasses import replace
from pathlib import Path
from harness.models import MODELS
from harness.weights.onnx.recipe import OnnxRecipe
from harness.weights.writing import write

def status(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))

model = replace(MODELS["gemma-2b"], layers=int(sys.argv[2]), vocabulary=int(sys.argv[3]))
before = status("VmRSS:")
artifact = write(OnnxRecipe(quantisation=sys.argv[4]).plan(model), Path(sys.argv[1]) / "m")
print(before * 1024, status("VmHWM:") * 1024, artifact.total_bytes)
"""


def measured(directory: Path, layers: int, vocabulary: int, quantisation: str) -> tuple[int, int]:
    """Peak memory above the start of a writer in a process of its own, and the bytes it wrote."""
    arguments = [str(directory), str(layers), str(vocabulary), quantisation]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], check=True, capture_output=True, text=True
    )
    before, peak, total = (int(word) for word in done.stdout.split())
    assert total == sum(path.stat().st_size for path in directory.glob("m/model.onnx*"))
    shutil.rmtree(directory / "m")
    return peak - before, total


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
class TestMemory:
    @pytest.mark.parametrize("quantisation", ["int4", "fp16"])
    def test_a_medium_size_stays_in_bounds(self, tmp_path: Path, quantisation: str) -> None:
        peak, total = measured(tmp_path, 1, 64_000, quantisation)
        assert total > 140_000_000
        assert peak < 110_000_000

    @pytest.mark.full
    @pytest.mark.parametrize("quantisation", ["int4", "int8", "fp16"])
    def test_the_real_size_stays_in_bounds(self, tmp_path: Path, quantisation: str) -> None:
        peak, total = measured(tmp_path, 18, 256_000, quantisation)
        assert total > 1_600_000_000
        assert peak < 256_000_000


def contents(artifact: Artifact) -> list[bytes]:
    return [(artifact.directory / file.name).read_bytes() for file in artifact.files]
