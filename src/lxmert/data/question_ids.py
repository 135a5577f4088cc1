"""The ids that a submission must answer, from the questions file of each data set."""

from pathlib import Path

from lxmert.data.gqa import read_gqa
from lxmert.data.nlvr2 import read_nlvr2
from lxmert.data.own_questions import read_own_questions
from lxmert.data.progress import StartProgress, no_progress
from lxmert.data.submissions import SubmissionTask
from lxmert.data.vqa import read_vqa


def question_ids(
    task: SubmissionTask, path: str | Path, *, progress: StartProgress = no_progress
) -> list[int] | list[str] | list[int | str]:
    """Ids of all questions of a file, in its order: int for VQA, str for GQA and NLVR2.

    Args:
        task: Whose format the file has.
        path: VQA: a questions file; GQA: a questions file or a folder of its parts; NLVR2, own: JSON lines.
        progress: Shows how far it is read.

    Raises:
        DataError: The file is missing or malformed, or an id occurs twice.
    """
    if task == "vqa":
        return [example.question_id for example in read_vqa(path, progress=progress)]
    if task == "own":
        return [
            question.question_id for question in read_own_questions(path, annotated=False, progress=progress)
        ]
    if task == "gqa":
        return [example.question_id for example in read_gqa(path, details=False, progress=progress)]
    return [example.identifier for example in read_nlvr2(path, labels_only=True, progress=progress)]
