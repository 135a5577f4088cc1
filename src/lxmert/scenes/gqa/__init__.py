"""GQA-style questions about made scenes, with programs, entailments and scene graphs."""

from lxmert.scenes.gqa.asking import GqaQuestion, ask_gqa
from lxmert.scenes.gqa.semantics import execute_semantic
from lxmert.scenes.gqa.things import Picture

__all__ = ["GqaQuestion", "Picture", "ask_gqa", "execute_semantic"]
