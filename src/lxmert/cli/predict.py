"""`lxmert predict`: write a model's answers to a split as the leaderboard's submission file."""

from pathlib import Path
from typing import Annotated

import typer

from lxmert.cli.interrupts import tell_interrupted
from lxmert.cli.task_models import (
    BatchSizeOption,
    CompileOption,
    DataArgument,
    DtypeOption,
    FeaturesOption,
    FilesOption,
    LimitOption,
    ModelArgument,
    SplitOption,
    TaskOption,
    load_task_model,
    note,
)

INTERRUPTED_STATUS = 130
"""Exit status that shells report for a program ended by Ctrl-C."""


def predict(
    model: ModelArgument,
    data: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The submission file to write.", show_default=False)
    ],
    task: TaskOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    features: FeaturesOption = None,
    files: FilesOption = None,
    batch_size: BatchSizeOption = None,
    dtype: DtypeOption = "auto",
    compiled: CompileOption = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a file, and begin anew instead of going on with an earlier run."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")] = False,
) -> None:
    """Answer a split, which needs no annotations, and write the leaderboard's submission file.

    VQA and GQA: a JSON list; NLVR2: lines of identifier,True or identifier,False. `lxmert
    validate-submission` checks such a file, `lxmert score` scores it where there are annotations.

    Run it again to continue after an interruption: what is answered stays. Several processes started by
    `accelerate launch` or `torchrun` share the questions.
    """
    from lxmert.inference.bulk_examples import ModelSetup
    from lxmert.inference.bulk_journal import journal_folder
    from lxmert.inference.ranks import Ranks
    from lxmert.training.prediction import check_output, predict_to_file
    from lxmert.training.progress import ProgressDisplay
    from lxmert.weights.report import quiet_transformers

    ranks = Ranks.from_environment()
    shows = not quiet and ranks.rank == 0
    try:
        with ProgressDisplay(enabled=shows) as display, quiet_transformers(warnings_too=False):
            check_output(output, overwrite=overwrite)  # Before the model is loaded, which takes longer.
            loaded = load_task_model(model, task, files or (), local_rank=ranks.local_rank)
            report = predict_to_file(
                loaded.model,
                loaded.processor,
                data,
                split,
                output,
                task=loaded.task,
                limit=limit,
                files=loaded.files,
                features=features or (),
                batch_size=batch_size,
                setup=ModelSetup(dtype, compiled),
                ranks=ranks,
                overwrite=overwrite,
                progress=display.start,
                tell=note if ranks.is_leader else lambda line: None,
            )
        answered, found = ranks.total([report.answered, report.found])
    except KeyboardInterrupt:
        if ranks.rank == 0 and journal_folder(output).is_dir():
            how = ["the same without --overwrite goes on"] if overwrite else []
            tell_interrupted(f"what is answered is kept in {journal_folder(output)}", *how)
        raise typer.Exit(INTERRUPTED_STATUS) from None
    finally:
        ranks.leave()
    before = f", {found:,} of them before" if found else ""
    if report.is_written:
        typer.echo(f"{output}: {report.total:,} predictions in {loaded.dtype}{before}")
    elif not ranks.is_connected:
        share = f"rank {ranks.rank} of {ranks.count}"
        typer.echo(
            f"{output}: not written yet, {answered + found:,} answers in {loaded.dtype} by {share}{before}"
        )
