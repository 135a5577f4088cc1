"""`lxmert extract`: write the objects of all images of a folder or list to a feature store."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from lxmert.cli.common_options import QuietOption, StoreDtypeOption
from lxmert.cli.interrupts import report_interrupted
from lxmert.errors import ConfigurationError, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lxmert.inference.extraction import ExtractionOptions, ExtractionReport
    from lxmert.inference.image_list import NamedImage
    from lxmert.inference.ranks import Ranks
    from lxmert.vision.extractor import RegionExtractor

SKIPPED_STATUS = 3
"""Exit status of a run that completed, but with images or rows that could not be used."""

DEFAULT_DETECTOR = "scenes"

_GPU_BATCH_SIZE = 8


ImagesArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder (searched recursively), text file with one path per line, or a single image.",
        show_default=False,
    ),
]
StoreOption = Annotated[
    Path, typer.Option("--output", "-o", help="Feature store to create or continue.", show_default=False)
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        "--model",
        help="Detector: 'scenes' (the embedded one), a detector folder or hub name, or the folder of an "
        "LXMERT model, whose extractor is used.",
        show_default="scenes",
    ),
]
ExtractorOption = Annotated[
    str | None,
    typer.Option(
        help="Extractor to use instead of a detector: a JSON or YAML file, or JSON text.", show_default=False
    ),
]
PresetOption = Annotated[
    Literal["published", "butd"] | None,
    typer.Option(
        help="How the detector selects objects; butd: as for LXMERT's published features.", show_default=False
    ),
]
MinObjectsOption = Annotated[
    int | None, typer.Option(min=0, help="Minimum number of objects per image.", show_default=False)
]
MaxObjectsOption = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of objects per image.", show_default=False)
]
BoxesOption = Annotated[
    Path | None,
    typer.Option(help="COCO instances file with the boxes of the objects.", show_default=False),
]
NamesOption = Annotated[
    Literal["file", "stem", "path"],
    typer.Option(
        help="How to name images: file name, stem or path. Images that would share a name get their path."
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=1, help="Number of processes; more than one helps with small detectors on a CPU.")
]
BatchSizeOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Images per batch (with one worker).",
        show_default="1 on a CPU, 8 on a GPU",
    ),
]
DeviceOption = Annotated[
    str | None, typer.Option(help="Device, such as cpu, cuda or cuda:1.", show_default="a GPU if available")
]


def extract(
    images: ImagesArgument,
    output: StoreOption,
    detector: DetectorOption = None,
    extractor: ExtractorOption = None,
    preset: PresetOption = None,
    min_objects: MinObjectsOption = None,
    max_objects: MaxObjectsOption = None,
    boxes: BoxesOption = None,
    dtype: StoreDtypeOption = None,
    names: NamesOption = "file",
    workers: WorkersOption = 1,
    batch_size: BatchSizeOption = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Extract the objects of many images into a feature store.

    Run the command again to continue: images in the store are kept, missing ones are added. Files that are
    not usable images, or whose name the store uses for another image, are listed at the end and in the
    store's skipped.jsonl; the exit status is then 3. Processes started by `accelerate launch` or `torchrun`
    share the images.
    """
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.inference.box_lookup import BoxLookup
    from lxmert.inference.extraction import ExtractionOptions, discard_if_empty
    from lxmert.inference.image_list import NamingScheme, list_images
    from lxmert.inference.ranks import Ranks

    if detector is not None and extractor is not None:
        raise typer.BadParameter("use --detector or --extractor, not both.")
    if workers > 1 and batch_size not in (None, 1):
        raise typer.BadParameter(
            f"--batch-size cannot be used with --workers {workers}: each worker takes one image at a time."
        )
    if boxes is not None and (min_objects is not None or max_objects is not None):
        raise typer.BadParameter("--boxes defines the objects; omit --min-objects and --max-objects.")
    if images.is_dir() and images.resolve() == output.resolve():
        raise typer.BadParameter(
            "--output is the folder of the pictures; choose another folder for the store."
        )
    named_images = list_images(images, NamingScheme(names), exclude=[output])
    settings = {"preset": preset, "min_objects": min_objects, "max_objects": max_objects}
    spec = _extractor_spec(detector, extractor)
    spec |= {name: value for name, value in settings.items() if value is not None}
    ranks = Ranks.from_environment()
    try:
        with reading_progress(enabled=not quiet and ranks.rank == 0) as progress:
            box_lookup = None if boxes is None else BoxLookup(boxes, progress=progress)
        region_extractor, on_gpu = _build_on_device(spec, device, workers, ranks)
        options = ExtractionOptions(
            dtype=dtype,
            batch_size=batch_size or (_GPU_BATCH_SIZE if on_gpu else 1),
            workers=workers,
            boxes=box_lookup,
            ranks=ranks,
        )
        report = _run(named_images, output, region_extractor, options, shows_progress=not quiet)
        totals = ranks.sum_over_ranks([report.added, report.already_stored, len(report.skipped)])
        if ranks.is_connected and ranks.rank == 0:  # A single process has done so already.
            discard_if_empty(output)
    except KeyboardInterrupt:
        if ranks.is_leader and output.is_dir():
            report_interrupted(f"the images extracted so far are kept in {output}")
        raise
    finally:
        ranks.leave_group()
    _print_totals(output, totals, ranks)


