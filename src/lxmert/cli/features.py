"""`lxmert features`: inspect, verify and compare feature stores, and convert from and to original files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.cli.common_options import JsonOption, QuietOption, StoreDtypeOption
from lxmert.cli.extract import SKIPPED_STATUS
from lxmert.errors import DataError, one_line
from lxmert.faults import overwrite_fault

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.data.feature_comparison import FeatureComparison

_MAX_LISTED_NAMES = 10

app = typer.Typer(help="Inspect, check, compare, import and export feature stores.", no_args_is_help=True)

Store = Annotated[Path, typer.Argument(help="Feature store.", show_default=False)]


@app.command(short_help="Summarise a store from its index.")
def info(store: Store, as_json: JsonOption = False) -> None:
    """Summarise the contents of a store, from its index alone."""
    from lxmert.data.feature_store import FeatureStore
    from lxmert.data.feature_store.summary import summarise

    summary = summarise(FeatureStore(store))
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
        return
    table = _grid()
    for key, value in summary.items():
        table.add_row(key.replace("_", " "), _format_value(value))
    _print(table)


@app.command(short_help="Check all data of a store.")
def verify(store: Store, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Check all data of a store: counts, checksums and value ranges. Exit status 1 if anything is wrong."""
    from lxmert.cli.rate_progress import RateProgress
    from lxmert.data.feature_store import FeatureStore, verify_store

    try:
        images = len(FeatureStore(store))
    except DataError:  # The fault is found again below, and reported with all others.
        images = 0
    with RateProgress("verifying", enabled=not quiet) as progress:
        report = verify_store(store, progress.start(images))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        table = _grid()
        for key, value in report.to_dict().items():
            if key != "faults":
                table.add_row(key.replace("_", " "), _format_value(value))
        _print(table)
        typer.echo(
            f"{store}: {'no faults found' if not report.faults else f'faults found: {len(report.faults):,}'}"
        )
    for fault in report.faults:
        typer.echo(f"fault: {one_line(fault)}", err=True)
    if report.faults:
        raise typer.Exit(1)


