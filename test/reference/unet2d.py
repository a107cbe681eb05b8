"""Writes unet2d.json next to this file: names and shapes of the parameters of three networks in diffusers."""
import json
import pathlib

from diffusers import UNet2DModel

common = dict(freq_shift=1, flip_sin_to_cos=False, norm_num_groups=8, layers_per_block=1)
down, attention_down, up, attention_up = "DownBlock2D", "AttnDownBlock2D", "UpBlock2D", "AttnUpBlock2D"
two_levels = dict(down_block_types=(down, attention_down), up_block_types=(attention_up, up))
models = {
    "two levels, several heads, not square": UNet2DModel(
        **{**common, "layers_per_block": 2}, **two_levels,
        block_out_channels=(16, 32), attention_head_dim=16, time_embedding_dim=32),
    "three levels, padding at the end, learned variances": UNet2DModel(
        **common, in_channels=1, out_channels=2, down_block_types=(attention_down, down, attention_down),
        up_block_types=(attention_up, up, attention_up), block_out_channels=(16, 32, 48), attention_head_dim=None),
    "two levels, classes": UNet2DModel(
        **common, **two_levels, block_out_channels=(16, 16), attention_head_dim=4, num_class_embeds=3),
}


def lines(model):
    return ",\n".join(f"  {json.dumps(name)}: {json.dumps(list(value.shape))}"
                      for name, value in sorted(model.state_dict().items()))


text = ",\n".join(f"{json.dumps(name)}: {{\n{lines(model)}\n}}" for name, model in models.items())
pathlib.Path(__file__).with_suffix(".json").write_text(f"{{\n{text}\n}}\n")
