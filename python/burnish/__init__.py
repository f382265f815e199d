"""Burnish compiles trained networks into self-contained native libraries, and runs them.

    import burnish
    burnish.compile("model.onnx").export("model.so")
    session = burnish.InferenceSession("model.so", threads=2)
    outputs = session.run(None, {"input": array})
"""

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

__all__ = [
    "Error",
    "InferenceSession",
    "InternalError",
    "Model",
    "TensorInfo",
    "ThreadPool",
    "TimeEvaluator",
    "TimeResult",
    "Unsupported",
    "UserError",
    "__version__",
]
