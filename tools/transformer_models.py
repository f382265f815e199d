"""Two well-known transformers as ONNX graphs, node for node as PyTorch exports them: the sentence encoder MiniLM-L6
with its own weights, and the image classifier ViT-B/16 with random ones."""

import json
import math

import numpy as np
from onnx import TensorProto

from onnx_builder import Builder

TOKENS = 128
DTYPES = {"F32": np.float32, "I64": np.int64}


def read_safetensors(path):
    """The tensors of a file by name: a length, a header in JSON, bytes."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        first, end = entry["data_offsets"]
        array = np.frombuffer(data[start + first:start + end], DTYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return tensors


class Transformer(Builder):
    def constant(self, value, dtype=np.float32):
        return self.weight(np.array(value), dtype)

    def reshape(self, x, shape):
        return self.node("Reshape", [x, self.constant(shape, np.int64)])

    def transpose(self, x, perm):
        return self.node("Transpose", [x], perm=perm)

    def linear(self, x, weight, bias):
        """`weight`: outputs x inputs, as frameworks keep it; exporters transpose it and put the bias first."""
        return self.node("Add", [self.weight(bias), self.node("MatMul", [x, self.weight(weight.T)])])

    def layer_norm(self, x, scale, bias, epsilon):
        return self.node("LayerNormalization", [x, self.weight(scale), self.weight(bias)], axis=-1, epsilon=epsilon)

    def gelu(self, x):
        erf = self.node("Erf", [self.node("Div", [x, self.constant(math.sqrt(2))])])
        gate = self.node("Add", [erf, self.constant(1)])
        return self.node("Mul", [self.node("Mul", [x, gate]), self.constant(0.5)])

    def heads_joined(self, x, tokens, width):
        return self.reshape(self.transpose(x, [0, 2, 1, 3]), [1, tokens, width])


def minilm_l6(weights, config):
    """Wang et al. 2020: BERT's encoder with six layers, 384 channels. Inputs: token ids, mask, token types."""
    net = Transformer("minilm_l6", 0)
    width, heads = config["hidden_size"], config["num_attention_heads"]
    epsilon, head = config["layer_norm_eps"], width // heads

    def named(prefix, *kinds):
        return [weights[f"{prefix}.{kind}"] for kind in kinds or ("weight", "bias")]

    def norm(x, prefix):
        return net.layer_norm(x, *named(prefix + ".LayerNorm"), epsilon)

    mask = net.node("Unsqueeze", ["attention_mask", net.constant([1, 2], np.int64)])
    mask = net.node("Sub", [net.constant(1), net.node("Cast", [mask], to=TensorProto.FLOAT)])
    mask = net.node("Mul", [mask, net.constant(np.finfo(np.float32).min)])
    words = net.node("Gather", [net.weight(weights["embeddings.word_embeddings.weight"]), "input_ids"])
    kinds = net.node("Gather", [net.weight(weights["embeddings.token_type_embeddings.weight"]), "token_type_ids"])
    places = net.weight(weights["embeddings.position_embeddings.weight"][None, :TOKENS])
    x = norm(net.node("Add", [net.node("Add", [words, kinds]), places]), "embeddings")
    for layer in range(config["num_hidden_layers"]):
        at = f"encoder.layer.{layer}"

        def projected(kind, perm, x=x, at=at):
            y = net.linear(x, *named(f"{at}.attention.self.{kind}"))
            return net.transpose(net.reshape(y, [1, TOKENS, heads, head]), perm)

        query = projected("query", [0, 2, 1, 3])
        key, value = projected("key", [0, 2, 3, 1]), projected("value", [0, 2, 1, 3])
        scores = net.node("Div", [net.node("MatMul", [query, key]), net.constant(math.sqrt(head))])
        weight = net.node("Softmax", [net.node("Add", [scores, mask])], axis=-1)
        y = net.heads_joined(net.node("MatMul", [weight, value]), TOKENS, width)
        y = net.linear(y, *named(at + ".attention.output.dense"))
        x = norm(net.node("Add", [y, x]), at + ".attention.output")
        y = net.gelu(net.linear(x, *named(at + ".intermediate.dense")))
        y = net.linear(y, *named(at + ".output.dense"))
        x = norm(net.node("Add", [y, x]), at + ".output")
    net.nodes[-1].output[0] = "last_hidden_state"
    ids = (TensorProto.INT64, [1, TOKENS])
    return net.finished({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids},
                        {"last_hidden_state": (TensorProto.FLOAT, [1, TOKENS, width])})


def vit_b16(seed, size, classes=1000, width=768, heads=12, layers=12, patch=16):
    """Dosovitskiy et al. 2021: patches as tokens, a class token, norms first, queries, keys and values in one product."""
    net = Transformer("vit_b16", seed)
    tokens, head = (size // patch) ** 2 + 1, width // heads

    def linear(x, inputs, outputs, gain=1.0):
        return net.linear(x, net.normal((outputs, inputs), 0, gain * inputs**-0.5), net.normal((outputs,), 0, 0.1))

    def norm(x):
        return net.layer_norm(x, net.normal((width,), 1, 0.1), net.normal((width,), 0, 0.1), 1e-6)

    fan_in = 3 * patch * patch
    kernel = net.weight(net.normal((width, 3, patch, patch), 0, fan_in**-0.5))
    x = net.node("Conv", ["input", kernel, net.weight(net.normal((width,), 0, 0.1))], kernel_shape=[patch] * 2,
                 strides=[patch] * 2, pads=[0] * 4, dilations=[1, 1], group=1)
    x = net.transpose(net.reshape(x, [1, width, tokens - 1]), [0, 2, 1])
    x = net.node("Concat", [net.weight(net.normal((1, 1, width), 0, 1)), x], axis=1)
    x = net.node("Add", [x, net.weight(net.normal((1, tokens, width), 0, 0.2))])
    for _ in range(layers):
        y = net.reshape(linear(norm(x), width, 3 * width), [1, tokens, 3, heads, head])
        parts = net.node("Split", [net.transpose(y, [2, 0, 3, 1, 4]), net.constant([1, 1, 1], np.int64)], 3, axis=0)
        query, key, value = (net.node("Squeeze", [p, net.constant([0], np.int64)]) for p in parts)
        query = net.node("Mul", [query, net.constant(head**-0.5)])
        weight = net.node("Softmax", [net.node("MatMul", [query, net.transpose(key, [0, 1, 3, 2])])], axis=-1)
        y = net.heads_joined(net.node("MatMul", [weight, value]), tokens, width)
        x = net.node("Add", [x, linear(y, width, width, 0.5)])
        y = net.gelu(linear(norm(x), width, 4 * width))
        x = net.node("Add", [x, linear(y, 4 * width, width, 0.5)])
    x = net.node("Gather", [norm(x), net.constant(0, np.int64)], axis=1)
    net.node("Gemm", [x, net.weight(net.normal((classes, width), 0, width**-0.5)),
                      net.weight(net.normal((classes,), 0, 0.1))], transB=1)
    net.nodes[-1].output[0] = "logits"
    return net.finished({"input": (TensorProto.FLOAT, [1, 3, size, size])},
                        {"logits": (TensorProto.FLOAT, [1, classes])})
