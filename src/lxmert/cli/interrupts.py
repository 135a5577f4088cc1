"""What is said when Ctrl-C ends work that can go on."""

import typer


def tell_interrupted(kept: str, how: str = "run the same again to go on") -> None:
    """One line on standard error.

    Args:
        kept: what is not lost, and where it is.
        how: what goes on from there.
    """
    typer.echo(f"lxmert: interrupted; {kept}: {how}", err=True)
