"""Cross entropy with label smoothing (section 5.4) fused with the output layer.

The forward pass computes the gradients too, some rows at a time, so that the scores of the whole
vocabulary stay in the processor's cache and are computed once.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

ROWS = 256


class SmoothedCrossEntropy(torch.autograd.Function):
    """Mean smoothed loss and mean plain loss (without gradient) of `hidden @ weight.T + bias`."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        smoothing: float,
        low: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        """Products are computed in the type `low`, everything else in float32."""
        count, size = targets.shape[0], weight.shape[0]
        hidden_low, weight_low, bias_low = hidden.to(low), weight.to(low), bias.to(low)
        hidden_gradient = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight)
        bias_gradient = torch.zeros_like(bias)
        mean_scores = hidden @ weight.mean(dim=0) + bias.mean()
        plain_total, smoothed_total = hidden.new_zeros(()), hidden.new_zeros(())
        for start in range(0, count, ROWS):
            rows = slice(start, start + ROWS)
            index = targets[rows, None]
            scores = torch.addmm(bias_low, hidden_low[rows], weight_low.T)
            gradient = scores.softmax(dim=1, dtype=torch.float32)
            plain = -gradient.gather(1, index).log()
            uniform = plain + scores.gather(1, index) - mean_scores[rows, None]
            plain_total += plain.sum()
            smoothed_total += ((1 - smoothing) * plain + smoothing * uniform).sum()
            gradient.scatter_add_(1, index, torch.full_like(plain, smoothing - 1))
            gradient.sub_(smoothing / size)
            bias_gradient += gradient.sum(dim=0)
            gradient_low = gradient.to(low)
            hidden_gradient[rows] = (gradient_low @ weight_low).float()
            weight_gradient += gradient_low.T @ hidden_low[rows]
        ctx.save_for_backward(hidden_gradient, weight_gradient, bias_gradient)
        ctx.count = count
        plain_mean = plain_total / count
        ctx.mark_non_differentiable(plain_mean)
        return smoothed_total / count, plain_mean

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Scales the gradients of the forward pass."""
        hidden, weight, bias = ctx.saved_tensors
        scale = gradients[0] / ctx.count
        return hidden * scale, weight * scale, bias * scale, None, None, None
