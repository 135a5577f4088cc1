"""Runs `lxmert` in the process of the tests."""

import pytest

from lxmert.cli.main import main


def status_of(*words: object) -> int:
    """The exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0)


class CommandLine:
    """Runs commands and keeps what they printed."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self.capture = capture

    def run(self, *words: object) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        return status_of(*words), *self.capture.readouterr()

    def error(self, *words: object) -> str:
        """The one line a failing command prints."""
        status, out, err = self.run(*words)
        assert status == 1, err
        assert out == ""
        assert err.startswith("lxmert: error: ")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        return err
