import os
import signal
import socket
import subprocess
import sys

import gradio
import httpx
import pytest

from lxmert.web.serving import serving
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


def test_page_is_served_where_a_proxy_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on the port of this proxy.
    proxies = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "a.org"}
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("no_proxy", raising=False)
    with (
        gradio.Blocks(analytics_enabled=False) as page,
        serving(page, host="127.0.0.1", port=None, open_browser=False) as address,
    ):
        assert httpx.get(address, trust_env=False).status_code == 200
        assert os.environ["NO_PROXY"] == "a.org"
        assert "no_proxy" not in os.environ


def test_page_is_served_on_an_ipv6_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("needs IPv6")
    with (
        gradio.Blocks(analytics_enabled=False) as page,
        serving(page, host="::1", port=None, open_browser=False) as address,
    ):
        assert address.startswith("http://[::1]:")
        assert httpx.get(address, trust_env=False).status_code == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "256.1.1.1", "no-such-host.invalid", "a..b"])
def test_host_that_is_not_this_computer_is_reported_at_once(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"error: cannot listen on {host}: " in CommandLine(capsys).error("serve", "--host", host)


@pytest.mark.parametrize("host", ["", " ", "[]"])
def test_empty_host_is_reported(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = CommandLine(capsys).error("serve", f"--host={host}")
    assert "error: the host is empty; expected an address or name, such as 127.0.0.1" in error


def test_name_that_cannot_be_one_is_reported_with_its_port(capsys: pytest.CaptureFixture[str]) -> None:
    host = "x" * 64
    error = CommandLine(capsys).error("serve", "--host", host, "--port", 7860)
    assert f"error: cannot listen on {host}, port 7860: not a name or address of a computer" in error


def test_taken_port_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        error = CommandLine(capsys).error("serve", "--port", port)
    assert f"error: cannot listen on 127.0.0.1, port {port}: Address already in use" in error
