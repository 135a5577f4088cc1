"""`lxmert scenes make`: generate a data set of pictures with captions, questions and sentences."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.scenes import SceneCounts

app = typer.Typer(
    help="Make a small world of pictures, captions and questions to train and test on.", no_args_is_help=True
)


_PICTURES = {count: count for count in ("images", "objects", "captions", "questions")}
_FURTHER_TEXTS = {
    "GQA balanced": "gqa_balanced",
    "GQA all": "gqa_questions",
    "NLVR2": "nlvr2_examples",
    "VG phrases": "vg_regions",
    "VG questions": "vg_questions",
}


@app.command(short_help="Draw pictures and write the files about them.")
def make(
    directory: Annotated[
        Path,
        typer.Argument(help="A new or empty directory, or an earlier made data set.", show_default=False),
    ],
    images: Annotated[
        int, typer.Option(min=1, help="How many pictures; of each ten, eight train, one val, one test.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    questions_per_image: Annotated[
        int, typer.Option(min=1, max=100, help="How many VQA questions of each.")
    ] = 20,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Working processes; one for each processor by default.")
    ] = None,
) -> None:
    """Draw pictures and write about them in the files of COCO, VQA v2, GQA, NLVR2 and Visual Genome.

    Below annotations/: instances_*, captions_* (COCO), descriptions_* (captions that tell of every object),
    vqa_*, gqa_* (questions with programs and what they entail, choices, scene graphs), nlvr2_* (sentences
    about two pictures, each true of some pairs and false of others), vg_* (phrases and questions), for the
    splits train, val and test.
    """
    from rich.console import Console

    from lxmert.scenes import make_scenes

    counts = make_scenes(
        directory,
        images,
        seed,
        questions_per_image=questions_per_image,
        workers=workers or os.cpu_count() or 1,
    )
    console = Console()
    for part in (_PICTURES, _FURTHER_TEXTS):
        console.print(_splits_table(counts, part))
    console.print(_families_table(counts))
    console.print(_blind_table(counts))
    # Not printed by rich, which would take brackets in a name for markup.
    typer.echo(f"Scenes of seed {seed} in {directory}/")


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
    table.add_column("guessed right at most")
    table.add_column("share", justify="right")
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
