"""Runs `lxmert` commands in the test process."""

import pytest

from lxmert.cli.main import main


def exit_status(*arguments: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return int(caught.value.code or 0)


class CommandLine:
    """Runs commands and captures their output."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def run(self, *arguments: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        return exit_status(*arguments), *self.capture.readouterr()

    def error(self, *arguments: object) -> str:
        """The single error line of a command that fails with status 1."""
        status, out, err = self.run(*arguments)
        assert status == 1, err
        assert out == ""
        assert err.startswith("lxmert: error: ")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err
