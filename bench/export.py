"""Exports a network with PyTorch's ONNX exporter: reads network.json and weights.safetensors, writes torch.onnx."""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from peer import UNet, read_safetensors


class Exported(nn.Module):
    """The network with the inputs of this project's export: timesteps and labels are floats."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x, timestep, *label):
        return self.network(x, timestep.long(), *(value.long() for value in label))


def main(folder):
    task = json.loads((folder / "network.json").read_text())
    config = task["unet"]
    network = UNet(config)
    network.load_state_dict(read_safetensors(folder / "weights.safetensors"))
    # The network stays in training mode: in evaluation mode it uses a fused attention that cannot be exported to ONNX.
    # Without dropout both modes compute the same.
    names = ["x", "timestep"] + (["label"] if config["classes"] else [])
    inputs = [torch.zeros(2, config["inputChannels"], task["height"], task["width"])]
    inputs += [torch.zeros(2) for _ in names[1:]]
    with torch.no_grad():
        torch.onnx.export(
            Exported(network),
            tuple(inputs),
            str(folder / "torch.onnx"),
            input_names=names,
            output_names=["output"],
            dynamic_axes={name: {0: "N"} for name in [*names, "output"]},
            opset_version=17,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=True,
        )
    print(f"PyTorch {torch.__version__}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
