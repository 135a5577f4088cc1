"""A small made world: pictures of shapes, and texts about them, written in the official file formats.

A picture shows 2 to 10 objects that differ in shape, colour, size and fill. `make_scenes` writes a data set
(layout in `dataset`), `sample` makes one picture with its questions. The same seed gives the same pixels and
words everywhere, and the same bytes with the same Pillow (another version may compress them
differently); image i of a seed does not depend on the number of images or processes.

The texts are COCO captions, descriptions of every object in the same format (`scene_descriptions`), VQA
questions, GQA questions (`gqa`: with functional programs, scene graphs, and what each answer entails), NLVR2
sentences about two pictures (`pairs`), and Visual Genome phrases and questions (`genome`).

The families of VQA questions, each with several paraphrases, and each question with a program (`programs`)
whose result is the answer:

=================  ==========  ===================================================================
family             answer      example
=================  ==========  ===================================================================
exist              yes/no      Can you see a small blue triangle?
exist_and          yes/no      Is there a red star and a blue circle?
exist_or           yes/no      Is there a blue heart or a purple object?
exist_not          yes/no      Is there a star that is not red?
universal          yes/no      Is every circle striped?
count              number      How many big stars are there?
count_or           number      How many items are either circles or crosses?
count_not          number      Count the hearts that are not black.
query_color        other       What color is the hollow triangle?
query_shape        other       Which shape does the filled green item have?
query_size         other       Is the cyan circle small or large?
query_fill         other       Is the tiny cyan item solid, hollow or striped?
position           other       In which half is the striped blue item, top or bottom?
compare_count      yes/no      Are there more red things than stars?
compare_attribute  yes/no      Do the star and the large heart have the same color?
compare_size       yes/no      Is the cyan thing larger than the yellow circle?
relation           yes/no      Is the heart to the left of the red cross?
relation_query     other       What color is the circle above the green star?
relation_count     number      How many things are right of the striped star?
nearest            other       What shape is the object closest to the black triangle?
farthest           other       What color is the thing farthest from the black triangle?
outermost          other       What shape is the leftmost blue object?
extreme            other       What color is the largest item?
most_common        other       Which color appears most often?
=================  ==========  ===================================================================

Answers are balanced: yes and no by a fair coin within each sentence pattern, the rest by symmetric chance.
The most frequent answer of each family is correct about one time in three.

GQA questions are of GQA's five structural types (query, verify, logical, choose, compare), five semantic ones
and some forty detailed ones (`gqa.templates`); nothing is counted. An image has ten balanced questions, of
which the best guess by kind gets 42 % right, and eight more whose answers follow from theirs in every
scene (`gqa.facts`), so that the consistency of answers can be measured.

An NLVR2 sentence comes with two pairs of pictures of which it is true and two of which it is false; wherever
its kind allows, each picture occurs with both labels (`pairs.selection`). The words alone reveal nothing; the
words and one picture of the pair get at most 58 % right.
"""

from lxmert.scenes.counts import SceneCounts
from lxmert.scenes.dataset import make_scenes
from lxmert.scenes.drawing import draw_scene
from lxmert.scenes.programs import execute
from lxmert.scenes.questions import Question, generate_questions
from lxmert.scenes.records import sample
from lxmert.scenes.vocabulary import answer_list, scene_vocabulary
from lxmert.scenes.world import Scene, SceneObject, make_scene

__all__ = [
    "Question",
    "Scene",
    "SceneCounts",
    "SceneObject",
    "answer_list",
    "draw_scene",
    "execute",
    "generate_questions",
    "make_scene",
    "make_scenes",
    "sample",
    "scene_vocabulary",
]
