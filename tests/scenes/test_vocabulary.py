"""The vocabulary covers all generated texts, and the official normalisation leaves answers unchanged."""

import hashlib
import json
import re
import string

from lxmert.data.answer_normalisation import normalise_answer
from lxmert.scenes import answer_list, scene_vocabulary


def test_special_tokens_come_first_and_no_piece_twice():
    vocabulary = scene_vocabulary()
    assert vocabulary[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert len(set(vocabulary)) == len(vocabulary)
    assert vocabulary == scene_vocabulary()
    words = [piece for piece in vocabulary[5:] if piece.isalpha() and len(piece) > 1]
    assert all(re.fullmatch(r"[a-z]+", word) for word in words)
    first, further = words[: words.index("you") + 1], words[words.index("you") + 1 :]
    assert first == sorted(first)
    assert further == sorted(further)


def test_new_words_come_after_words_of_earlier_versions():
    """Models keep their numbers of words: position = id, so that nothing may move."""
    vocabulary = scene_vocabulary()
    digest = hashlib.sha256("\n".join(vocabulary[:EARLIER]).encode()).hexdigest()[:16]
    assert (vocabulary[EARLIER - 1], digest) == ("you", "deda8d571203fd61")
    assert {"images", "neither", "twice", "called"} <= set(vocabulary[EARLIER:])


EARLIER = 277


def test_any_ascii_word_can_be_spelled_out():
    vocabulary = set(scene_vocabulary())
    for character in string.ascii_lowercase + string.digits + string.punctuation:
        assert {character, f"##{character}"} <= vocabulary


def test_every_generated_word_is_a_single_vocabulary_piece(dataset_on_disk):
    vocabulary = set(scene_vocabulary())
    texts = answer_list()
    for split in ("train", "val", "test"):
        texts += [
            record["question"] for record in dataset_on_disk.read(f"vqa_{split}_questions")["questions"]
        ]
        for kind in ("captions", "descriptions"):
            texts += [record["caption"] for record in dataset_on_disk.read(f"{kind}_{split}")["annotations"]]
        for record in dataset_on_disk.read(f"gqa_{split}_questions").values():
            texts += [record["question"], record["fullAnswer"]]
        texts += [json.loads(line)["sentence"] for line in dataset_on_disk.path(f"nlvr2_{split}").open()]
        for image in dataset_on_disk.read(f"vg_{split}_region_descriptions"):
            texts += [region["phrase"] for region in image["regions"]]
        for image in dataset_on_disk.read(f"vg_{split}_question_answers"):
            texts += [text for pair in image["qas"] for text in (pair["question"], pair["answer"])]
    assert {word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())} <= vocabulary


def test_answers_are_unique_and_fixed_points_of_the_official_normalisation():
    answers = answer_list()
    assert len(set(answers)) == len(answers) == 2 + 11 + 8 + 6 + 2 + 3 + 4
    assert [normalise_answer(answer) for answer in answers] == answers


def test_every_true_answer_is_in_answer_list(dataset_on_disk):
    annotations = dataset_on_disk.read("vqa_train_annotations")["annotations"]
    given = {annotation["multiple_choice_answer"] for annotation in annotations}
    assert given <= set(answer_list())
    assert len(given) >= 30
    asked = dataset_on_disk.read("gqa_train_questions").values()
    assert {record["answer"] for record in asked} <= set(answer_list())
