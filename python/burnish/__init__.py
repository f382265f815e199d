"""Burnish compiles trained networks into self-contained native libraries, and runs them.

    import burnish
    burnish.compile("model.onnx").export("model.so")
    session = burnish.InferenceSession("model.so", threads=2)
    outputs = session.run(None, {"input": array})
"""

from typing import TYPE_CHECKING

from ._core import (
    DeviceArray,
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
    from ._compiler import (
        CompiledModel,
        ModelSummary,
        TunedTask,
        TunedTrial,
        TuneProgress,
        TuneResult,
        compile,
        inspect,
        records,
        tune,
    )

__all__ = [
    "CompiledModel",
    "DeviceArray",
    "Error",
    "InferenceSession",
    "InternalError",
    "Model",
    "ModelSummary",
    "TensorInfo",
    "ThreadPool",
    "TimeEvaluator",
    "TimeResult",
    "TuneProgress",
    "TuneResult",
    "TunedTask",
    "TunedTrial",
    "Unsupported",
    "UserError",
    "__version__",
    "compile",
    "inspect",
    "records",
    "tune",
]

_OF_THE_COMPILER = frozenset(
    {"CompiledModel", "ModelSummary", "TuneProgress", "TuneResult", "TunedTask", "TunedTrial", "compile", "inspect",
     "records", "tune"})


def __getattr__(name):
    """The compiler, which brings LLVM along, is loaded when it is first asked for."""
    if name in _OF_THE_COMPILER:
        from . import _compiler

        return getattr(_compiler, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
