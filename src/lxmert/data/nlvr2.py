"""Reader of NLVR2's files: sentences that are true or false of a pair of images.

Source: Suhr et al. 2019 (arXiv 1811.00491) and the published files (lil-lab/nlvr), a JSON object a line:
{identifier, sentence, label: "True" | "False", left_url, right_url, ...; directory in the training split}.
An identifier is "<split>-<set>-<pair>-<sentence>", its images are named "<split>-<set>-<pair>-img0" (left)
and "-img1" (right). Lines of the user's own data (see `jsonl`), which have an `image` and no `identifier`,
are read too.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lxmert.data.examples import Examples
from lxmert.data.image_names import image_stem
from lxmert.data.interning import StringInterner
from lxmert.data.json_files import JsonRecord, describe
from lxmert.data.json_stream import stream_jsonl
from lxmert.data.jsonl import jsonl_prediction_id, parse_jsonl_record
from lxmert.data.labels import LabelInterner
from lxmert.data.progress import StartProgress, no_progress
from lxmert.errors import DataError

_LABELS = {"true": True, "false": False}
_IDENTIFIER_PARTS = 4
_PAIR_PART = 2


@dataclass(frozen=True, slots=True)
class Nlvr2Example:
    """One sentence about one pair of images.

    Attributes:
        identifier: "<split>-<set>-<pair>-<sentence>", or the id of a line of own data; unique in its file.
        sentence: The sentence as written.
        label: True where the sentence is true of the pair; None if the file does not say.
        left_image: Name of the left image, without extension except in a line of the user's own.
        right_image: Name of the right image, likewise.
        group: The identifier with an empty pair, shared by all pairs that have the sentence; the sentence
            itself for a line of the user's own.
        left_url: Address or path of the left image; None if the file does not say.
        right_url: Address or path of the right image; None if the file does not say.
        directory: Folder of the training images, 0 to 99; None in other splits.
    """

    identifier: str
    sentence: str
    label: bool | None
    left_image: str
    right_image: str
    group: str
    left_url: str | None = None
    right_url: str | None = None
    directory: int | None = None


@dataclass(frozen=True, repr=False)
class Nlvr2Data(Examples[Nlvr2Example]):
    """The examples of one file, in its order."""

    @property
    def images(self) -> list[str]:
        """Names of all images, each once, in order of appearance."""
        names = (name for example in self for name in (example.left_image, example.right_image))
        return list(dict.fromkeys(names))


def read_nlvr2(
    path: str | Path, *, labels_only: bool = False, progress: StartProgress = no_progress
) -> Nlvr2Data:
    """Read a file in NLVR2's format.

    If `left_url` or `right_url` is a path rather than an address (as in made scenes), the image has the name
    of that file. The file may also contain lines of the user's own data.

    Args:
        path: The file.
        labels_only: True requires only what scoring needs, identifier and label; a missing sentence is
            read as empty.
        progress: Shows how much of it has been read.

    Raises:
        DataError: The file is missing or malformed, or an identifier occurs twice; the message names file and
            line.
    """
    intern, labels = StringInterner(), LabelInterner()
    examples: dict[str, Nlvr2Example] = {}
    for record in stream_jsonl(path, progress=progress):
        is_jsonl = "image" in record.value and "identifier" not in record.value
        line_examples = (
            _jsonl_pairs(record, labels, len(examples))
            if is_jsonl
            else [_example(record, intern, labels_only)]
        )
        for example in line_examples:
            if example.identifier in examples:
                place = record.at("id" if is_jsonl else "identifier")
                raise DataError(f"{path}: {place} {example.identifier!r} occurs twice")
            examples[example.identifier] = example
    return Nlvr2Data(tuple(examples.values()))


def local_path(url: str | None) -> PurePosixPath | None:
    """The url of an image as a path; None if it is an address or missing."""
    return None if not url or "://" in url or url.startswith("//") else PurePosixPath(url)


def identifier_and_group(record: JsonRecord) -> tuple[str, str]:
    """The field `identifier`, and the same with an empty pair, by which consistency groups examples.

    Raises:
        DataError: It is not of the form "<split>-<set>-<pair>-<sentence>".
    """
    identifier = record.get("identifier", str)
    parts = identifier.split("-")
    if len(parts) != _IDENTIFIER_PARTS or not all(parts):
        raise DataError(
            f"{record.path}: {record.at('identifier')} is {identifier!r}, expected "
            f"<split>-<set>-<pair>-<sentence>"
        )
    parts[_PAIR_PART] = ""
    return identifier, "-".join(parts)


def _example(record: JsonRecord, intern: StringInterner, labels_only: bool) -> Nlvr2Example:
    identifier, group = identifier_and_group(record)
    pair = identifier.rpartition("-")[0]
    sentence = record.optional("sentence", str) or "" if labels_only else record.sentence("sentence")
    left_url, right_url = (intern.optional(record.optional(name, str)) for name in ("left_url", "right_url"))
    return Nlvr2Example(
        identifier=identifier,
        sentence=intern(sentence),
        label=_label(record),
        left_image=intern(_image_name(left_url, f"{pair}-img0")),
        right_image=intern(_image_name(right_url, f"{pair}-img1")),
        group=intern(group),
        left_url=left_url,
        right_url=right_url,
        directory=record.optional("directory", int),
    )


def _jsonl_pairs(record: JsonRecord, labels: LabelInterner, before: int) -> list[Nlvr2Example]:
    """The sentences of a line of the user's own data; `before` is the number of examples before it."""
    pairs = []
    for number, example in enumerate(parse_jsonl_record(record, labels), before + 1):
        identifier = str(jsonl_prediction_id(example, record.path, number))
        if identifier.split() != [identifier] or "," in identifier:
            raise DataError(
                f"{record.path}: {record.at('id')} is {identifier!r}, expected no white space and no "
                "comma, which a line of predictions cannot contain"
            )
        left, *right = example.images
        if not right:
            raise DataError(
                f"{record.path}: {record.at('image')} names one image, expected two, left and right"
            )
        if example.answers is not None:
            raise DataError(
                f"{record.path}: {record.location} has answers; a sentence about two images has a "
                "label, true or false"
            )
        pairs.append(
            Nlvr2Example(identifier, example.sentence, example.label, left, right[0], example.sentence)
        )
    return pairs


def _label(record: JsonRecord) -> bool | None:
    label = record.value.get("label")
    if label is None or isinstance(label, bool):
        return label
    if isinstance(label, str) and label.lower() in _LABELS:
        return _LABELS[label.lower()]
    raise DataError(f'{record.path}: {record.at("label")} is {describe(label)}, expected "True" or "False"')


def _image_name(url: str | None, official: str) -> str:
    path = local_path(url)
    return official if path is None else image_stem(str(path))
