import signal
import socket
import subprocess
import sys

import httpx
import pytest

from tests.command_line import CommandLine

# A process started in the background may ignore Ctrl-C, and so would its children.
COMMAND = """
import signal
from lxmert.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main(["serve"])
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_page_is_served_until_the_command_is_ended(number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-c", COMMAND]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("The page is at http://127.0.0.1:"), line + process.stderr.read()
            assert "New generated picture" in httpx.get(line.split()[4]).text
            process.send_signal(number)
            assert process.wait(60) == status
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_taken_port_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"{port}" in CommandLine(capsys).error("serve", "--port", port)
