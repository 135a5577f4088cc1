"""`silence_exporters`: what is kept off the console, and for how long."""

import logging
import warnings

import pytest

from lxmert.inference.exporting.tracing import silence_exporters


def say_all() -> None:
    warnings.warn("for the developers of the exporter", FutureWarning, stacklevel=2)
    logging.getLogger("torch.onnx").warning("a note of the exporter")
    logging.getLogger().warning("Please consider to run pre-processing before quantization.")


def test_notes_of_exporters_are_silenced_only_inside(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with silence_exporters():
            say_all()
            logging.getLogger().warning("something else")
        assert [record.getMessage() for record in caplog.records] == ["something else"]
        assert not warned
        caplog.clear()
        say_all()
    assert len(caplog.records) == 2
    assert len(warned) == 1
