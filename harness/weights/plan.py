"""What a writer decides before the first byte is written: every file, and what lies where in it.

A writer of a format is a *recipe* whose `plan` is pure. `harness.weights.writing` streams any plan:
the exact size is known before, so a disk that is too small is refused at the start and progress has
a true total.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

from harness.weights.artifact import ArtifactFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import DataclassInstance

    from harness.models import Architecture
    from harness.weights.artifact import Artifact
    from harness.weights.tensors import TensorSpec


Piece = memoryview | bytes


class ByteStream(Protocol):
    """Content that is made while it is written."""

    @property
    def bytes(self) -> int:
        """How many bytes there will be."""

    def pieces(self, seed: int) -> Iterator[Piece]:
        """The bytes in pieces of at most a few MiB; each is valid until the next one is taken.

        The same seed gives the same bytes, always.
        """


@dataclass(frozen=True, slots=True)
class Section:
    """One contiguous range of a file."""

    offset: int
    content: bytes | TensorSpec | ByteStream

    @property
    def bytes(self) -> int:
        """Its length."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.bytes

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.bytes


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file as it will be.

    Attributes:
        name: Relative to the artifact's directory.
        sections: By offset, not overlapping; what lies between and behind them is zeros.
        bytes: Size of the whole file.
    """

    name: str
    sections: tuple[Section, ...]
    bytes: int

    def __post_init__(self) -> None:
        position = 0
        for section in self.sections:
            if section.offset < position:
                raise ValueError(f"{self.name}: sections overlap at {section.offset}")
            position = section.end
        if position > self.bytes:
            raise ValueError(f"{self.name}: sections end at {position}, the file at {self.bytes}")


@dataclass(frozen=True, slots=True)
class ArtifactPlan:
    """Everything about an artifact but its bytes.

    Attributes:
        artifact: As it will be recorded; its directory is a placeholder.
        files: The entry first.
        seed: Decides on all random content.
    """

    artifact: Artifact
    files: tuple[PlannedFile, ...]
    seed: int

    @property
    def key(self) -> str:
        """The artifact's content key."""
        return self.artifact.key

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return self.artifact.total_bytes


class Recipe(Protocol):
    """All that decides on an artifact's bytes beside the model: a frozen dataclass a format."""

    @property
    def quantisation(self) -> str:
        """Name in `harness.models.QUANTISATIONS`."""

    @property
    def seed(self) -> int:
        """Decides on all random content."""

    def key(self, model: Architecture) -> str:
        """The content key: it differs whenever any byte of the artifact could.

        Raises:
            UserError: this model cannot be written so.
        """

    def plan(self, model: Architecture) -> ArtifactPlan:
        """Decide on every byte's place without writing any.

        Raises:
            UserError: this model cannot be written so.
        """


def content_key(
    model: Architecture,
    recipe: DataclassInstance,
    *,
    format: str,  # noqa: A002
    version: int,
    label: str,
) -> str:
    """A readable prefix, and a hash over the writer's version, the shape and every choice.

    Args:
        model: Its shape enters, and not the words about it.
        recipe: Its fields enter.
        format: The name of the format.
        version: Of the format's writer: raised with every change of what it writes.
        label: What a reader should see of the choices, such as `int4-fp32`.
    """
    shape = {
        name: value
        for name, value in asdict(model).items()
        if name not in {"aliases", "source", "notes"}
    }
    content = {"format": format, "writer": version, "model": shape, "recipe": asdict(recipe)}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
    return f"{model.id}-{label}-{digest}"


def shape_of(model: Architecture) -> dict[str, int]:
    """What a decoder loop needs to know; see `Artifact.shape`."""
    return {
        "layers": model.layers,
        "kv_heads": model.kv_heads,
        "head_dim": model.head_dim,
        "vocabulary": model.vocabulary,
    }


def files_of(files: tuple[PlannedFile, ...]) -> tuple[ArtifactFile, ...]:
    """The planned files as an artifact lists them."""
    return tuple(ArtifactFile(name=file.name, bytes=file.bytes) for file in files)
