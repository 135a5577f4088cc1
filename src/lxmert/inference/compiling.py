"""Compiled parts of a model, with the weights in the layout that the processor prefers.

On a CPU the code is compiled ahead of time into a file, which the next process loads in seconds; on other
devices each process compiles its own. Source: the documentation of `torch.export` and of `torch.compile`.
"""

import logging
import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import lxmert.model
from lxmert import cpu
from lxmert.downloads import CACHE_VARIABLE, cache_folder
from lxmert.errors import ConfigurationError, first_line
from lxmert.inference.compiled_code import SUFFIX, is_trusted, load_code, lock_folder, write_code
from lxmert.inference.fused_products import has_hooks

logger = logging.getLogger(__name__)

TYPICAL_SIZES = {"B": 40, "N": 41, "W": 9, "O": 36}
"""The layout of the weights is chosen for batches of these sizes. All are different, and none is 1: otherwise
the code would be specialised to equal sizes."""

_COMPILE_LOCK = Lock()
"""Compilers change the environment of the process, and code is loaded once."""

Shapes = Mapping[str, tuple[int | str, ...]]


_KNOWN_PACKAGES = ("lxmert", "torch", "transformers")
"""Their layers are determined by versions, names and weights; those of others, such as adapters, are not."""


class CompiledPart:
    """A module of one output, compiled at its first call.

    On a CPU its code is kept as a file, unless it has layers of other packages or hooks.

    Args:
        part: in evaluation mode; its weights must not change any more.
        name: name of the part in messages and in its file name.
        cache_key: describes what the code depends on besides torch and `lxmert`: configuration, weights.
            Called only if the code is kept as a file.
        shapes: shape of each argument of `forward`, in order, with B, N, W or O for a dynamic size.
        max_sizes: upper bounds of dynamic sizes that have one.
    """

    def __init__(
        self,
        part: nn.Module,
        name: str,
        cache_key: Callable[[], str],
        shapes: Shapes,
        max_sizes: Mapping[str, int],
    ) -> None:
        self._part = part
        self._name = name
        self._cache_key = cache_key
        self._shapes = shapes
        self._max_sizes = max_sizes
        self._code: dict[torch.device, Callable[..., Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # Loaded code cannot be copied; a copy loads it again.
        return {**self.__dict__, "_code": {}}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the part on tensors.

        Raises:
            ConfigurationError: it cannot be compiled here.
        """
        device = inputs[0].device
        if device not in self._code:
            with _COMPILE_LOCK:
                if device not in self._code:
                    is_cached = device.type == "cpu" and is_cacheable(self._part)
                    self._code[device] = (
                        self._code_from_file(inputs)
                        if is_cached
                        else compile_in_process(self._part, self._name)
                    )
        return self._code[device](*inputs)

    def _code_from_file(self, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
        folder = cache_folder() / "compiled"
        path = folder / f"{self._name.replace(' ', '-')}-{self._fingerprint()}{SUFFIX}"
        code = self._load_cached(path)
        if code is not None:
            return code
        try:
            with lock_folder(folder):
                code = self._load_cached(path)  # Another process may have compiled it meanwhile.
                if code is None:
                    logger.info("compiling the %s for this processor; cached in %s", self._name, folder)
                    write_code(path, self._export(inputs))
                    code = load_code(path)
                return code
        except OSError as error:
            raise ConfigurationError(
                f"compiled code cannot be stored in {folder} ({error}); set {CACHE_VARIABLE} to a folder "
                "of your own"
            ) from error
        except Exception as error:  # Compilers raise many kinds of errors.
            raise _compile_error(self._name, error, f"a C++ compiler, and free space in {folder}") from error

    @staticmethod
    def _load_cached(path: Path) -> Callable[..., Tensor] | None:
        """Load the code of a file; None if there is none, it is not trusted, or it is damaged and removed."""
        if not path.exists():
            return None
        if not (is_trusted(path.parent) and is_trusted(path)):
            logger.warning("%s is ignored because other users can write to it", path)
            return None
        try:
            return load_code(path)
        except RuntimeError as error:
            logger.warning("%s cannot be loaded (%s); it is compiled again", path, first_line(error))
            path.unlink(missing_ok=True)
            return None

    def _export(self, inputs: tuple[Tensor, ...]) -> ExportedProgram:
        names = {size for shape in self._shapes.values() for size in shape if isinstance(size, str)}
        axes = {name: Dim(name, min=1, max=self._max_sizes.get(name)) for name in names}
        dynamic = {
            tensor: {place: axes[size] for place, size in enumerate(shape) if isinstance(size, str)}
            for tensor, shape in self._shapes.items()
        }
        examples = tuple(
            self._example_input(tensor, shape)
            for tensor, shape in zip(inputs, self._shapes.values(), strict=True)
        )
        with torch.no_grad():
            return torch.export.export(self._part, examples, dynamic_shapes=dynamic, strict=False)

    def _example_input(self, like: Tensor, shape: tuple[int | str, ...]) -> Tensor:
        """Make a tensor of typical size, with the dtype and device of `like`."""
        sizes = {name: min(size, self._max_sizes.get(name, size)) for name, size in TYPICAL_SIZES.items()}
        return like.new_zeros([sizes[size] if isinstance(size, str) else size for size in shape])

    def _fingerprint(self) -> str:
        """Hash everything that the code and the weights in the file depend on."""
        digest = sha256()
        for fact in (
            self._cache_key(),
            repr(self._part),  # The kinds of its layers.
            repr(self._shapes),
            str(torch.get_num_threads()),  # Loops are split for this many.
            torch.__version__,
            cpu.describe_capabilities(),
        ):
            digest.update(fact.encode() + b"\0")
        for package in (Path(__file__).parent, Path(lxmert.model.__path__[0])):
            for source in sorted(package.glob("*.py")):
                digest.update(source.read_bytes())
        return digest.hexdigest()[:32]


def is_cacheable(part: nn.Module) -> bool:
    """Whether a module is determined by package versions, kinds of layers and weights."""
    return all(
        type(module).__module__.partition(".")[0] in _KNOWN_PACKAGES and not has_hooks(module)
        for module in part.modules()
    )


def _compile_error(name: str, error: Exception, needs: str) -> ConfigurationError:
    return ConfigurationError(
        f"the {name} cannot be compiled here ({_error_cause(error)}). It needs {needs}; models can be used "
        "without compilation as well"
    )


def _error_cause(error: Exception) -> str:
    """Return the cause in one line: of a C++ compiler's output, the first line that reports an error."""
    match = re.search(r"^.*(?:error: |No space left).*$", str(error), re.MULTILINE)
    return match[0].strip() if match else first_line(error)


def compile_in_process(part: nn.Module, name: str = "model") -> Callable[..., Tensor]:
    """Return a module as a function that this process compiles at its first call, with its weights frozen.

    Args:
        part: see `CompiledPart`.
        name: name of the part in messages.
    """
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor import config

    compiled = torch.compile(part, dynamic=True)

    def call(*inputs: Tensor) -> Tensor:
        # Not an option of `torch.compile`: its front end reads only the global setting (torch 2.13).
        with config.patch(freezing=True):
            try:
                result: Tensor = compiled(*inputs)
            except TorchDynamoException as error:
                raise _compile_error(name, error, "a C++ compiler and, on a GPU, Triton") from error
        return result

    return call
