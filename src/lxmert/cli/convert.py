"""`lxmert convert`: the authors' original checkpoints to model folders, and back."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lxmert.errors import one_line

if TYPE_CHECKING:
    from lxmert.weights.report import LoadReport


class Target(StrEnum):
    """What `convert` writes."""

    FOLDER = "folder"
    ORIGINAL = "original"


def convert(
    source: Annotated[Path, typer.Argument(help="Original .pth file, or a model folder (--to original).")],
    destination: Annotated[
        Path, typer.Argument(help="Model folder to write, or a .pth file (--to original).")
    ],
    to: Annotated[Target, typer.Option(help="Format to write.")] = Target.FOLDER,
    heads: Annotated[
        int | None,
        typer.Option(min=1, help="Attention heads per layer; optional for models of the paper's width."),
    ] = None,
    encoder_only: Annotated[bool, typer.Option(help="Keep only the encoder, without task heads.")] = False,
    answers: Annotated[
        Path | None, typer.Option(help="Answer table (JSON) of the checkpoint, e.g. trainval_label2ans.json.")
    ] = None,
    vocab: Annotated[
        Path | None,
        typer.Option(help="WordPiece vocabulary (vocab.txt); also writes tokenizer and processor."),
    ] = None,
    data_parallel: Annotated[
        bool | None,
        typer.Option(
            help="With --to original: prefix weight names with 'module.'. By default as the original loaders "
            "expect: with the prefix for encoders and pre-training, without it for fine-tuned models."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing destination.")] = False,
) -> None:
    """Convert an original LXMERT checkpoint (.pth) to a model folder, or a folder back to a .pth file."""
    from rich.console import Console

    from lxmert.weights.convert import export_original, read_config

    if to is Target.ORIGINAL:
        _reject_for_export(heads=heads, encoder_only=encoder_only, answers=answers, vocab=vocab)
        report = export_original(source, destination, data_parallel=data_parallel, overwrite=overwrite)
    else:
        if data_parallel is not None:
            raise typer.BadParameter("--data-parallel can only be used with --to original.")
        report = _to_folder(source, destination, heads, encoder_only, answers, vocab, overwrite)
    console = Console()
    if report.unexpected:
        console.print(report.table())
    typer.echo(one_line(report.summary()))
    typer.echo(f"wrote {destination}")
    if to is Target.ORIGINAL:
        # The file does not store the number, which is needed to convert it back.
        typer.echo(f"to convert it back to a folder, use --heads {read_config(source).num_attention_heads}")


def _reject_for_export(**options: object) -> None:
    given = [name.replace("_", "-") for name, value in options.items() if value]
    if given:
        raise typer.BadParameter(f"--{given[0]} can only be used with --to folder.")


def _to_folder(
    source: Path,
    folder: Path,
    heads: int | None,
    encoder_only: bool,
    answers: Path | None,
    vocab: Path | None,
    overwrite: bool,
) -> "LoadReport":
    """Convert the weights and, with a vocabulary, write the processor next to them."""
    from lxmert.data.answers import AnswerVocabulary
    from lxmert.processing import LxmertProcessor
    from lxmert.tokenization import LxmertTokenizerFast
    from lxmert.weights.convert import convert_original

    table = None if answers is None else list(AnswerVocabulary.load(answers))
    tokenizer = None if vocab is None else LxmertTokenizerFast(vocab_file=str(vocab))
    report = convert_original(
        source,
        folder,
        heads=heads,
        encoder_only=encoder_only,
        answers=table,
        vocab_size=None if tokenizer is None else len(tokenizer),
        overwrite=overwrite,
    )
    if tokenizer is not None:
        LxmertProcessor(tokenizer=tokenizer, answers=table).save_pretrained(folder)
    return report
