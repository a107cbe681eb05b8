"""PyTorch's side of the training benchmark: the same network, trained eagerly or compiled. Follows the protocol of contender.ts."""

import json
import platform
import re
import resource
import signal
import sys
import time
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F


def norm(config, channels):
    return nn.GroupNorm(config["normGroups"], channels, config["normEps"])


def conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1)


class Attention(nn.Module):
    def __init__(self, config, channels):
        super().__init__()
        self.group_norm = norm(config, channels)
        self.mhsa = nn.MultiheadAttention(channels, config["heads"], batch_first=True)

    def forward(self, x):
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)
        mixed, _ = self.mhsa(pixels, pixels, pixels, need_weights=False)
        return x + mixed.transpose(1, 2).reshape(x.shape)


class Block(nn.Module):
    mask = None  # dropout mask: [N, C, 1, 1] or [N, C, H, W]

    def __init__(self, config, inputs, outputs, embedding, attention):
        super().__init__()
        self.normalize_1, self.conv_1 = norm(config, inputs), conv3(inputs, outputs)
        self.dense_1 = nn.Linear(embedding, outputs)
        self.normalize_2, self.conv_2 = norm(config, outputs), conv3(outputs, outputs)
        self.match_input = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)
        self.attention = Attention(config, outputs) if attention else nn.Identity()

    def forward(self, x, embedding):
        h = self.conv_1(F.silu(self.normalize_1(x))) + self.dense_1(embedding)[:, :, None, None]
        h = F.silu(self.normalize_2(h))
        h = self.conv_2(h if self.mask is None else h * self.mask)
        return self.attention(h + self.match_input(x))


class PadAfter(nn.Conv2d):
    """Convolution with zero padding at the right and bottom only."""

    def forward(self, x):
        return super().forward(F.pad(x, (0, 1, 0, 1)))


def halve(config, channels):
    if config["downsamplePadding"] == "after":
        return (PadAfter(channels, channels, 3, stride=2),)
    return (conv3(channels, channels, stride=2),)


def named(name, *layers):
    """Names the parameters of layers `name` and their number. A single layer is only called `name`."""
    inside = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    return nn.Sequential(OrderedDict([(name, inside)]))


class UNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        base, blocks = config["baseChannels"], config["numResBlocks"]
        embedding = base * config["timeMultiple"]
        levels = [(base * m, a) for m, a in zip(config["channelMultiples"], config["attention"])]
        table = nn.Embedding.from_pretrained(torch.zeros(config["timesteps"], base))
        mlp = nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding)
        self.time_embeddings = named("time_blocks", table, *mlp)
        # The last row is "no class".
        self.class_embedding = nn.Embedding(config["classes"] + 1, embedding) if config["classes"] else None
        self.first = conv3(config["inputChannels"], base)

        h, skips = base, [base]
        self.encoder_blocks = nn.ModuleList()
        for level, (channels, attention) in enumerate(levels):
            for _ in range(blocks):
                self.encoder_blocks.append(Block(config, h, channels, embedding, attention))
                h = channels
                skips.append(h)
            if level < len(levels) - 1:
                self.encoder_blocks.append(named("downsample", *halve(config, h)))
                skips.append(h)
        self.bottleneck_blocks = nn.ModuleList(Block(config, h, h, embedding, a) for a in (True, False))
        self.decoder_blocks = nn.ModuleList()
        for level, (channels, attention) in reversed(list(enumerate(levels))):
            for _ in range(blocks + 1):
                self.decoder_blocks.append(Block(config, h + skips.pop(), channels, embedding, attention))
                h = channels
            if level > 0:
                self.decoder_blocks.append(named("upsample", nn.Upsample(scale_factor=2), conv3(h, h)))
        self.final = nn.Sequential(norm(config, h), nn.SiLU(), conv3(h, config["outputChannels"]))

    def forward(self, x, timestep, label=None):
        embedding = self.time_embeddings(timestep)
        if label is not None:
            embedding = embedding + self.class_embedding(label)
        embedding = F.silu(embedding)
        h = self.first(x)
        skips = [h]
        for layer in self.encoder_blocks:
            h = layer(h, embedding) if isinstance(layer, Block) else layer(h)
            skips.append(h)
        for layer in self.bottleneck_blocks:
            h = layer(h, embedding)
        for layer in self.decoder_blocks:
            h = layer(torch.cat([h, skips.pop()], 1), embedding) if isinstance(layer, Block) else layer(h)
        return self.final(h)


