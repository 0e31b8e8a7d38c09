"""The network for inference: normalization goes into the convolutions beside it, and what follows them into one pass.

A normalization in evaluation mode is a scale and a shift. Behind a convolution it becomes part of the convolution's
weights. Before one, with a ReLU between, only a bound stays: relu(s x + b) = s (max(x, -b / s) + b / s) for s > 0,
and with `min` for s < 0, where the outer scale and shift go into the 1x1 convolutions that read it.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from .layers import AttentionModule, DropPath, Hourglass, Merge, SoftMaskBranch, Unit

TRACED = (nn.Sequential, Unit, AttentionModule, Hourglass, SoftMaskBranch)
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
IDLE = (nn.Identity, DropPath, nn.Dropout)  # in evaluation mode


class Bound(nn.Module):
    """Holds the values of each channel between two: all that is left of a normalization and its ReLU.

    Args:
        low: (C,), minus infinity where there is none.
        high: (C,), infinity where there is none.
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer('low', low.view(1, -1, 1, 1))
        self.register_buffer('high', high.view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.clamp(x, self.low, self.high)


class FoldedConv(nn.Conv2d):
    """A convolution, and what becomes of its output: at once where the library of this CPU can.

    Args:
        conv: The convolution.

    Attributes:
        relu: Whether a ReLU follows.
        owned: Whether the map that the output is added to may be written over: it is read by no one else.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        shape = (conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation)
        super().__init__(*shape, conv.groups, device='meta')
        self.weight, self.bias = conv.weight, nn.Parameter(bias_of(conv).to(conv.weight.dtype))
        self.relu = self.owned = False
        self._packed: tuple | None = None

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        weight = self.weight
        if not torch.jit.is_scripting():  # noqa: SIM102 - TorchScript reads the rest otherwise
            if self._called_at_once(x):
                if x.device.type == 'cpu':
                    return self._fused(x, other)
                weight = self._ordered(x)
        y = F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        if other is not None:
            return other + y
        return F.relu(y) if self.relu else y

    @torch.jit.unused
    def _called_at_once(self, x: Tensor) -> bool:
        """Whether what a library offers can be called by itself, where no gradient flows and no graph is made."""
        return (
            type(x) is Tensor  # no stand-in of an exporter
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
            and not torch.is_autocast_enabled(x.device.type)
            and (x.device.type == 'cuda' or (x.device.type == 'cpu' and x.dtype == torch.float32 and onednn()))
        )

    @torch.jit.unused
    def _fused(self, x: Tensor, other: Tensor | None) -> Tensor:
        args = x, self._ordered(x), self.bias, self.padding, self.stride, self.dilation, self.groups
        if other is None:
            return torch.ops.mkldnn._convolution_pointwise(*args, 'relu' if self.relu else 'none', [], '')
        other = other if self.owned else other.clone()
        return torch.ops.mkldnn._convolution_pointwise_.binary(other, *args, 'add', None, None, [], None)

    @torch.jit.unused
    def _ordered(self, x: Tensor) -> Tensor:
        """The weights as the device's library orders them, which it would otherwise do anew in each call."""
        weight = self.weight.detach()
        now = weight.data_ptr(), 0 if weight.is_inference() else self.weight._version
        if self._packed is None or self._packed[0] != now:
            if x.device.type == 'cpu':
                order = torch._C._nn.mkldnn_reorder_conv2d_weight
                plain = weight.contiguous().to_mkldnn()
                packed = order(plain, self.padding, self.stride, self.dilation, self.groups, x.shape)
            else:
                packed = weight.contiguous(memory_format=torch.channels_last)
            self._packed = now, packed
        return self._packed[1]

    def __getstate__(self) -> dict:
        return {**self.__dict__, '_packed': None}


def onednn() -> bool:
    return torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled


# The transformation -------------------------------------------------------------------------------------


def deploy(model: nn.Module) -> nn.Module:
    """Turn the network in a model into its deploy form, in place; see `RANetFeatures.switch_to_deploy`.

    Args:
        model: A model of timm or of OpenMMLab that has such a network.

    Returns:
        The model.

    Raises:
        ValueError: It has none.
    """
    networks = [part for part in model.modules() if hasattr(part, 'switch_to_deploy')]
    if not has_deploy_form(model):
        raise ValueError(f'model of type {type(model).__name__} is not allowed: it has no part with a deploy form')
    for network in networks:
        network.switch_to_deploy()
    return model.eval()


def has_deploy_form(model: nn.Module) -> bool:
    return any(hasattr(part, 'switch_to_deploy') for part in model.modules())


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return not isinstance(m, TRACED)


@torch.no_grad()
def folded(part: nn.Module) -> fx.GraphModule:
    """A part of the network in deploy form; `part` itself stays as it is."""
    part = copy.deepcopy(part).eval()
    graph = fx.GraphModule(part, _Tracer().trace(part))
    for node, _ in calls(graph, IDLE):
        bypass(graph, node)
    for change in (norms_behind, norms_before, activations, sums):
        change(graph)
    graph.delete_all_unused_submodules()
    graph.recompile()
    return graph.requires_grad_(False).eval()


def norms_behind(graph: fx.GraphModule) -> None:
    """Fold normalizations into the convolutions whose output they alone read; every convolution gets a shift."""
    for node, conv in calls(graph, (nn.Conv2d,)):
        graph.add_submodule(node.target, FoldedConv(conv))
    for node, norm in calls(graph, NORMS):
        conv, values = module(graph, node.args[0], (FoldedConv,)), affine(norm)
        if conv is not None and values is not None and len(node.args[0].users) == 1:
            scale, shift = values
            weight = conv.weight.double() * scale.view(-1, 1, 1, 1)
            set_values(conv, weight, conv.bias.double() * scale + shift)
            bypass(graph, node)


def norms_before(graph: fx.GraphModule) -> None:
    """Leave a bound of a normalization and its ReLU, where all that read it are 1x1 convolutions."""
    for node, norm in calls(graph, NORMS):
        values, relus = affine(norm), [user for user in node.users if module(graph, user, (nn.ReLU,))]
        if values is None or not relus or len(node.users) > 1:
            continue
        convs = [module(graph, user, (FoldedConv,)) for user in relus[0].users]
        if convs and all(conv is not None and conv.kernel_size == (1, 1) and conv.groups == 1 for conv in convs):
            scale, shift = values
            for conv in convs:
                take_over(conv, scale, shift)
            graph.add_submodule(node.target, bound(scale, shift, norm.running_mean.dtype))
            bypass(graph, relus[0])


def take_over(conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> None:
    """Have a 1x1 convolution do the scale and shift of its input, which is bounded instead of passed through a ReLU."""
    weight = conv.weight.double()
    constant = weight[..., 0, 0] @ torch.where(scale == 0, shift.relu(), shift)
    set_values(conv, weight * scale.view(1, -1, 1, 1), conv.bias.double() + constant)


def bound(scale: Tensor, shift: Tensor, dtype: torch.dtype) -> Bound:
    """At `turn` the scaled and shifted value is 0, and a ReLU cuts what is below or, scaled by less than 0, above."""
    turn, infinite = torch.where(scale == 0, 0, -shift / scale), torch.full_like(shift, float('inf'))
    return Bound(torch.where(scale >= 0, turn, -infinite).to(dtype), torch.where(scale <= 0, turn, infinite).to(dtype))


def activations(graph: fx.GraphModule) -> None:
    """Join a ReLU with the convolution whose output it alone reads."""
    for node, _ in calls(graph, (nn.ReLU,)):
        conv = module(graph, node.args[0], (FoldedConv,))
        if conv is not None and len(node.args[0].users) == 1:
            conv.relu = True
            bypass(graph, node)


def sums(graph: fx.GraphModule) -> None:
    """Join a sum with the convolution whose output it alone reads."""
    order = {node: place for place, node in enumerate(graph.graph.nodes)}
    for node in [n for n in order if n.target is operator.add and len(n.all_input_nodes) == 2]:
        for term, other in (node.args[::-1], node.args):
            conv = module(graph, term, (FoldedConv,))
            if conv is None or conv.relu or len(term.args) > 1 or len(term.users) > 1:
                continue
            conv.owned = made_here(graph, other) and all(order[user] <= order[node] for user in other.users)
            with graph.graph.inserting_before(node):
                joined = graph.graph.call_module(term.target, (*term.args, other))
            order[joined] = order[node]
            node.replace_all_uses_with(joined)
            graph.graph.erase_node(node)
            graph.graph.erase_node(term)
            break


def made_here(graph: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node makes a map of its own: the input is the caller's, and others may hand theirs on."""
    return node.op == 'call_function' or module(graph, node, (FoldedConv, Bound, Merge)) is not None


def calls(graph: fx.GraphModule, kinds: tuple[type, ...]) -> Iterator[tuple[fx.Node, nn.Module]]:
    """The nodes that call a module of these very kinds, and the module."""
    for node in list(graph.graph.nodes):
        found = module(graph, node, kinds)
        if found is not None:
            yield node, found


def module(graph: fx.GraphModule, node: fx.Node, kinds: tuple[type, ...]) -> nn.Module | None:
    found = graph.get_submodule(node.target) if node.op == 'call_module' else None
    return found if type(found) in kinds else None


def bypass(graph: fx.GraphModule, node: fx.Node) -> None:
    """Take out a node of one input."""
    node.replace_all_uses_with(node.args[0])
    graph.graph.erase_node(node)


def affine(norm: _BatchNorm) -> tuple[Tensor, Tensor] | None:
    """Scale and shift of each channel in double precision; None where each batch has its own."""
    if norm.running_mean is None or norm.running_var is None:
        return None
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        scale, shift = scale * norm.weight.double(), shift * norm.weight.double() + norm.bias.double()
    return scale, shift


def set_values(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    conv.weight = nn.Parameter(weight.to(conv.weight))
    conv.bias = nn.Parameter(bias.to(conv.bias))


def bias_of(conv: nn.Conv2d) -> Tensor:
    return conv.weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias
