"""Creates hybrid8.*: PyTorch's results for L_hybrid (Nichol & Dhariwal 2021, eq. 16) on a tiny network with learned variances.

The KL divergences of the Gaussians are computed by torch.distributions. Usage: python3 hybrid8.py
"""

import json
import math

import torch
from published8 import UNet, here, write_safetensors
from torch.distributions import Normal, kl_divergence

options = {"normGroups": 2, "heads": 1, "dropout": 0.0, "zeroInit": False}
arguments = {
    "input_channels": 1,
    "output_channels": 2,
    "num_res_blocks": 1,
    "base_channels": 4,
    "base_channels_multiples": [1],
    "apply_attention": [False],
    "dropout_rate": 0.0,
    "time_multiple": 1,
}
side, T = 8, 1000


def normal_cdf(x):
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def byte_nats(x0, p):
    above = normal_cdf((x0 + 1 / 255 - p.mean) / p.stddev)
    below = normal_cdf((x0 - 1 / 255 - p.mean) / p.stddev)
    inner = torch.where(x0 > 0.999, 1 - below, above - below)
    return -torch.where(x0 < -0.999, above, inner).clamp(min=1e-12).log()


def hybrid(network, x0, noise, timestep):
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    bars = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    tilde = betas * (1 - before) / (1 - bars)
    tilde[0] = tilde[1]
    at = lambda table: table[timestep].float().view(-1, 1, 1, 1)  # noqa: E731
    xt = at(bars.sqrt()) * x0 + at((1 - bars).sqrt()) * noise
    whole = network(xt, timestep)
    epsilon, v = whole.chunk(2, 1)
    simple = ((epsilon - noise) ** 2).mean()

    # Mean of p from the predicted noise (DDPM eq. 11), detached; mean of q by eq. 7.
    mean = (xt - at(betas / (1 - bars).sqrt()) * epsilon.detach()) / at((1 - betas).sqrt())
    wanted = at(betas * before.sqrt() / (1 - bars)) * x0 + at((1 - before) * (1 - betas).sqrt() / (1 - bars)) * xt
    fraction = (v + 1) / 2
    log_variance = fraction * at(betas.log()) + (1 - fraction) * at(tilde.log())
    p, q = Normal(mean, (log_variance / 2).exp()), Normal(wanted, at(tilde.sqrt()))
    first = (timestep == 0).view(-1, 1, 1, 1)
    terms = torch.where(first, byte_nats(x0, p), kl_divergence(q, p)).flatten(1).mean(1) / math.log(2)
    return simple + 0.001 * T * terms.mean(), xt, whole


def make():
    torch.manual_seed(16)
    config = {**options, "downsamplePadding": "around", "normEps": 1e-5, "inputChannels": 1, "outputChannels": 2}
    config |= {"numResBlocks": 1, "baseChannels": 4, "channelMultiples": [1], "attention": [False], "timeMultiple": 1}
    network = UNet({**config, "timesteps": T})
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    angles = torch.arange(T)[:, None] * torch.exp(torch.arange(2) * -math.log(10000))
    network.time_embeddings.time_blocks[0].weight.data.copy_(torch.cat([angles.sin(), angles.cos()], 1))
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    # Byte values including the lowest and the highest; timesteps of both kinds of terms.
    timestep = torch.tensor([0, 1, 40, 999])
    x0 = torch.randint(0, 256, (len(timestep), 1, side, side)) / 127.5 - 1
    x0[:, :, 0], x0[:, :, 1] = -1, 1
    noise = torch.randn(x0.shape)
    out = {"x0": x0, "noise": noise, "timestep": timestep}
    names, trained = zip(*[(n, p) for n, p in network.named_parameters() if p.requires_grad])
    adam = torch.optim.Adam(trained, 2e-3)
    losses = []
    for step in range(5):
        loss, xt, whole = hybrid(network, x0, noise, timestep)
        adam.zero_grad()
        loss.backward()
        if step == 0:
            out |= {"xt": xt, "epsilon": whole, "loss": loss.reshape(1)}
            out |= {f"grad.{n}": p.grad.clone() for n, p in zip(names, trained)}
        adam.step()
        losses.append(loss.item())
    out["adam5_losses"] = torch.tensor(losses)
    out |= {f"adam5.{n}": p for n, p in zip(names, trained)}
    write_safetensors(here / "hybrid8.weights.safetensors", weights)
    write_safetensors(here / "hybrid8.case.safetensors", out)
    (here / "hybrid8.config.json").write_text(json.dumps({**arguments, "options": options}, indent=2) + "\n")


make()
