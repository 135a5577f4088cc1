"""`lxmert serve`: ask about pictures on a web page."""

import threading
from contextlib import suppress
from typing import Annotated

import typer

from lxmert.cli import image_session


def serve(
    model: image_session.ModelOption = "scenes",
    detector: image_session.DetectorOption = None,
    answers: image_session.AnswersOption = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. 127.0.0.1 is this computer alone; 0.0.0.0 lets anyone in the network "
            "use the page, without a password."
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port to listen on.", show_default="the first free one from 7860"
        ),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Show the page in your browser.")] = False,
) -> None:
    """Serve a web page where pictures are asked about: objects, answers and explanations."""
    from lxmert.inference.predictor import LxmertPredictor
    from lxmert.web.asking import PictureAnswerer
    from lxmert.web.page import build_page
    from lxmert.web.serving import serving

    predictor = LxmertPredictor.from_pretrained(model, detector=detector, answers=answers)
    page = build_page(PictureAnswerer(predictor, knows_scenes=model == "scenes"))
    with serving(page, host=host, port=port, open_browser=open_browser) as address:
        typer.echo(f"The page is at {address} (Ctrl-C ends it)")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
