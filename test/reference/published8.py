"""Creates published8.*: PyTorch's results for a tiny network with the options of the published CIFAR-10 network.

eps is larger than the published 1e-6, so that a wrong value changes the results. Usage: python3 published8.py
"""

import json
import math
import sys
from pathlib import Path

import torch
from torch import nn

here = Path(__file__).parent
sys.path.insert(0, str(here.parent / "bench"))
from peer import Block, UNet  # noqa: E402

options = {
    "normGroups": 2,
    "normEps": 1e-2,
    "heads": 1,
    "dropoutUnit": "element",
    "downsamplePadding": "after",
    "zeroInit": True,
    "dropout": 0.25,
}
arguments = {
    "input_channels": 1,
    "output_channels": 1,
    "num_res_blocks": 1,
    "base_channels": 4,
    "base_channels_multiples": [1, 1],
    "apply_attention": [False, True],
    "dropout_rate": options["dropout"],
    "time_multiple": 1,
}
optimizer = {"weightDecay": 0.05, "clipNorm": 0.1}
side, count = 8, 3


def write_safetensors(path, tensors):
    header, blob = {}, b""
    for name, tensor in tensors.items():
        data = tensor.detach().contiguous().float().numpy().tobytes()
        offsets = [len(blob), len(blob) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + blob)


def make():
    torch.manual_seed(8)
    network = UNet(
        {
            **options,
            "inputChannels": 1,
            "outputChannels": 1,
            "numResBlocks": 1,
            "baseChannels": 4,
            "channelMultiples": [1, 1],
            "attention": [False, True],
            "timeMultiple": 1,
            "timesteps": 1000,
        }
    )
    # Zero-initialized layers would hide the options of their branches. Therefore every parameter is random.
    for parameter in network.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    half = 2
    angles = torch.arange(1000)[:, None] * torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
    table = network.time_embeddings.time_blocks[0].weight
    table.data.copy_(torch.cat([angles.sin(), angles.cos()], 1))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    x0 = torch.rand(count, 1, side, side) * 2 - 1
    noise = torch.randn(count, 1, side, side)
    timestep = torch.tensor([0, 321, 999])
    bars = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[timestep]
    xt = bars.sqrt().float().view(-1, 1, 1, 1) * x0 + (1 - bars).sqrt().float().view(-1, 1, 1, 1) * noise
    out = {"x0": x0, "noise": noise, "timestep": timestep, "xt": xt, "epsilon": network(xt, timestep)}

    # The masks are stored in the order of the blocks, so that the tests can drop the same elements.
    masks = []

    def sample_mask(block, h):
        block.mask = (torch.rand(h.shape) >= options["dropout"]).float() / (1 - options["dropout"])
        masks.append(block.mask.flatten(1))

    blocks = [module for module in network.modules() if isinstance(module, Block)]
    hooks = [
        block.normalize_2.register_forward_hook(lambda _module, _inputs, h, block=block: sample_mask(block, h))
        for block in blocks
    ]
    network(xt, timestep)
    for hook in hooks:
        hook.remove()
    out["dropout"] = torch.cat(masks, 1)

    names, trained = zip(*[(n, p) for n, p in network.named_parameters() if p.requires_grad])
    average = [p.detach().clone() for p in trained]
    adam = torch.optim.AdamW(trained, 2e-3, weight_decay=optimizer["weightDecay"])
    losses = []
    for step in range(5):
        loss = ((network(xt, timestep) - noise) ** 2).mean()
        adam.zero_grad()
        loss.backward()
        if step == 0:
            out["loss"] = loss.reshape(1)
            out |= {f"grad.{n}": p.grad.clone() for n, p in zip(names, trained)}
        norm = nn.utils.clip_grad_norm_(trained, optimizer["clipNorm"])
        assert norm > optimizer["clipNorm"], norm
        adam.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for mean, parameter in zip(average, trained):
                mean.mul_(decay).add_(parameter, alpha=1 - decay)
        losses.append(loss.item())
    out["adam5_losses"] = torch.tensor(losses)
    out |= {f"adam5.{n}": p for n, p in zip(names, trained)}
    out |= {f"ema5.{n}": p for n, p in zip(names, average)}

    write_safetensors(here / "published8.weights.safetensors", weights)
    write_safetensors(here / "published8.case.safetensors", out)
    config = {**arguments, "options": options, "optimizer": optimizer}
    (here / "published8.config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    make()
