"""GQA-style questions about made scenes, with programs, entailments and scene graphs."""

from lxmert.scenes.gqa.generation import GqaQuestion, generate_gqa_questions
from lxmert.scenes.gqa.references import GqaScene
from lxmert.scenes.gqa.semantics import execute_semantic

__all__ = ["GqaQuestion", "GqaScene", "execute_semantic", "generate_gqa_questions"]
