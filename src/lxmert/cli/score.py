"""`lxmert score`: compute the official figures of any prediction file, without a model."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lxmert.faults import EVALUATOR_NEEDS_OFFICIAL_FILES

app = typer.Typer(
    help="Compute the official metrics of a prediction file for VQA, GQA or NLVR2.", no_args_is_help=True
)

Predictions = Annotated[
    Path,
    typer.Option(
        "--predictions", "-p", help="Prediction file in the leaderboard's format.", show_default=False
    ),
]
Annotations = Annotated[
    Path, typer.Option("--annotations", "-a", help="Official annotation file.", show_default=False)
]
Questions = Annotated[
    Path | None,
    typer.Option(
        "--questions", "-q", help="Score only the questions in this official file.", show_default=False
    ),
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Count questions without a prediction as wrong.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, unrounded, instead of a table.")]


@app.command(short_help="Score a VQA prediction file.")
def vqa(
    predictions: Predictions,
    annotations: Annotations,
    questions: Questions = None,
    evaluator: Annotated[
        Literal["present", "before-2021-03"],
        typer.Option(
            "--evaluator", help="Version of the official evaluator; LXMERT's published figures use the older."
        ),
    ] = "present",
    allow_missing: AllowMissing = False,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Ignore predictions for questions without annotations.")
    ] = False,
    per_question: Annotated[
        Path | None,
        typer.Option(help="Write each question's accuracy to this JSON file.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score [{"question_id": 1, "answer": "..."}, ...] against v2_mscoco_*_annotations.json or your own data.

    Annotations whose name ends in .jsonl are your own questions and answers, scored by their soft labels.
    """
    from lxmert.atomic_files import write_atomic
    from lxmert.cli.prediction_reports import ids_to_score, report_scores, require_scorable
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.jsonl_questions import read_jsonl_questions
    from lxmert.data.question_ids import question_ids
    from lxmert.data.submissions import read_submission, submission_format
    from lxmert.data.vqa import read_vqa_annotations
    from lxmert.training.metrics.labelled import labelled_scores
    from lxmert.training.metrics.vqa import VqaEvaluator, vqa_accuracy

    form, facts = submission_format("vqa", annotations), {"task": "vqa", "evaluator": evaluator}
    read: Callable[..., Sequence[Any]] = read_vqa_annotations
    score: Callable[..., Any] = partial(
        vqa_accuracy, evaluator=VqaEvaluator(evaluator), allow_missing=allow_missing
    )
    if form == "own":
        if facts.pop("evaluator") != "present":
            raise typer.BadParameter(EVALUATOR_NEEDS_OFFICIAL_FILES)
        read, score = read_jsonl_questions, labelled_scores
    with reading_progress(enabled=not as_json) as progress:
        submission = read_submission(form, predictions, progress=progress)
        examples = read(annotations, progress=progress)
        chosen = None if questions is None else question_ids("vqa", questions, progress=progress)
    known = dict.fromkeys(example.question_id for example in examples)
    wanted = ids_to_score(known, known, chosen, questions, annotations)
    faults = require_scorable(
        predictions,
        submission,
        wanted,
        known,
        allow_missing=allow_missing,
        allow_unknown=ignore_unknown,
    )
    answers = {question: answer for question, answer in submission.predictions.items() if question in wanted}
    scored = [example for example in examples if example.question_id in wanted]
    scores = score(answers, scored)
    if per_question is not None:
        write_atomic(per_question, json.dumps(scores.per_question, indent=0) + "\n")
    report_scores(predictions, submission, faults, scores, facts, as_json=as_json)