@app.command(short_help="Compare boxes, features and labels.")
def compare(
    first: Annotated[Path, typer.Argument(help="Reference: a store or a TSV file.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="Store or TSV file to compare with it.", show_default=False)],
    iou: Annotated[
        float, typer.Option(min=0, max=1, help="Minimum overlap (IoU) of boxes to be paired.")
    ] = 0.5,
    worst: Annotated[int, typer.Option(min=0, help="Number of images with the least agreement to list.")] = 5,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare two sets of features of the same images.

    Boxes are compared by overlap, features by cosine similarity, labels by equality.
    """
    from lxmert.cli.rate_progress import RateProgress
    from lxmert.data.feature_comparison import compare_features
    from lxmert.data.feature_sources import open_source

    with RateProgress("comparing", enabled=not quiet) as progress:
        comparison = compare_features(open_source(first), open_source(second), iou, progress.start)
    if as_json:
        typer.echo(json.dumps(comparison.to_dict(), indent=2))
        return
    _print(_comparison_table(comparison, iou))
    if worst and comparison.matched:
        _print(_worst_table(comparison, worst))
    for which, names in (("first", comparison.only_first), ("second", comparison.only_second)):
        if names:
            typer.echo(f"only in the {which} ({len(names):,}): {_format_names(names)}")
    if comparison.other_sizes:
        typer.echo(
            f"different height or width ({len(comparison.other_sizes):,}): "
            f"{_format_names(comparison.other_sizes)}"
        )


@app.command("import", short_help="Import an original feature file.")
def import_(
    file: Annotated[Path, typer.Argument(help="Original feature file, *_obj36.tsv.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Feature store to create or continue.", show_default=False)
    ],
    dtype: StoreDtypeOption = None,
    extractor: Annotated[
        str, typer.Option("--extractor-name", help="Name of the extractor that made the features.")
    ] = "imported-tsv",
    skip_corrupt: Annotated[
        bool, typer.Option("--skip-corrupt", help="List corrupt rows and continue instead of stopping.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Import an original feature file.

    Run the command again to continue. Exit status 3 if rows were skipped.
    """
    from lxmert.cli.rate_progress import RateProgress
    from lxmert.data.feature_exchange import import_tsv
    from lxmert.data.feature_store.manifest import MANIFEST_NAME

    if (file / MANIFEST_NAME).is_file():
        raise DataError(f"{file} is a feature store already; expected an original feature file, *_obj36.tsv")
    if not file.is_file():
        raise DataError(f"{file}: no such feature file")
    with RateProgress("importing", unit="bytes", shows_counts=False, enabled=not quiet) as progress:
        report = import_tsv(
            file,
            output,
            extractor=extractor,
            dtype=dtype,
            skip_corrupt=skip_corrupt,
            advance=progress.start(file.stat().st_size),
        )
    for item in report.corrupt:
        typer.echo(f"skipped: {one_line(str(item))}", err=True)
    repeated = f"; rows that repeat an image: {report.repeated:,}" if report.repeated else ""
    typer.echo(
        f"{output}: images: {report.added:,} added, {report.found:,} already stored; corrupt rows "
        f"skipped: {len(report.corrupt):,}{repeated}"
    )
    if report.corrupt:
        raise typer.Exit(SKIPPED_STATUS)


@app.command(short_help="Write a store as an original feature file.")
def export(
    store: Store,
    file: Annotated[Path, typer.Argument(help="Feature file to write.", show_default=False)],
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a store as an original feature file, with bit-identical numbers."""
    from lxmert.cli.rate_progress import RateProgress
    from lxmert.data.feature_exchange import export_tsv
    from lxmert.data.feature_store import FeatureStore

    if fault := overwrite_fault(file, overwrite=overwrite):
        raise DataError(fault)
    opened = FeatureStore(store)
    with RateProgress("exporting", enabled=not quiet) as progress:
        unlabelled = export_tsv(opened, file, progress.start(len(opened)))
    typer.echo(f"{file}: images written: {len(opened):,}")
    if unlabelled:
        typer.echo(f"images that lack labels: {unlabelled:,}; the missing ids and scores are written as 0")


def _grid() -> "Table":
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _comparison_table(comparison: "FeatureComparison", iou: float) -> "Table":
    table = _grid()
    table.add_row("images in both", f"{comparison.images:,}")
    table.add_row("boxes", f"{comparison.boxes[0]:,} and {comparison.boxes[1]:,}")
    share = comparison.matched / max(comparison.boxes[0], 1)
    table.add_row(f"pairs with IoU ≥ {iou:g}", f"{comparison.matched:,} ({share:.1%} of the first's boxes)")
    table.add_row("mean IoU of the pairs", _format_number(comparison.mean_iou))
    spread = "-"
    if comparison.cosines is not None:
        mean, low, least = (
            _format_number(comparison.cosines[key]) for key in ("mean", "fifth_percentile", "least")
        )
        spread = f"{mean} (5th percentile {low}, least {least})"
    table.add_row("mean cosine of features", spread)
    table.add_row("relative difference of features", _format_number(comparison.mean_difference))
    table.add_row("same object id", _format_share(comparison.object_agreement))
    table.add_row("same attribute id", _format_share(comparison.attribute_agreement))
    return table


def _worst_table(comparison: "FeatureComparison", count: int) -> "Table":
    from rich.table import Table

    table = Table(title="Images with the least agreement", title_justify="left", box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    for heading in ("boxes", "pairs", "IoU", "cosine", "same object"):
        table.add_column(heading, justify="right")
    for image in comparison.least_similar(count):
        same = "-" if image.same_objects is None else f"{image.same_objects:,}"
        boxes, matched = f"{image.boxes[0]}, {image.boxes[1]}", f"{image.matched}"
        numbers = (_format_number(image.mean_iou), _format_number(image.mean_cosine))
        table.add_row(one_line(image.name), boxes, matched, *numbers, same)
    return table


def _format_number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _format_share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _format_names(names: tuple[str, ...]) -> str:
    return ", ".join(map(one_line, names[:_MAX_LISTED_NAMES])) + (
        " …" if len(names) > _MAX_LISTED_NAMES else ""
    )


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return (
            ", ".join(f"{key.replace('_', ' ')} {_format_value(item)}" for key, item in value.items()) or "-"
        )
    if isinstance(value, list | tuple):
        return " to ".join(_format_value(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else one_line(str(value))


def _print(table: "Table") -> None:
    from rich.console import Console

    Console(highlight=False, markup=False).print(table)