def trainer(task, weights, layout, mode, device, precision):
    """Returns a function that runs one training step on a batch and returns the loss, and one that evaluates the network."""
    network = UNet(task["unet"])
    network.load_state_dict(weights)
    network.to(device, memory_format=layout)
    trained = [p for p in network.parameters() if p.requires_grad]
    mixed = lambda: torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")
    ema = [p.detach().clone() for p in trained]
    betas = task["adam"]["beta1"], task["adam"]["beta2"]
    if mode == "compile":
        network = torch.compile(network)
    adam = torch.optim.Adam(trained, task["learningRate"], betas, task["adam"]["eps"])

    def step(x0, noise, timestep, coefficients):
        x0, noise, timestep, coefficients = (v.to(device) for v in (x0, noise, timestep, coefficients))
        signal, sigma, target_signal, target_noise, weight = coefficients.T.reshape(5, -1, 1, 1, 1)
        xt = (signal * x0 + sigma * noise).contiguous(memory_format=layout)
        with mixed():
            output = network(xt, timestep.long())
        output = output.float()
        loss = (weight * (output - target_signal * x0 - target_noise * noise) ** 2).mean()
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(trained, task["clipNorm"])
        adam.step()
        with torch.no_grad():
            torch._foreach_mul_(ema, task["emaDecay"])
            torch._foreach_add_(ema, trained, alpha=1 - task["emaDecay"])
        return loss.item()

    @torch.no_grad()
    def predict(images):
        shape = images, task["unet"]["inputChannels"], task["height"], task["width"]
        x = torch.full(shape, 0.5, device=device).contiguous(memory_format=layout)
        with mixed():
            # Copied to the CPU, like the values of the other side.
            return network(x, torch.full((images,), 500, device=device)).float().cpu()

    return step, predict


def read_safetensors(path):
    data = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    floats = torch.frombuffer(data, dtype=torch.float32, offset=start)
    return {
        name: floats[entry["data_offsets"][0] // 4 : entry["data_offsets"][1] // 4].view(entry["shape"])
        for name, entry in json.loads(data[8:start]).items()
    }


def blas():
    """Returns the BLAS library in use. The system may replace the one that PyTorch was built with."""
    maps = Path("/proc/self/maps")
    files = set(re.findall(r"/\S+", maps.read_text())) if maps.exists() else set()
    shared = [f for f in files if re.search(r"/lib\w*(blas|blis|mkl_rt)", f) and "numpy" not in f]
    built = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    names = sorted("/".join(f.split("/")[-2:]) for f in shared)
    return ", ".join(names) or (built[1] if built else "unknown")


def write(value):
    print(json.dumps(value), flush=True)


def timed(function, *args):
    start = time.perf_counter()
    result = function(*args)
    return result, 1000 * (time.perf_counter() - start)


def main(folder, layout, mode="eager", device="cpu", precision="float32"):
    # Ctrl+C reaches the whole process group. The benchmark ends this process instead.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    task = json.loads((folder / "task.json").read_text())
    torch.set_num_threads(task["threads"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    weights = read_safetensors(folder / "weights.safetensors")
    step, predict = trainer(task, weights, getattr(torch, layout), mode, device, precision)
    batches = [read_safetensors(folder / f"batch-{i}.safetensors") for i in range(task["batches"])]
    write(
        f"PyTorch {torch.__version__}, Python {platform.python_version()}, "
        f"BLAS {blas()}, {layout}, {mode}, "
        + (f"{precision} on {torch.cuda.get_device_name()}" if device == "cuda" else f"{torch.get_num_threads()} threads")
    )
    done = 0
    for line in sys.stdin:
        request = json.loads(line)
        if "steps" not in request:
            write([timed(predict, request["images"])[1] for _ in range(request["times"])])
            continue
        losses, milliseconds = [], []
        for _ in range(request["steps"]):
            loss, duration = timed(lambda: step(**batches[done % len(batches)]))
            losses.append(loss)
            milliseconds.append(duration)
            done += 1
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        write({"losses": losses, "milliseconds": milliseconds, "peakBytes": peak})


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
