"""`lxmert predict`: write a model's answers to a split as the leaderboard's submission file."""

from pathlib import Path
from typing import Annotated

import typer

from lxmert.cli.common_options import QuietOption
from lxmert.cli.interrupts import report_interrupted
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
    print_note,
)

INTERRUPTED_STATUS = 130
"""Exit status that shells report for a program ended by Ctrl-C."""


def predict(
    model: ModelArgument,
    data: DataArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Submission file to write.", show_default=False)
    ],
    task: TaskOption = None,
    split: SplitOption = "test",
    limit: LimitOption = None,
    features: FeaturesOption = None,
    files: FilesOption = None,
    batch_size: BatchSizeOption = None,
    dtype: DtypeOption = "auto",
    compiled: CompileOption = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Replace an existing file, and start over instead of continuing an earlier run.",
        ),
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Answer the questions of a split and write a submission file for the leaderboard.

    The split needs no annotations. The file is a JSON list for VQA and GQA, and lines of identifier,True or
    identifier,False for NLVR2. `lxmert validate-submission` checks it; `lxmert score` scores it if there are
    annotations.

    Run the command again to continue after an interruption: existing answers are kept. Processes started by
    `accelerate launch` or `torchrun` share the questions.
    """
    from lxmert.inference.bulk_journal import journal_folder
    from lxmert.inference.model_setup import ModelSetup
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
                notify=print_note if ranks.is_leader else lambda line: None,
            )
        answered, found = ranks.sum_over_ranks([report.answered, report.already_answered])
    except KeyboardInterrupt:
        if ranks.rank == 0 and journal_folder(output).is_dir():
            how = ["run the same command without --overwrite to continue"] if overwrite else []
            report_interrupted(f"the answers so far are kept in {journal_folder(output)}", *how)
        raise typer.Exit(INTERRUPTED_STATUS) from None
    finally:
        ranks.leave_group()
    before = f", {found:,} of them from an earlier run" if found else ""
    if report.is_written:
        typer.echo(f"{output}: {report.total:,} predictions in {loaded.dtype}{before}")
    elif not ranks.is_connected:
        share = f"rank {ranks.rank} of {ranks.world_size}"
        typer.echo(
            f"{output}: not written yet, {answered + found:,} answers in {loaded.dtype} by {share}{before}"
        )
