"""The user's own model files, told apart by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UserError
from harness.weights.gguf.real import real_gguf
from harness.weights.onnx.real import real_artifact as real_onnx

if TYPE_CHECKING:
    from pathlib import Path

    from harness.weights.artifact import Artifact, Progress

# Formats whose engines say themselves what is wrong with a file, but whose shape is not read here.
_UNREAD = {".task", ".bin", ".litertlm", ".tflite"}


def refuse_unread(path: Path) -> None:
    """Raise for a file whose format cannot be given, by its name alone.

    Raises:
        UserError: it is one of MediaPipe or LiteRT-LM.
    """
    if path.suffix in _UNREAD:
        raise UserError(
            f"{path}: files of MediaPipe and LiteRT-LM cannot be given yet",
            "give a .gguf file (wllama, llama.cpp) or a .onnx file (onnxruntime-web)",
        )


def real_artifact(path: Path, progress: Progress | None = None) -> Artifact:
    """Describe a model that is already on disk; nothing is copied.

    Args:
        path: A .onnx file or a directory with one, or the (first) .gguf file.
        progress: Told how much has been hashed.

    Raises:
        UserError: the file is missing, unreadable, or not a model of its format.
    """
    refuse_unread(path)
    if path.suffix == ".gguf" and path.is_file():
        return real_gguf(path, progress)
    return real_onnx(path, progress)
