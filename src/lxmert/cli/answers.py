"""`lxmert answers`: build the list of answers that a model chooses from, and measure its coverage."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lxmert.cli.common_options import JsonOption
from lxmert.errors import DataError
from lxmert.faults import overwrite_fault

if TYPE_CHECKING:
    from lxmert.data.answers import AnswerCoverage, AnswerVocabulary
    from lxmert.data.labels import Label
    from lxmert.data.progress import StartProgress
    from lxmert.data.vqa import VqaExample

app = typer.Typer(help="Build answer lists and measure their coverage.", no_args_is_help=True)

TaskName = Literal["vqa", "gqa"]
Task = Annotated[TaskName, typer.Argument(help="Format of the annotations.", show_default=False)]
Annotations = Annotated[
    list[Path],
    typer.Argument(
        help="VQA annotation files or your own .jsonl files (for vqa), or GQA question files or folders.",
        show_default=False,
    ),
]

# GQA's published table has every answer of its training and validation questions.
_GQA_MIN_COUNT = 1


@app.command(short_help="Build a list of frequent answers.")
def build(
    task: Task,
    annotations: Annotations,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Answer list to write, such as answers.json.", show_default=False
        ),
    ],
    min_count: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Keep answers that are the best answer to at least this many questions.",
            show_default="9 for vqa, as published, 1 for gqa",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a list of the frequent answers to annotated questions, most frequent first.

    VQA answers are normalised as in the official evaluator; GQA answers and your own are kept as spelled.
    """
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.answers import DEFAULT_MIN_COUNT, AnswerVocabulary
    from lxmert.data.labels import best_answer

    min_answer_count = min_count or (_GQA_MIN_COUNT if task == "gqa" else DEFAULT_MIN_COUNT)
    if fault := overwrite_fault(output, overwrite=overwrite):
        raise DataError(fault)
    with reading_progress(enabled=not as_json) as progress:
        if _is_vqa(task, annotations):
            vqa = _vqa_examples(annotations, progress)
            vocabulary = AnswerVocabulary.build(vqa, min_count=min_answer_count)
            covered = vocabulary.coverage(vqa, normalise=True)
        else:
            labels = _labels(task, annotations, progress)
            vocabulary = AnswerVocabulary.from_answers(
                map(best_answer, filter(None, labels)), min_count=min_answer_count
            )
            covered = vocabulary.coverage_of(labels)
    vocabulary.save(output)
    _print_coverage(str(output), vocabulary, covered, as_json)


@app.command(short_help="Measure how many questions a list can answer.")
def cover(
    task: Task,
    answers: Annotated[
        Path,
        typer.Argument(help="Answer list: an answers.json or a published table.", show_default=False),
    ],
    annotations: Annotations,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="VQA: compare answers as spelled, as in the published labels. Other formats always do.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure how many annotated questions a list can answer, and show the answers it lacks."""
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.answers import AnswerVocabulary

    vocabulary = AnswerVocabulary.load(answers)
    with reading_progress(enabled=not as_json) as progress:
        if _is_vqa(task, annotations):
            covered = vocabulary.coverage(_vqa_examples(annotations, progress), normalise=not raw)
        else:
            covered = vocabulary.coverage_of(_labels(task, annotations, progress))
    _print_coverage(str(answers), vocabulary, covered, as_json)


def _vqa_examples(annotations: Sequence[Path], progress: "StartProgress") -> "list[VqaExample]":
    from lxmert.data.vqa import read_vqa_annotations

    return [example for path in annotations for example in read_vqa_annotations(path, progress=progress)]


def _is_vqa(task: TaskName, annotations: Sequence[Path]) -> bool:
    """Return True for VQA annotation files, False for files whose answers are compared as spelled."""
    from lxmert.data.submissions import submission_format

    formats = {submission_format(task, path): path for path in annotations}
    if len(formats) > 1:
        raise DataError(
            f"{formats['own']} contains your own questions, {formats['vqa']} contains those of VQA; use "
            "files of one kind"
        )
    return "vqa" in formats


def _labels(task: TaskName, annotations: Sequence[Path], progress: "StartProgress") -> "list[Label]":
    """Read the scored answers of each question of GQA or of the user's own."""
    from lxmert.data.jsonl_questions import read_jsonl_questions

    if task == "gqa":
        return [{answer: 1.0} for answer in _gqa_answers(annotations, progress)]
    questions = (
        question for path in annotations for question in read_jsonl_questions(path, progress=progress)
    )
    return [question.label or {} for question in questions]


def _gqa_answers(annotations: Sequence[Path], progress: "StartProgress") -> list[str]:
    from lxmert.data.gqa import read_gqa

    answers = []
    for path in annotations:
        for example in read_gqa(path, details=False, progress=progress):
            if example.answer is None:
                raise DataError(
                    f"{path}: question {example.question_id} has no answer; use annotated questions"
                )
            answers.append(example.answer)
    return answers


def _print_coverage(
    name: str, vocabulary: "AnswerVocabulary", covered: "AnswerCoverage", as_json: bool
) -> None:
    if as_json:
        report = {
            "answers": len(vocabulary),
            "questions": covered.questions,
            "answerable": covered.answerable,
            "topAnswerKnown": covered.top_answer_known,
            "bestScore": covered.best_score,
            "unknown": [{"answer": answer, "questions": count} for answer, count in covered.unknown],
        }
        typer.echo(json.dumps(report, indent=2))
        return
    typer.echo(f"{name}: {len(vocabulary):,} answers; {covered.summary()}")
    if covered.unknown:
        listed = ", ".join(f"{answer!r} ({count:,})" for answer, count in covered.unknown)
        typer.echo(f"most frequent missing answers: {listed}")
