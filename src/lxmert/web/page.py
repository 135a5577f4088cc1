"""The page itself, built with Gradio; what it does is in `asking`.

The state of a visit, which Gradio keeps, is a `Picture` and the question of the answers shown.
"""

import functools
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
from PIL import Image

from lxmert.errors import InputError, LxmertError
from lxmert.explain import METHODS
from lxmert.web.asking import Picture, PictureAnswerer

P = ParamSpec("P")
R = TypeVar("R")

_KEPT_S = 3600
"""Uploaded pictures and the state of a visit are deleted after an hour."""
_SWEEP_S = 60
_MAX_CHARACTERS = 300
_HEIGHT_PX = 480

_EMPTY_ANSWER = repr("")
"""Shown for the empty answer, which the published VQA table includes."""

_INTRODUCTION = "# LXMERT\nGive a picture, ask about it, and see which words and objects the answer rests on."
_SCENES_NOTE = (
    "The model *scenes* knows generated pictures only, such as the one shown; for photographs, start the "
    "page with `--model unc-nlp/lxmert-vqa-uncased`."
)


def build_page(answerer: PictureAnswerer) -> gr.Blocks:
    """Build the page: `serving` shows it, and so does whatever else takes Gradio's `Blocks`."""
    visit = _Visit(answerer)
    is_scenes = answerer.knows_scenes
    with gr.Blocks(title="LXMERT", analytics_enabled=False, delete_cache=(_SWEEP_S, _KEPT_S)) as page:
        gr.Markdown(f"{_INTRODUCTION} {_SCENES_NOTE if is_scenes else ''}")
        picture = gr.State(time_to_live=_KEPT_S)
        answered = gr.State(time_to_live=_KEPT_S)  # the question of the answers shown
        with gr.Row():
            with gr.Column():
                image = gr.Image(label="Picture", sources=["upload", "clipboard"], height=420)
                # Gradio would read the file itself, with worse messages and other limits than `load_image`.
                image.preprocess = _path_of_file  # type: ignore[method-assign]
                new = gr.Button("New generated picture", visible=is_scenes)
            objects = _drawing("Objects found")
        question = gr.Textbox(label="Question", submit_btn="Ask", max_length=_MAX_CHARACTERS)
        suggestions = gr.Dataset(
            label="Questions about this picture", components=[question], samples=[], visible=False
        )
        notes = gr.Markdown()
        with gr.Row():
            with gr.Column():
                answers = gr.Label(label="Answers: choose one to have it explained")
                method = gr.Radio(list(METHODS), value="relevance", label="Explained by")
            explanation = _drawing("What the answer rests on")

        replied = [answered, notes, answers, explanation]
        found = [picture, objects, suggestions, *replied]
        asked, asked_before = [picture, question, method], [picture, answered, method]
        image.upload(visit.find_objects, image, found, api_name="find_objects")
        image.clear(visit.forget, None, found, api_visibility="private")
        new.click(visit.draw, None, [image, question, *found], api_name="new_picture")
        question.submit(visit.ask, asked, replied, api_name="ask")
        suggestion = suggestions.click(lambda row: row[0], suggestions, question, api_visibility="private")
        suggestion.then(visit.ask, asked, replied, api_visibility="private")
        method.input(visit.ask_again, asked_before, replied, api_visibility="private")
        answers.select(visit.explain, asked_before, explanation, api_visibility="private")
        if is_scenes:
            page.load(visit.draw, None, [image, question, *found], api_visibility="private")
    return page


def _errors_shown(function: Callable[P, R]) -> Callable[P, R]:
    """Show our own errors to the visitor, without a traceback in the server's output."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except LxmertError as error:
            raise gr.Error(str(error), print_exception=False) from None

    return wrapper


class _Visit:
    """What the elements of the page call; returns the new values of elements, in the order of the page."""

    def __init__(self, answerer: PictureAnswerer) -> None:
        self._answerer = answerer

    def find_objects(self, path: str | None) -> list[Any]:
        try:
            # Bytes, not a path: errors must not name files of the server.
            return _show(self._answerer.look(Path(_given(path)).read_bytes()))
        except LxmertError as error:
            gr.Warning(str(error))
            return self.forget()  # or questions would be about the picture before

    def forget(self) -> list[Any]:
        return _show(None)

    def draw(self) -> list[Any]:
        picture = self._answerer.generate(secrets.randbelow(2**31))
        return [picture.detection.image, "", *_show(picture)]

    @_errors_shown
    def ask(self, picture: Picture | None, question: str, method: str) -> list[Any]:
        if len(question or "") > _MAX_CHARACTERS:  # The box holds no more, but programs are not bound by it.
            raise InputError(
                f"the question has {len(question)} characters; expected at most {_MAX_CHARACTERS}"
            )
        reply = self._answerer.ask(_given(picture), question, method=method)
        probabilities = {answer.text or _EMPTY_ANSWER: answer.probability for answer in reply.answers}
        return [question, "  \n".join(reply.notes), probabilities, reply.drawing]

    def ask_again(self, picture: Picture | None, answered: str | None, method: str) -> list[Any]:
        return [gr.skip()] * 4 if answered is None else self.ask(picture, answered, method)

    @_errors_shown
    def explain(
        self, picture: Picture | None, answered: str, method: str, chosen: gr.SelectData
    ) -> Image.Image:
        answer = "" if chosen.value == _EMPTY_ANSWER else chosen.value
        return self._answerer.ask(_given(picture), answered, method=method, answer=answer).drawing


def _given(picture: R | None) -> R:
    if picture is None:
        raise InputError("Give a picture first.")
    return picture


def _show(picture: Picture | None) -> list[Any]:
    """Show a picture's objects and the questions that come with it; what was said before is removed."""
    samples = [[text] for text in picture.true_answers] if picture else []
    suggestions = gr.Dataset(samples=samples, visible=bool(samples))
    return [picture, picture and picture.detection.draw(), suggestions, None, "", None, None]


def _drawing(label: str) -> gr.Image:
    return gr.Image(
        label=label,
        format="png",
        interactive=False,
        height=_HEIGHT_PX,
        buttons=["download", "fullscreen"],
    )


def _path_of_file(payload: Any) -> str | None:
    return None if payload is None else payload.path
