"""Options that several verbs have with the same meaning."""

from typing import Annotated, Literal

import typer

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress bars.")]
StoreDtypeOption = Annotated[
    Literal["float16", "float32"] | None,
    typer.Option(help="Data type of the stored features.", show_default="float32 for a new store"),
]