@app.command(short_help="Score a GQA prediction file.")
def gqa(
    predictions: Predictions,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            "-a",
            help="Official questions file with answers, or the folder with its parts.",
            show_default="the file given as --questions",
        ),
    ] = None,
    questions: Questions = None,
    choices: Annotated[
        Path | None,
        typer.Option(help="Choices file, for validity and plausibility.", show_default=False),
    ] = None,
    scene_graphs: Annotated[
        Path | None, typer.Option(help="Scene graphs file, for grounding.", show_default=False)
    ] = None,
    attentions: Annotated[
        Path | None, typer.Option(help="Attention file, for grounding.", show_default=False)
    ] = None,
    attention_kind: Annotated[
        Literal["map", "objects"],
        typer.Option(help="What the attention file refers to: map: cells of the image; objects: boxes."),
    ] = "map",
    consistency: Annotated[
        Literal["auto", "require", "known", "off"],
        typer.Option(
            help="What to do if entailed questions are unknown. auto: no consistency; require: an error, as "
            "in the official evaluator; known: ignore them; off: never compute consistency."
        ),
    ] = "auto",
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Score [{"questionId": "...", "prediction": "..."}, ...] against *_questions.json."""
    from lxmert.cli.prediction_reports import ids_to_score, report_scores, require_scorable
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.gqa import read_gqa
    from lxmert.data.gqa_attentions import read_gqa_attentions
    from lxmert.data.gqa_scene_graphs import read_gqa_choices, read_scene_graphs
    from lxmert.data.question_ids import question_ids
    from lxmert.data.submissions import read_submission
    from lxmert.training.metrics.gqa import gqa_scores

    source = annotations or questions
    if source is None:
        raise typer.BadParameter("the questions file with answers is required.", param_hint="--annotations")
    with reading_progress(enabled=not as_json) as progress:
        submission = read_submission("gqa", predictions, progress=progress)
        examples = read_gqa(source, progress=progress)
        chosen = None
        if questions is not None and questions != source:
            chosen = question_ids("gqa", questions, progress=progress)
        known_choices = None if choices is None else read_gqa_choices(choices, progress=progress)
        graphs = None if scene_graphs is None else read_scene_graphs(scene_graphs, progress=progress)
        attention_maps = None if attentions is None else read_gqa_attentions(attentions, progress=progress)
        known = dict.fromkeys(example.question_id for example in examples)
        balanced = [example.question_id for example in examples if example.is_balanced]
        wanted = ids_to_score(balanced, known, chosen, questions, source)
        faults = require_scorable(predictions, submission, wanted, known, allow_missing=allow_missing)
        scores = gqa_scores(
            submission.predictions,
            examples,
            known_choices,
            graphs,
            attention_maps,
            attention_kind=attention_kind,
            consistency=consistency,
            only=wanted,
            allow_missing=allow_missing,
            progress=progress,
        )
    report_scores(predictions, submission, faults, scores, {"task": "gqa"}, as_json=as_json)
    if scores.no_consistency and consistency != "off" and not as_json:
        typer.echo(f"note: no consistency: {scores.no_consistency} (see --consistency)", err=True)


@app.command(short_help="Score an NLVR2 prediction file.")
def nlvr2(
    predictions: Predictions,
    annotations: Annotations,
    questions: Questions = None,
    allow_missing: AllowMissing = False,
    as_json: AsJson = False,
) -> None:
    """Score lines "identifier,True" or "identifier,False" against dev.json, test1.json, ..."""
    from lxmert.cli.prediction_reports import ids_to_score, report_scores, require_scorable
    from lxmert.cli.reading_progress import reading_progress
    from lxmert.data.nlvr2 import read_nlvr2
    from lxmert.data.question_ids import question_ids
    from lxmert.data.submissions import read_submission
    from lxmert.training.metrics.nlvr2 import nlvr2_scores

    with reading_progress(enabled=not as_json) as progress:
        submission = read_submission("nlvr2", predictions, progress=progress)
        examples = read_nlvr2(annotations, labels_only=True, progress=progress)
        chosen = None if questions is None else question_ids("nlvr2", questions, progress=progress)
    known = dict.fromkeys(example.identifier for example in examples)
    wanted = ids_to_score(known, known, chosen, questions, annotations)
    faults = require_scorable(predictions, submission, wanted, known, allow_missing=allow_missing)
    scores = nlvr2_scores(
        submission.predictions,
        [example for example in examples if example.identifier in wanted],
        allow_missing=allow_missing,
    )
    report_scores(predictions, submission, faults, scores, {"task": "nlvr2"}, as_json=as_json)
