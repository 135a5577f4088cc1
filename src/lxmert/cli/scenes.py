"""`lxmert scenes make`: generate a data set of pictures with captions, questions and sentences."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.scenes import SceneCounts

app = typer.Typer(
    help="Generate a synthetic data set of pictures, captions and questions.", no_args_is_help=True
)


_IMAGE_COUNTS = {count: count for count in ("images", "objects", "captions", "questions")}
_TEXT_COUNTS = {
    "GQA balanced": "gqa_balanced",
    "GQA all": "gqa_questions",
    "NLVR2": "nlvr2_examples",
    "VG phrases": "vg_regions",
    "VG questions": "vg_questions",
}


@app.command(short_help="Draw pictures and write their annotation files.")
def make(
    directory: Annotated[
        Path,
        typer.Argument(
            help="New or empty directory, or one made with the same seed and numbers.", show_default=False
        ),
    ],
    images: Annotated[
        int, typer.Option(min=1, help="Number of pictures; of every ten, eight are train, one val, one test.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Random seed: the same seed gives the same bytes.")] = 0,
    questions_per_image: Annotated[
        int, typer.Option(min=1, max=100, help="Number of VQA questions per picture.")
    ] = 20,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes.", show_default="one per processor")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option(help="Replace generated scenes of another seed or number.")
    ] = False,
) -> None:
    """Draw pictures and annotate them in the formats of COCO, VQA v2, GQA, NLVR2 and Visual Genome.

    Files in annotations/, for the splits train, val and test: instances_*, captions_* (COCO), descriptions_*
    (captions that mention every object), vqa_*, gqa_* (questions with programs and entailed questions,
    choices, scene graphs), nlvr2_* (sentences about two pictures, each true of some pairs and false of
    others), vg_* (phrases and questions).
    """
    from rich.console import Console

    from lxmert.scenes import make_scenes

    counts = make_scenes(
        directory,
        images,
        seed,
        questions_per_image=questions_per_image,
        workers=workers or os.cpu_count() or 1,
        overwrite=overwrite,
    )
    console = Console()
    for part in (_IMAGE_COUNTS, _TEXT_COUNTS):
        console.print(_splits_table(counts, part))
    console.print(_families_table(counts))
    console.print(_blind_table(counts))
    # Not printed by rich, which would take brackets in a name for markup.
    typer.echo(f"Wrote the scenes of seed {seed} to {directory}/")


def _splits_table(counts: "SceneCounts", part: dict[str, str]) -> "Table":
    """Tabulate some counts of each split; `part` maps headings to their names."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("split")
    for heading in part:
        table.add_column(heading, justify="right")
    for name, split in counts.splits.items():
        table.add_row(name, *(f"{getattr(split, count):,}" for count in part.values()))
    return table


def _blind_table(counts: "SceneCounts") -> "Table":
    """Tabulate the best accuracy of guessing by answer frequencies, without looking."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("blind guessing")
    table.add_column("best accuracy", justify="right")
    pairs = counts.nlvr2_blind_accuracy
    shares = {
        "VQA, knowing the family": counts.blind_accuracy,
        "GQA balanced, knowing the kind": counts.gqa_blind_accuracy,
        "NLVR2, knowing the sentence": pairs["sentence"],
        "NLVR2, and the left picture": pairs["left"],
        "NLVR2, and the right picture": pairs["right"],
    }
    for name, share in shares.items():
        table.add_row(name, f"{share:.1%}")
    return table


def _families_table(counts: "SceneCounts") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_footer=True)
    table.add_column("family", footer="all")
    table.add_column("questions", justify="right", footer=f"{counts.questions:,}")
    table.add_column("most frequent answer")
    table.add_column("share", justify="right", footer=f"{counts.blind_accuracy:.1%}")
    for name, answers in sorted(counts.families.items()):
        answer, times = max(answers.items(), key=lambda item: (item[1], item[0]))
        total = sum(answers.values())
        table.add_row(name, f"{total:,}", answer, f"{times / total:.1%}")
    return table
