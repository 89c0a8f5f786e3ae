"""The user's own models: a decoder in ONNX, with the files it refers to.

Everything read from the file is untrusted: names of external files may not leave its directory,
and a missing dimension is an error that names the input, not an exception from a library.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto

from harness.errors import UserError
from harness.weights.artifact import Artifact, ArtifactFile, FloatType, Progress, hash_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The limit of the protobuf format; parsing such a file fails without saying so.
_PROTOBUF_BYTES = 2**31 - 1
_FLOAT_TYPES: dict[int, FloatType] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16"}
_PAST_KEY = re.compile(r"past_key_values\.(\d+)\.key")
_CACHE_AXES = 4
_EXPORT = (
    "export the model with onnxruntime-genai's model builder or with Optimum "
    "(a decoder with past key values)"
)


def real_artifact(path: Path, progress: Progress | None = None) -> Artifact:
    """Describe a model that is already on disk; nothing is copied.

    Args:
        path: A .onnx file, or a directory with exactly one (or with one named model.onnx).
        progress: Told how much has been hashed.

    Raises:
        UserError: the file is missing, unreadable or not ONNX, external data is missing or short,
            or the graph is not a decoder with a key/value cache.
    """
    entry = _find_entry(path)
    directory = entry.parent
    graph = _read(entry)
    external = _external_files(graph, directory)
    names = [entry.name, *external]
    try:
        sha256 = hash_files(directory, names, progress)
        files = tuple(
            ArtifactFile(name=name, bytes=(directory / name).stat().st_size) for name in names
        )
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename}: {error.strerror}", "check its permissions"
        ) from error
    shape, float_type, inputs = _decoder(graph, entry)
    total = sum(file.bytes for file in files)
    name = entry.stem if entry.stem != "model" else directory.resolve().name
    return Artifact(
        key=f"real-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}-{sha256[:10]}",
        kind="real",
        model=name,
        float_type=float_type,
        directory=directory,
        entry=entry.name,
        files=files,
        total_bytes=total,
        stored_bytes=sum(_tensor_bytes(tensor) for tensor in _tensors(graph.graph)),
        sha256=sha256,
        shape=shape,
        inputs=inputs,
    )


def _find_entry(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"no model at {path}", "give a .onnx file, or the directory with it")
    found = sorted(path.glob("*.onnx"))
    if not found:
        raise UserError(f"no .onnx file in {path}", "give a .onnx file, or the directory with it")
    named = [file for file in found if file.name == "model.onnx"]
    if len(found) > 1 and not named:
        raise UserError(
            f"{len(found)} .onnx files in {path}: {', '.join(file.name for file in found)}",
            "name the one to load",
        )
    return named[0] if named else found[0]


def _read(entry: Path) -> onnx.ModelProto:
    model = onnx.ModelProto()
    try:
        if entry.stat().st_size > _PROTOBUF_BYTES:
            raise UserError(
                f"{entry} is larger than 2 GB, which ONNX files cannot be",
                "store its weights as external data",
            )
        model.ParseFromString(entry.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {entry}: {error.strerror}", "check its permissions") from None
    except DecodeError:
        raise UserError(f"{entry} is not an ONNX model", "give a file in ONNX format") from None
    if not model.graph.node:
        raise UserError(f"{entry} is not an ONNX model: no graph", "give a file in ONNX format")
    return model


def _text(value: object) -> str:
    """A string of a message. One that is not UTF-8 arrives as bytes in spite of its type."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """All stored tensors: initializers, constants, and those of graphs inside nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _tensor_bytes(tensor: TensorProto) -> int:
    """Size of a tensor's values, from its shape and type."""
    count = 1
    for dim in tensor.dims:
        count *= max(dim, 0)
    if tensor.data_type in (TensorProto.INT4, TensorProto.UINT4):
        return (count + 1) // 2
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except KeyError:
        return 0


def _external_files(model: onnx.ModelProto, directory: Path) -> list[str]:
    """Names of the external data files in order of first use, each long enough for its tensors."""
    needed: dict[str, int] = {}
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {_text(entry.key): _text(entry.value) for entry in tensor.external_data}
        location = entries.get("location", "")
        try:
            end = int(entries.get("offset", "0")) + int(entries.get("length", "0"))
        except ValueError:
            end = 0
        parts = PurePosixPath(location)
        if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location:
            raise UserError(
                f"tensor {_text(tensor.name)!r} refers to external data at {location!r}, "
                "outside the model's directory",
                "store the data beside the model",
            )
        needed[str(parts)] = max(needed.get(str(parts), 0), end)
    for name, size in needed.items():
        file = directory / name
        if not file.is_file():
            raise UserError(f"external data file {file} is missing", "put it beside the .onnx file")
        found = file.stat().st_size
        if found < size:
            raise UserError(
                f"external data file {file} is cut short: {found} bytes, at least {size} expected",
                "copy or download it again",
            )
    return list(needed)


def _dims(value: onnx.ValueInfoProto) -> list[int | None]:
    """The dimensions; None for those that vary."""
    return [
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    ]


def _decoder(
    model: onnx.ModelProto, entry: Path
) -> tuple[dict[str, int], FloatType, tuple[str, ...]]:
    """What a decoder loop needs, from the graph's inputs and outputs."""
    constants = {_text(tensor.name) for tensor in model.graph.initializer}
    inputs = {
        name: value for value in model.graph.input if (name := _text(value.name)) not in constants
    }
    outputs = {_text(value.name): value for value in model.graph.output}
    layers = sum(bool(_PAST_KEY.fullmatch(name)) for name in inputs)
    cache = [f"{{}}.{layer}.{part}" for layer in range(max(layers, 1)) for part in ("key", "value")]
    past = [name.format("past_key_values") for name in cache]
    for kind, wanted, has in (
        ("input", ["input_ids", "attention_mask", *past], inputs),
        ("output", ["logits", *(name.format("present") for name in cache)], outputs),
    ):
        missing = _first_missing(wanted, has)
        if missing:
            raise UserError(f"{entry} is not a decoder: {kind} {missing!r} is missing", _EXPORT)
    first = inputs[past[0]]
    dims = _dims(first)
    if len(dims) != _CACHE_AXES or not dims[1] or not dims[3]:
        raise UserError(
            f"{entry}: input {past[0]!r} does not fix the number of key heads and their width",
            _EXPORT,
        )
    logits = _dims(outputs["logits"])
    if not logits or not logits[-1]:
        raise UserError(f"{entry}: output 'logits' does not fix the vocabulary", _EXPORT)
    element = first.type.tensor_type.elem_type
    if element not in _FLOAT_TYPES:
        raise UserError(
            f"{entry}: input {past[0]!r} is neither float32 nor float16",
            "export it with an unquantised key/value cache",
        )
    shape = {
        "layers": layers,
        "kv_heads": dims[1],
        "head_dim": dims[3],
        "vocabulary": logits[-1],
    }
    others = tuple(name for name in inputs if name not in set(past))
    return shape, _FLOAT_TYPES[element], others


def _first_missing(wanted: Sequence[str], has: dict[str, onnx.ValueInfoProto]) -> str | None:
    return next((name for name in wanted if name not in has), None)
