"""Rebuild a ResNet from network.safetensors, which `der export` writes, with torch and safetensors alone."""

import json

import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import Tensor

with safe_open("network.safetensors", "pt") as file:
    form = json.loads(file.metadata()["input"])
    names, network = (json.loads(file.metadata()[key]) for key in ("class_names", "network"))
    weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def layer(x: Tensor, name: str, stride: int = 1) -> Tensor:
    weight = weights[f"{name}.conv.weight"]
    return F.conv2d(x, weight, weights[f"{name}.conv.bias"], stride, weight.shape[-1] // 2)


def shortcut(x: Tensor, name: str, stride: int) -> Tensor:
    if f"{name}.conv.weight" in weights:
        return layer(x, name, stride)
    if f"{name}.places" in weights:  # channels of the input, one more of zeros
        return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, 1))[:, weights[f"{name}.places"]]
    return x


def extract(x: Tensor, name: str) -> Tensor:
    large = network["stem"] == "large"
    x = layer(x, f"{name}.stem", 2 if large else 1).relu()
    x = F.max_pool2d(x, 3, 2, 1) if large else x
    blocks = sorted(
        {tuple(map(int, key.split(".")[3:5])) for key in weights if key.startswith(f"{name}.stages.")}
    )
    for stage, number in blocks:
        block, stride = f"{name}.stages.{stage}.{number}", 2 if stage and not number else 1
        y = layer(layer(x, f"{block}.first", stride).relu(), f"{block}.second")
        x = (y + shortcut(x, f"{block}.shortcut", stride)).relu()
    return x.mean((2, 3))


def classify(pixels: Tensor) -> Tensor:
    """Probabilities of images uint8 (batch, side, side, channels)."""
    x = (pixels / 255 - torch.tensor(form["mean"])) / torch.tensor(form["std"])
    extractors = sorted({int(key.split(".")[1]) for key in weights if key.startswith("extractors.")})
    features = torch.cat([extract(x.permute(0, 3, 1, 2), f"extractors.{one}") for one in extractors], dim=1)
    return F.linear(features, weights["head.weight"], weights.get("head.bias")).softmax(dim=1)
