"""The web page of `lxmert serve`: a picture, the objects found in it, questions, answers and explanations.

Without Gradio (the extra `web`), importing it raises an error that names the `pip install`.
"""

from importlib.util import find_spec

from lxmert.errors import MissingExtraError

if find_spec("gradio") is None:
    raise MissingExtraError('the page needs Gradio, which is not installed: pip install "lxmert[web]"')
