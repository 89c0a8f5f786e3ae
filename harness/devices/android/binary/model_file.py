"""What a user's model file is, for the record. Its head is untrusted, and may say nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from harness.errors import UserError
from harness.models import find_model
from harness.weights.artifact import Progress, hash_files
from harness.weights.gguf.real import read_metadata

if TYPE_CHECKING:
    from pathlib import Path

# `enum llama_ftype` (ggml-org/llama.cpp:include/llama.h): how most of the weights are stored.
_FILE_TYPES: Final = {
    0: "fp32", 1: "fp16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k",
    11: "q3_k_s", 12: "q3_k_m", 13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s",
    17: "q5_k_m", 18: "q6_k", 32: "bf16",
}  # fmt: skip
_IN_NAME: Final = re.compile(
    r"(?<![a-z0-9])(int[248]|q[2-8](?:_[a-z0-9]+)*|fp?16|bf16|fp?32)(?![a-z0-9])"
)
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file as it is recorded.

    Attributes:
        model: id in the catalogue where the user said it, else what the file calls itself.
        quantisation: as the head or the name says; `unknown` where neither does.
        format: by its name's end, such as `gguf` or `litertlm`.
        total_bytes: its size.
        sha256: see `harness.weights.artifact.hash_files`.
    """

    path: Path
    model: str
    quantisation: str
    format: str
    total_bytes: int
    sha256: str

    @property
    def key(self) -> str:
        """A readable name with a part of the hash."""
        return f"{_slug(self.path.stem)}-{self.sha256[:10]}"


def describe_model(
    path: Path, *, model: str | None = None, progress: Progress | None = None
) -> ModelFile:
    """What a model file is; it is read once, for its hash.

    Args:
        path: of the file.
        model: what the user says that it is.
        progress: told how much has been hashed.

    Raises:
        UserError: it cannot be read, or `model` is not in the catalogue.
    """
    head: dict[str, Any] = read_metadata(path) if path.suffix == ".gguf" else {}
    try:
        total, sha256 = path.stat().st_size, hash_files(path.parent, [path.name], progress)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "check the path") from error
    name = head.get("general.name")
    return ModelFile(
        path=path,
        model=find_model(model).id
        if model
        else _slug(name if isinstance(name, str) else path.stem),
        quantisation=_quantisation(path, head),
        format=path.suffix.removeprefix(".")[:20] or UNKNOWN,
        total_bytes=total,
        sha256=sha256,
    )


def _quantisation(path: Path, head: dict[str, Any]) -> str:
    kind = head.get("general.file_type")
    if isinstance(kind, int) and kind in _FILE_TYPES:
        return _FILE_TYPES[kind]
    found = _IN_NAME.search(path.stem.lower())
    return found[1] if found else UNKNOWN


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")[:80] or UNKNOWN
