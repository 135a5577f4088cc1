"""The page as a browser or a program uses it, over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from lxmert import LxmertPredictor
from lxmert.scenes import sample
from lxmert.web.asking import PictureAnswerer
from lxmert.web.page import build_page
from lxmert.web.serving import serving


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    predictor = LxmertPredictor.from_pretrained("scenes")
    page = build_page(PictureAnswerer(predictor, knows_scenes=True))
    with serving(page, host="127.0.0.1", port=None, open_browser=False) as address:
        yield address


@pytest.fixture
def visitor(address: str, tmp_path: Path) -> Client:
    return Client(address, verbose=False, analytics_enabled=False, download_files=tmp_path / "downloads")


def image_of(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def suggested(update: dict[str, Any]) -> list[str]:
    return [text for [text] in update["samples"]]


def test_picture_is_uploaded_and_asked_about(visitor: Client, tmp_path: Path) -> None:
    image, _, [question] = sample(7, 0, questions=1)
    image.save(tmp_path / "scene.png")
    objects, suggestions, *_ = visitor.predict(handle_file(tmp_path / "scene.png"), api_name="/find_objects")
    assert image_of(objects).size[0] >= image.width
    assert suggested(suggestions) == []
    notes, answers, explanation = visitor.predict(question.text, "relevance", api_name="/ask")
    assert answers["label"] == question.answer
    assert len(answers["confidences"]) == 5
    assert notes == ""
    assert image_of(explanation).size[0] >= image.width


def test_new_picture_offers_questions_with_true_answers(visitor: Client) -> None:
    picture, question, objects, suggestions, *_ = visitor.predict(api_name="/new_picture")
    assert image_of(picture).size != image_of(objects).size
    assert question == ""
    assert len(suggested(suggestions)) == 6
    notes, *_ = visitor.predict(suggested(suggestions)[0], "attention", api_name="/ask")
    assert notes.startswith("True answer: ")


class BrowserTab:
    """Triggers the page's own events, which programs do not see."""

    def __init__(self, address: str) -> None:
        self._api = f"{address}gradio_api/"
        self.config = httpx.get(f"{address}config").json()

    def element(self, label: str) -> int:
        labels = {item["props"].get("label"): item["id"] for item in self.config["components"]}
        return labels[label]

    def trigger(self, element: int, event: str, values: list[Any], chosen: str | None = None) -> list[Any]:
        """The new values of elements after an event whose inputs have these values, None for those kept."""
        [index] = [
            number
            for number, function in enumerate(self.config["dependencies"])
            if [element, event] in function["targets"]
        ]
        event_data = {"index": 0, "value": chosen}
        body = {"data": values, "fn_index": index, "session_hash": "tab", "event_data": event_data}
        httpx.post(f"{self._api}queue/join", json=body).raise_for_status()
        stream = httpx.get(f"{self._api}queue/data", params={"session_hash": "tab"}, timeout=60).text
        messages = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
        [done] = [message for message in messages if message["msg"] == "process_completed"]
        assert done["success"], done
        return done["output"]["data"]


def test_answers_are_explained_for_the_question_that_they_answer(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = BrowserTab(address)
    button = next(item["id"] for item in tab.config["components"] if item["type"] == "button")
    tab.trigger(button, "click", [])
    tab.trigger(tab.element("Question"), "submit", [None, "How many stars are there?", "attention"])
    asked = list[tuple[str, str, str | None]]()
    whole = PictureAnswerer.ask

    def ask(
        self: PictureAnswerer, picture: Any, question: str, *, method: str, answer: str | None = None
    ) -> Any:
        asked.append((question, method, answer))
        return whole(self, picture, question, method=method, answer=answer)

    monkeypatch.setattr(PictureAnswerer, "ask", ask)
    # The box may have other text by now, so it is no input of these events.
    tab.trigger(tab.element("Explained by"), "input", [None, None, "gradient"])
    tab.trigger(
        tab.element("Answers: choose one to have it explained"), "select", [None, None, "removal"], "3"
    )
    question = "How many stars are there?"
    assert asked == [(question, "gradient", None), (question, "removal", "3")]
    tab.trigger(button, "click", [])
    tab.trigger(tab.element("Explained by"), "input", [None, None, "removal"])
    assert len(asked) == 2


def test_question_without_a_picture_is_refused(visitor: Client) -> None:
    with pytest.raises(AppError, match="Give a picture first"):
        visitor.predict("Is there a star?", "relevance", api_name="/ask")


def test_bad_file_clears_the_picture_before(visitor: Client, tmp_path: Path) -> None:
    visitor.predict(api_name="/new_picture")
    (tmp_path / "bad.png").write_text("no picture")
    objects, *_ = visitor.predict(handle_file(tmp_path / "bad.png"), api_name="/find_objects")
    assert objects is None
    with pytest.raises(AppError, match="Give a picture first"):
        visitor.predict("Is there a star?", "relevance", api_name="/ask")


def test_bad_question_is_refused_in_our_words(visitor: Client) -> None:
    visitor.predict(api_name="/new_picture")
    with pytest.raises(AppError, match="the text is empty"):
        visitor.predict("  ", "relevance", api_name="/ask")


def test_question_longer_than_the_box_is_refused(visitor: Client) -> None:
    visitor.predict(api_name="/new_picture")
    with pytest.raises(AppError, match="the question has 301 characters; expected at most 300"):
        visitor.predict("star " * 60 + "?", "relevance", api_name="/ask")


@pytest.mark.parametrize("path", ["", str(Path(__file__))])
def test_files_of_the_server_cannot_be_named(address: str, path: str) -> None:
    # The client of Python would upload the file first.
    call = f"{address}gradio_api/call/find_objects"
    named = {"path": path, "meta": {"_type": "gradio.FileData"}}
    event = httpx.post(call, json={"data": [named]}).json()["event_id"]
    reply = httpx.get(f"{call}/{event}").text
    assert reply.startswith("event: error")
    assert str(Path.cwd()) not in reply


def test_page_asks_no_other_host(address: str) -> None:
    page = httpx.get(address).text
    head = page[: page.index("window.gradio_config")]
    assert "<script" in head
    assert not [part for part in head.split('src="')[1:] if part.startswith("http")]


def test_missing_package_is_named() -> None:
    code = "import sys; sys.modules['gradio'] = None; import lxmert.cli.main as cli; cli.main(['serve'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'not installed: pip install "lxmert[web]"' in done.stderr
    assert done.stderr.startswith("lxmert: error: ")
