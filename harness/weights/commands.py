"""`tierlab model make | list | rm`: artifacts from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from harness.errors import UserError
from harness.models import MODELS, QUANTISATIONS, find_model, tiny
from harness.weights.cache import CACHE_VARIABLE, ArtifactCache
from harness.weights.formats import FORMATS, find_format
from harness.weights.onnx.recipe import SHARD_BYTES, OnnxRecipe

if TYPE_CHECKING:
    from harness.weights.artifact import Artifact
    from harness.weights.plan import Recipe

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

_EXAMPLES = """examples:
  tierlab model make gemma-2b                          1.6 GB, int4, for CPU providers
  tierlab model make gemma-2b --float-type fp16        scales and activations for WebGPU
  tierlab model make gemma-2b --format gguf            1.4 GB, q4_k, for llama.cpp
  tierlab model make gemma-3-1b-it -q int8 --alias     small file, full size once loaded
  tierlab model make gemma-2-2b-it --tiny              a few hundred kB, for a quick look
  tierlab model list
  tierlab model rm gemma-2b-int4-fp32-1f2e3d4c5b
  tierlab model rm --all"""


def add_commands(subparsers: Subparsers) -> None:
    """Add `model` and its three commands; each sets `func`, which returns an exit code."""
    model = subparsers.add_parser(
        "model",
        help="make, list and remove synthetic models",
        description="Synthetic models have the shapes, operators and size of real ones, and "
        "random weights. They are made on the spot; nothing is downloaded.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = model.add_subparsers(dest="model_command", metavar="COMMAND", required=True)
    _add_make(commands)
    listing = commands.add_parser("list", help="show the models that are there")
    listing.set_defaults(func=_list)
    remove = commands.add_parser("rm", help="remove models, and what interrupted writers left")
    which = remove.add_mutually_exclusive_group(required=True)
    which.add_argument("key", nargs="*", default=[], help="keys as `list` shows them")
    which.add_argument("--all", action="store_true", help="every model in the cache")
    remove.set_defaults(func=_remove)
    for command in (commands.choices["make"], listing, remove):
        command.add_argument(
            "--cache",
            type=Path,
            metavar="DIR",
            help=f"where artifacts are (default: {CACHE_VARIABLE}, or the user's cache directory)",
        )


def _add_make(commands: Subparsers) -> None:
    written = {family for form in FORMATS.values() for family in form.families}
    names = ", ".join(model.id for model in MODELS.values() if model.family in written)
    make = commands.add_parser(
        "make",
        help="write a synthetic model, unless it is there already",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    make.add_argument("model", help=f"one of: {names}")
    make.add_argument(
        "--format",
        choices=FORMATS,
        default="onnx",
        help="; ".join(f"{form.name}: for {form.engines}" for form in FORMATS.values())
        + " (default: onnx)",
    )
    make.add_argument(
        "-q", "--quantisation", choices=QUANTISATIONS, help="default: the format's own"
    )
    make.add_argument(
        "--float-type",
        choices=("fp32", "fp16"),
        default="fp32",
        help="ONNX: activations, scales and cache; fp32 for CPU (default), fp16 for WebGPU",
    )
    make.add_argument(
        "--alias",
        action="store_true",
        help="ONNX: all layers share one layer's bytes in the file",
    )
    make.add_argument("--seed", type=int, default=1, help="of the random weights (default: 1)")
    make.add_argument(
        "--shard-mb",
        type=int,
        metavar="MB",
        default=SHARD_BYTES >> 20,
        help="ONNX: largest data file in MiB (default: %(default)s)",
    )
    make.add_argument("--tiny", action="store_true", help="a small model of the same family")
    make.set_defaults(func=_make)


def _make(arguments: argparse.Namespace) -> int:
    model = find_model(arguments.model)
    if arguments.tiny:
        model = tiny(model)
    recipe = _recipe(arguments)
    cache = ArtifactCache(arguments.cache)
    cache.sweep()
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    total = recipe.plan(model).total_bytes
    with bar:
        task = bar.add_task(model.id, total=total)
        artifact = cache.ensure(
            model,
            recipe,
            lambda done, _total: bar.update(task, completed=done),
            waiting=lambda key: bar.console.print(f"another process is making {key}: waiting"),
        )
    console.print(_describe(artifact), highlight=False, soft_wrap=True)
    print(artifact.entry_path)  # noqa: T201 - alone on the standard output, for scripts
    return 0


def _recipe(arguments: argparse.Namespace) -> Recipe:
    form = find_format(arguments.format)
    quantisation = arguments.quantisation or form.quantisations[0]
    if form.name != "onnx":
        return form.recipe(quantisation, arguments.seed)
    return OnnxRecipe(
        quantisation=quantisation,
        float_type=arguments.float_type,
        shard_bytes=arguments.shard_mb << 20,
        alias_layers=arguments.alias,
        seed=arguments.seed,
    )


def _describe(artifact: Artifact) -> str:
    loaded = ""
    if artifact.stored_bytes > artifact.total_bytes:
        loaded = f", {artifact.stored_bytes / 1e6:,.1f} MB once loaded"
    return (
        f"{artifact.key}: {artifact.total_bytes / 1e6:,.1f} MB in "
        f"{len(artifact.files)} files{loaded}"
    )


def _list(arguments: argparse.Namespace) -> int:
    cache = ArtifactCache(arguments.cache)
    artifacts = cache.list()
    if not artifacts:
        Console(stderr=True).print(
            f"no models in {cache.root}; make one with `tierlab model make gemma-2b`",
            highlight=False,
            soft_wrap=True,
        )
        return 0
    # The key names model, weights and floats; more columns would not leave it a line.
    table = Table("key", box=None)
    for heading in ("MB on disk", "MB loaded", "files"):
        table.add_column(heading, justify="right")
    table.columns[0].no_wrap = True
    for artifact in artifacts:
        table.add_row(
            artifact.key,
            f"{artifact.total_bytes / 1e6:,.1f}",
            f"{artifact.stored_bytes / 1e6:,.1f}",
            str(len(artifact.files)),
        )
    Console().print(table)
    return 0


def _remove(arguments: argparse.Namespace) -> int:
    cache = ArtifactCache(arguments.cache)
    keys = cache.keys() if arguments.all else arguments.key
    if not keys and not arguments.all:
        raise UserError("nothing to remove", "name a key, or give --all")
    console = Console(stderr=True)
    for key in keys:
        size = cache.remove(key)
        console.print(f"removed {key}: {size / 1e6:,.1f} MB", highlight=False, soft_wrap=True)
    count, size = cache.sweep()
    if count:
        console.print(f"removed {count} half-written: {size / 1e6:,.1f} MB", highlight=False)
    return 0
