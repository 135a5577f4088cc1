"""Tables of scores for the terminal."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lxmert.errors import one_line

if TYPE_CHECKING:
    from rich.table import Table

    from lxmert.training.metrics.by_type import ScoresByType
    from lxmert.training.metrics.gqa import GqaScores, GroupAccuracy
    from lxmert.training.metrics.nlvr2 import Nlvr2Scores

# Name, number of questions and figure of one line.
_Line = tuple[str, int | None, str]


def score_table(title: str, scores: Any) -> "Table":
    """Return the table of any task's scores."""
    tables: dict[str, Callable[[str, Any], Table]] = {
        "VqaScores": partial(_table_by_type, "accuracy"),
        "GqaScores": _gqa_table,
        "Nlvr2Scores": _nlvr2_table,
        "LabelledScores": partial(_table_by_type, "score by soft labels"),
    }
    return tables[type(scores).__name__](title, scores)


def _gqa_table(title: str, scores: "GqaScores") -> "Table":
    """Tabulate all figures of GQA, and its accuracy per kind of question."""
    distribution = "-" if scores.distribution is None else f"{scores.distribution:.2f} (lower is better)"
    figures: list[_Line] = [
        ("accuracy", scores.questions, _percent(scores.accuracy)),
        ("binary", None, _percent(scores.binary)),
        ("open", None, _percent(scores.open)),
        ("consistency", None, _percent(scores.consistency)),
        ("validity", None, _percent(scores.validity)),
        ("plausibility", None, _percent(scores.plausibility)),
        ("grounding", None, _percent(scores.grounding)),
        ("distribution", None, distribution),
    ]
    return _table(
        title,
        {
            "": figures,
            "structural type": _groups(scores.per_structural),
            "semantic type": _groups(scores.per_semantic),
            "reasoning steps": _groups(scores.per_steps),
            "words": _groups(scores.per_words),
        },
    )


def _nlvr2_table(title: str, scores: "Nlvr2Scores") -> "Table":
    """Tabulate all figures of NLVR2, and those that reveal a collapsed model."""
    return _table(
        title,
        {
            "": [
                ("accuracy", scores.examples, _percent(scores.accuracy_percent)),
                ("consistency", scores.groups, _percent(scores.consistency_percent)),
            ],
            "for comparison": [
                ("predicted True", None, _percent(100 * scores.predicted_true)),
                ("accuracy if always True", None, _percent(100 * scores.always_true)),
            ],
        },
        counted="examples or groups",
    )


def _table_by_type(figure: str, title: str, scores: "ScoresByType") -> "Table":
    """Tabulate one figure of VQA or of soft labels, by kind of answer and question if the file has them."""
    by_type = {
        "answer type": (scores.per_answer_type, scores.questions_per_answer_type),
        "question type": (scores.per_question_type, scores.questions_per_type),
    }
    sections: dict[str, list[_Line]] = {"": [(figure, scores.questions, _percent(scores.overall))]}
    sections |= {
        section: [(name, counts[name], _percent(value)) for name, value in sorted(values.items())]
        for section, (values, counts) in by_type.items()
        if values
    }
    return _table(title, sections)


def _groups(groups: "Mapping[Any, GroupAccuracy]") -> list[_Line]:
    return [(str(name), group.questions, _percent(group.percent)) for name, group in sorted(groups.items())]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} %"


def _table(title: str, sections: Mapping[str, Sequence[_Line]], counted: str = "questions") -> "Table":
    from rich.table import Table
    from rich.text import Text

    # `Text`, because names may hold brackets, which rich would take for markup.
    table = Table(title=Text(one_line(title)), title_justify="left")
    table.add_column("figure", overflow="fold")
    table.add_column(counted, justify="right")
    table.add_column("score", justify="right")
    for section, lines in sections.items():
        if section:
            table.add_section()
            table.add_row(section, "", "", style="dim")
        for name, count, figure in lines:
            shown = Text(one_line(f"  {name}" if section else name))
            table.add_row(shown, "" if count is None else f"{count:,}", figure)
    return table
