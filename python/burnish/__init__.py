"""Burnish compiles trained networks into self-contained native libraries, and runs them.

    import burnish
    burnish.compile("model.onnx").export("model.so")
    session = burnish.InferenceSession("model.so", threads=2)
    outputs = session.run(None, {"input": array})
"""

from typing import TYPE_CHECKING

from ._core import (
    Error,
    InferenceSession,
    InternalError,
    Model,
    TensorInfo,
    ThreadPool,
    TimeEvaluator,
    TimeResult,
    Unsupported,
    UserError,
    __version__,
)

if TYPE_CHECKING:
    from ._compiler import CompiledModel, ModelSummary, compile, inspect

__all__ = [
    "CompiledModel",
    "Error",
    "InferenceSession",
    "InternalError",
    "Model",
    "ModelSummary",
    "TensorInfo",
    "ThreadPool",
    "TimeEvaluator",
    "TimeResult",
    "Unsupported",
    "UserError",
    "__version__",
    "compile",
    "inspect",
]


def __getattr__(name):
    """The compiler, which brings LLVM along, is loaded when it is first asked for."""
    if name in ("CompiledModel", "ModelSummary", "compile", "inspect"):
        from . import _compiler

        return getattr(_compiler, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
