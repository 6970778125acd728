"""EfficientNet-lite0 as an ONNX graph in memory, from its trained numbers.

The network is TensorFlow's (tensorflow/tpu, efficientnet/lite): a stem, sixteen blocks of expanding, depthwise
and projecting convolutions, a head, mean pooling, one linear layer; ReLU6 throughout, no squeeze and excitation,
and TensorFlow's padding "SAME", which puts the odd pixel at the end. Each batch norm is folded into the
convolution before it. Widths and kernel sizes are read off the weights; only the strides are not in them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from .weights import Weights, WeightsError

SIDE = 224
"""Height and width of the input, pixels."""

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
"""Of each block's depthwise convolution."""

CENTRE, SPREAD = 127.0, 128.0
"""A pixel p is seen as (p - CENTRE) / SPREAD (efficientnet_lite_builder.py: MEAN_RGB, STDDEV_RGB)."""

EPSILON = 1e-3
"""Of the batch norms (efficientnet_builder.py: batch_norm_epsilon)."""

OPSET, IR_VERSION = 13, 7
"""Of 2020: nothing newer is needed, and every onnxruntime since 1.6 reads it."""

OUTPUTS = {"scores": [1, 1000], "features": [1, 1280], "map": [1, 1280, 7, 7]}
"""Names and shapes."""


def build(weights: Weights) -> bytes:
    """The serialized model: `image` (1 x SIDE x SIDE x 3, uint8, RGB) to the three outputs, all float32.

    `scores` are the classes' probabilities, `features` the mean of `map` over its cells. WeightsError if
    the arrays are not those of the network.
    """
    graph = _Graph(weights)
    try:
        graph.network()
    except (KeyError, ValueError) as exc:
        raise WeightsError(f"these are no weights of EfficientNet-lite0: {exc}") from exc
    return graph.serialized()


class _Graph:
    """Nodes and constants as they gather; a node and the one value it makes share a name."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._model = ModelProto(ir_version=IR_VERSION, opset_import=[helper.make_opsetid("", OPSET)])
        self._graph = self._model.graph  # filled in place: `helper.make_graph` and `make_model` each copy it whole
        self._graph.name = "efficientnet-lite0"
        self._graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIDE, SIDE, 3]))
        for name, shape in OUTPUTS.items():
            self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def network(self) -> None:
        """Everything from `image` to `scores`."""
        self._constant("zero", 0.0)
        self._constant("six", 6.0)
        value = self._relu6(self._convolution(self._normalised("image"), "_conv_stem", "_bn0", stride=2))
        for number, stride in enumerate(STRIDES):
            value = self._block(value, f"_blocks.{number}.", stride)
        self._relu6(self._convolution(value, "_conv_head", "_bn1"), name="map")
        self._node("GlobalAveragePool", "map", name="mean")
        self._node("Flatten", "mean", name="features")
        linear = [self._constant(name, self._weights[name]) for name in ("_fc.weight", "_fc.bias")]
        self._node("Gemm", "features", *linear, name="logits", transB=1)
        self._node("Softmax", "logits", name="scores", axis=1)

    def serialized(self) -> bytes:
        """The model as `onnxruntime.InferenceSession` takes it."""
        return bytes(self._model.SerializeToString())

    def _node(self, kind: str, *inputs: str, name: str, **attributes: Any) -> str:
        node = helper.make_node(kind, inputs, [name], name)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self._graph.node.append(node)
        return name

    def _constant(self, name: str, value: NDArray[Any] | float) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value, np.float32, order="C"), name))
        return name

    def _normalised(self, image: str) -> str:
        pixels = self._node("Cast", image, name="pixels", to=TensorProto.FLOAT)
        planes = self._node("Transpose", pixels, name="planes", perm=[0, 3, 1, 2])
        centred = self._node("Sub", planes, self._constant("centre", CENTRE), name="centred")
        return self._node("Div", centred, self._constant("spread", SPREAD), name="normalised")

    def _block(self, value: str, name: str, stride: int) -> str:
        """One block; where what comes out has the shape of what went in, that is added."""
        inner = value
        if f"{name}_expand_conv.weight" in self._weights:  # all but the first
            inner = self._relu6(self._convolution(inner, f"{name}_expand_conv", f"{name}_bn0"))
        inner = self._relu6(self._convolution(inner, f"{name}_depthwise_conv", f"{name}_bn1", stride=stride))
        inner = self._convolution(inner, f"{name}_project_conv", f"{name}_bn2")
        return self._node("Add", inner, value, name=f"{name}sum") if self._keeps_shape(name, stride) else inner

    def _keeps_shape(self, name: str, stride: int) -> bool:
        expand, project = f"{name}_expand_conv.weight", f"{name}_project_conv.weight"
        if stride != 1 or expand not in self._weights:
            return False
        return bool(self._weights[expand].shape[1] == self._weights[project].shape[0])

    def _convolution(self, value: str, layer: str, norm: str, *, stride: int = 1) -> str:
        """A convolution and its batch norm in one; it is depthwise if its kernels look at one channel."""
        kernel = self._weights[f"{layer}.weight"]
        scale, shift, mean, variance = (
            self._weights[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + np.float32(EPSILON))
        folded = self._constant(f"{layer}.kernel", kernel * factor.reshape(-1, 1, 1, 1))
        bias = self._constant(f"{layer}.bias", shift - mean * factor)
        groups = len(kernel) if kernel.shape[1] == 1 else 1
        padding = {"auto_pad": "SAME_UPPER", "strides": [stride, stride]}
        return self._node("Conv", value, folded, bias, name=layer, group=groups, **padding)

    def _relu6(self, value: str, *, name: str = "") -> str:
        return self._node("Clip", value, "zero", "six", name=name or f"{value}.relu6")
