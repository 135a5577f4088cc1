"""The ids that a submission must answer, from the questions file of each data set."""

from pathlib import Path

from lxmert.data.gqa import read_gqa
from lxmert.data.jsonl_questions import read_jsonl_questions
from lxmert.data.nlvr2 import read_nlvr2
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.submissions import SubmissionTask, submission_format
from lxmert.data.vqa import read_vqa


def question_ids(
    task: SubmissionTask, path: str | Path, *, progress: StartProgress = no_progress
) -> list[int] | list[str] | list[int | str]:
    """Ids of all questions of a file, in order: int for VQA, either type for own data, str for the others.

    Args:
        task: The task whose format the file has.
        path: VQA: a questions file, or own data (see `submission_format`); GQA: a questions file or a folder
            of its parts; NLVR2: JSON lines.
        progress: Shows how much of it has been read.

    Raises:
        DataError: The file is missing or malformed, or an id occurs twice.
    """
    form = submission_format(task, path)
    if form == "vqa":
        return [example.question_id for example in read_vqa(path, progress=progress)]
    if form == "own":
        return [
            question.question_id
            for question in read_jsonl_questions(path, annotated=False, progress=progress)
        ]
    if form == "gqa":
        return [example.question_id for example in read_gqa(path, details=False, progress=progress)]
    return [example.identifier for example in read_nlvr2(path, labels_only=True, progress=progress)]