def _run(
    images: "Sequence[NamedImage]",
    store: Path,
    extractor: "RegionExtractor",
    options: "ExtractionOptions",
    *,
    shows_progress: bool,
) -> "ExtractionReport":
    """Extract this rank's share with a progress bar, and list what was skipped."""
    from lxmert.cli.rate_progress import RateProgress
    from lxmert.inference.extraction import extract_images

    ranks = options.ranks
    description = "extracting" if ranks.world_size == 1 else f"extracting, rank 0 of {ranks.world_size}"
    with RateProgress(description, enabled=shows_progress and ranks.rank == 0) as progress:
        report = extract_images(images, store, extractor, options, progress.start)
    for item in report.skipped:
        typer.echo(f"skipped: {one_line(str(item))}", err=True)
    return report


def _print_totals(store: Path, totals: "Sequence[int]", ranks: "Ranks") -> None:
    """Print what all ranks did, and exit with status 3 if images were skipped."""
    added, already_stored, skipped = totals
    if ranks.is_leader:
        share = (
            ""
            if ranks.is_connected or ranks.world_size == 1
            else f" (rank {ranks.rank} of {ranks.world_size})"
        )
        typer.echo(
            f"{store}: images: {added:,} added, {already_stored:,} already stored, {skipped:,} skipped{share}"
        )
        if not store.exists():
            typer.echo(f"{store}: not created, because there is no image to store")
    if skipped:
        raise typer.Exit(SKIPPED_STATUS)


def _extractor_spec(detector: str | None, extractor: str | None) -> dict[str, Any]:
    """Return the description of the requested extractor."""
    from lxmert.inference.extractors import extractor_spec, read_description

    if extractor is not None:
        return read_description(extractor)
    return extractor_spec(DEFAULT_DETECTOR if detector is None else detector)


def _build_on_device(
    spec: dict[str, Any], device: str | None, workers: int, ranks: "Ranks"
) -> tuple["RegionExtractor", bool]:
    """Make the extractor on its device, and return whether that is a GPU."""
    from lxmert.devices import process_device, resolve_device
    from lxmert.vision.build import build_extractor
    from lxmert.vision.extraction import move_extractor

    extractor = build_extractor(spec)
    if device is None:
        device = process_device(ranks.local_rank) if workers == 1 else "cpu"
    if workers > 1 and not device.startswith("cpu"):
        raise ConfigurationError(
            f"--workers {workers} can only be used on the CPU; omit --workers or --device {device}"
        )
    target = resolve_device(device)
    move_extractor(extractor, target)
    return extractor, target.type != "cpu"
