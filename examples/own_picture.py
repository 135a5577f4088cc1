"""Answers questions about a picture and the boxes of its objects with the embedded model."""

from lxmert import LxmertPredictor
from lxmert.scenes import sample

picture, scene, questions = sample(seed=7, index=0, questions=4)
predictor = LxmertPredictor.from_pretrained("scenes")
regions = predictor.regions(picture)
for question, answers in zip(
    questions, predictor.answer(regions, [question.text for question in questions], top_k=2), strict=True
):
    print(question.text, "->", ", ".join(f"{answer.text} {answer.probability:.0%}" for answer in answers))
