"""Serves a page of Gradio's on this computer or in its network."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from lxmert.errors import InputError

_MAX_VISITS = 200
_MAX_UPLOAD = "32mb"


@contextmanager
def serving(page: gr.Blocks, *, host: str, port: int | None, open_browser: bool) -> Iterator[str]:
    """Serve a page as long as the context lasts; yields its address.

    Args:
        page: the result of `build_page`.
        host: address or name to listen on; "127.0.0.1" is this computer alone.
        port: number, or None for the first free one from 7860.
        open_browser: whether to show the page in the user's browser.

    Raises:
        InputError: the host is empty or not an address of this computer, or the port is taken.
    """
    _check_address(host.strip("[]"), port)
    if ":" in host:
        host = f"[{host.strip('[]')}]"  # IPv6 in a URL
    with _no_proxy_for(host):
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,  # of others than gr.Error: they name files of the server
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            footer_links=[],
            max_file_size=_MAX_UPLOAD,
            state_session_capacity=_MAX_VISITS,
        )
    try:
        yield address
    finally:
        page.close(verbose=False)


def _check_address(host: str, port: int | None) -> None:
    if not host.strip():
        # To some it means every address of this computer, which is not to be chosen by mistake.
        raise InputError(
            "the host is empty; expected an address or name, such as 127.0.0.1 (this computer alone)"
        )
    # Gradio would try a hundred ports, each for seconds, and then call them taken.
    place = host if port is None else f"{host}, port {port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as trial:
            if os.name == "posix":  # Windows would allow ports in use, others those just given back.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except UnicodeError as error:  # no name has an empty part, or one of more than 63 characters
        raise InputError(f"cannot listen on {place}: not a name or address of a computer") from error
    except OSError as error:
        raise InputError(f"cannot listen on {place}: {error.strerror}") from error


@contextmanager
def _no_proxy_for(host: str) -> Iterator[None]:
    """Have requests to a host sent directly: Gradio asks its own server whether it is up."""
    names = "no_proxy", "NO_PROXY"
    before = {name: os.environ.get(name) for name in names}
    direct = filter(None, (*before.values(), host.strip("[]"), "localhost"))
    os.environ.update(dict.fromkeys(names, ",".join(direct)))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
