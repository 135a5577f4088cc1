"""GQA readers: questions, choices and scene graphs."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lxmert.data.gqa import GqaExample, read_gqa
from lxmert.data.gqa_scene_graphs import GqaChoices, GqaObject, read_gqa_choices, read_scene_graphs
from lxmert.errors import DataError
from tests.data.file_writers import write_file


def gqa_record(**changes: Any) -> dict[str, Any]:
    """One record with all twelve keys of the published files, in their order."""
    return {
        "semantic": [
            {"operation": "select", "dependencies": [], "argument": "dress (12)"},
            {"operation": "query", "dependencies": [0], "argument": "name"},
        ],
        "entailed": ["07", "09"],
        "equivalent": ["08"],
        "question": "Who wears the dress?",
        "imageId": "2375429",
        "isBalanced": True,
        "groups": {"global": "person", "local": "14-dress_wearing,s"},
        "answer": "woman",
        "semanticStr": "select: dress (12)->query: name [0]",
        "annotations": {"answer": {"0": "7"}, "question": {"3": "12"}, "fullAnswer": {"1:3": "7"}},
        "types": {"detailed": "relS", "semantic": "rel", "structural": "query"},
        "fullAnswer": "The woman is.",
    } | changes


def test_all_fields_are_read(tmp_path: Path) -> None:
    (example,) = read_gqa(write_file(tmp_path / "q.json", {"08": gqa_record()}))
    assert example == GqaExample(
        question_id="08",
        image_id="2375429",
        question="Who wears the dress?",
        answer="woman",
        full_answer="The woman is.",
        is_balanced=True,
        groups_global="person",
        groups_local="14-dress_wearing,s",
        entailed=("07", "09"),
        equivalent=("08",),
        structural="query",
        semantic="rel",
        detailed="relS",
        annotations={"question": {"3": "12"}, "answer": {"0": "7"}, "fullAnswer": {"1:3": "7"}},
        semantic_steps=("select: dress (12)", "query: name"),
    )


def test_test_split_record_needs_only_question_and_image(tmp_path: Path) -> None:
    bare = {"question": "Who?", "imageId": "n1"}
    (example,) = read_gqa(write_file(tmp_path / "q.json", {"1": bare}))
    assert example == GqaExample("1", "n1", "Who?")
    assert (example.answer, example.is_balanced, example.entailed) == (None, True, ())
    assert dict(example.annotations) == {"question": {}, "answer": {}, "fullAnswer": {}}


def test_details_false_omits_detail_fields_only(tmp_path: Path) -> None:
    path = write_file(tmp_path / "q.json", {"08": gqa_record(isBalanced=False)})
    (lean,) = read_gqa(path, details=False)
    assert lean == GqaExample(
        "08",
        "2375429",
        "Who wears the dress?",
        "woman",
        is_balanced=False,
        structural="query",
        semantic="rel",
    )


def test_balanced_only_skips_unbalanced_questions(tmp_path: Path) -> None:
    questions = {"1": gqa_record(), "2": gqa_record(isBalanced=False), "3": gqa_record()}
    path = write_file(tmp_path / "q.json", questions)
    assert [example.question_id for example in read_gqa(path)] == ["1", "2", "3"]
    assert [example.question_id for example in read_gqa(path, balanced_only=True)] == ["1", "3"]


def test_gqa_data_is_indexed_by_id_and_position(tmp_path: Path) -> None:
    data = read_gqa(write_file(tmp_path / "q.json", {"1": gqa_record(), "01": gqa_record(answer="man")}))
    assert data.by_id["01"].answer == "man"
    assert (len(data), data[-1].question_id, data[:1][0].question_id) == (2, "01", "1")
    assert repr(data) == "GqaData(2 examples)"


def test_folder_parts_are_read_in_numeric_order(tmp_path: Path) -> None:
    for part in (0, 2, 10, 1):
        write_file(tmp_path / f"train_all_questions_{part}.json", {f"q{part}": gqa_record()})
    write_file(tmp_path / "readme.txt", "not a part")
    assert [example.question_id for example in read_gqa(tmp_path)] == ["q0", "q1", "q2", "q10"]


def test_question_repeated_across_folder_parts_is_rejected(tmp_path: Path) -> None:
    write_file(tmp_path / "a.json", {"7": gqa_record()})
    write_file(tmp_path / "b.json", {"7": gqa_record()})
    with pytest.raises(DataError, match=r"b\.json: question 7 occurs twice"):
        read_gqa(tmp_path)


def test_ids_of_questions_that_are_left_out_are_not_kept(tmp_path: Path) -> None:
    """Of the 22 million of the set "all", they would take 2 GB."""
    write_file(tmp_path / "a.json", {"7": gqa_record(isBalanced=False), "8": gqa_record(isBalanced=True)})
    write_file(tmp_path / "b.json", {"7": gqa_record(isBalanced=False), "9": gqa_record(isBalanced=True)})
    assert list(read_gqa(tmp_path, balanced_only=True).by_id) == ["8", "9"]
    write_file(tmp_path / "b.json", {"8": gqa_record(isBalanced=True)})
    with pytest.raises(DataError, match=r"b\.json: question 8 occurs twice"):
        read_gqa(tmp_path, balanced_only=True)


def test_folder_without_json_files_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contains no \*\.json files"):
        read_gqa(tmp_path)


def test_gqa_data_survives_pickling(tmp_path: Path) -> None:
    data = read_gqa(write_file(tmp_path / "q.json", {"1": gqa_record(), "2": gqa_record(annotations=None)}))
    assert pickle.loads(pickle.dumps(data)) == data  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the file is a list, expected an object"),
        ([gqa_record()], "the file is a list, expected an object"),
        ({"1": 3}, "1 is int 3, expected a JSON object"),
        (
            '{"1": {"question": "?", "imageId": "2"}, "1": {"question": "?", "imageId": "2"}}',
            "1 occurs twice",
        ),
        ({"1\n2": gqa_record(imageId=2)}, r"1\\n2.imageId is int 2, expected str"),
        ({"1": gqa_record(imageId=2)}, "1.imageId is int 2, expected str"),
        ({"1": gqa_record(question=None)}, "1.question is NoneType"),
        (
            {"1": gqa_record(question="Is \ud83d?")},
            "1.question is .* character 3 is half of a surrogate pair",
        ),
        ({"1": gqa_record(answer=True)}, "1.answer is bool True, expected str"),
        ({"1": gqa_record(isBalanced=1)}, "1.isBalanced is int 1, expected bool"),
        ({"1": gqa_record(types=[])}, r"1.types is list \[\], expected dict"),
        ({"1": gqa_record(types={"structural": 3})}, "1.types.structural is int 3"),
        ({"1": gqa_record(groups={"global": 3})}, "1.groups.global is int 3"),
        ({"1": gqa_record(entailed=[7])}, r"1.entailed\[0\] is int 7, expected str"),
        ({"1": gqa_record(annotations={"question": {"0": 7}})}, "1.annotations.question does not map"),
        ({"1": gqa_record(semantic=[{"operation": "select"}])}, r"1.semantic\[0\].argument is missing"),
    ],
)
def test_malformed_question_error_names_location(tmp_path: Path, value: Any, message: str) -> None:
    path = write_file(tmp_path / "q.json", value)
    with pytest.raises(DataError, match=r"q\.json: .*" + message):
        read_gqa(path)


def test_published_questions_are_read(shared_data: Path) -> None:
    data = read_gqa(shared_data / "gqa" / "testdev_balanced_questions.json")
    assert len(data) == 12_578
    assert len({example.image_id for example in data}) == 398
    structural = Counter(example.structural for example in data)
    assert structural == {"query": 6805, "verify": 2252, "logical": 1803, "choose": 1129, "compare": 589}
    assert all(example.is_balanced and example.answer and example.semantic_steps for example in data)
    cloudy = data.by_id["201307251"]
    assert (cloudy.question, cloudy.answer, cloudy.groups_global) == ("Is it overcast?", "no", None)
    assert cloudy.semantic_steps == ("select: scene", "verify weather: overcast")


def test_choices_are_read(tmp_path: Path) -> None:
    value = {"1": {"valid": ["red", "blue"], "plausible": ["red"]}, "2": {"valid": ["yes"], "plausible": []}}
    choices = read_gqa_choices(write_file(tmp_path / "c.json", value))
    assert choices == {"1": GqaChoices(("red", "blue"), ("red",)), "2": GqaChoices(("yes",), ())}


def scene_graph(**changes: Any) -> dict[str, Any]:
    cat = {
        "name": "cat",
        "x": 1,
        "y": 2.5,
        "w": 30,
        "h": 40,
        "attributes": ["black"],
        "relations": [{"name": "on", "object": "4"}],
    }
    return {"width": 640, "height": 480, "objects": {"3": cat | changes, "4": {**cat, "relations": []}}}


def test_scene_graphs_are_read(tmp_path: Path) -> None:
    graph = read_scene_graphs(write_file(tmp_path / "s.json", {"7": scene_graph()}))["7"]
    assert graph.size_hw == (480, 640)
    assert graph.objects["3"] == GqaObject("cat", (1, 2.5, 30, 40), ("black",), (("on", "4"),))
    assert graph.objects["4"].relations == ()


@pytest.mark.parametrize(
    ("reader", "value", "message"),
    [
        (read_gqa_choices, {"1": {"valid": ["a"]}}, "1.plausible is missing"),
        (read_gqa_choices, {"1": {"valid": "a", "plausible": []}}, "1.valid is str 'a', expected list"),
        (read_gqa_choices, '{"1": {"valid": [], "plausible": []}, "1": {}}', "question 1 occurs twice"),
        (read_scene_graphs, {"7": scene_graph(x="1")}, "7.objects.3.x is str '1', expected a finite number"),
        (read_scene_graphs, {"7": scene_graph(w=float("inf"))}, "objects.3.w is float inf"),
        (
            read_scene_graphs,
            {"7": scene_graph(relations=[{"name": "on"}])},
            r"relations\[0\].object is missing",
        ),
        (read_scene_graphs, {"7": {"width": 1, "height": 1}}, "7.objects is missing"),
        (
            read_scene_graphs,
            {"7": scene_graph() | {"width": 0}},
            "7.width is int 0, expected one from 1 to 922",
        ),
        (
            read_scene_graphs,
            '{"7": {"width": 1, "height": 1, "objects": {}}, "7": {}}',
            "image 7 occurs twice",
        ),
    ],
)
def test_malformed_choices_and_scene_graphs_raise_data_error(
    tmp_path: Path, reader: Any, value: Any, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        reader(write_file(tmp_path / "x.json", value))
