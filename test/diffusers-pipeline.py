"""Runs exported models in diffusers, and prints the results of all requests as JSON.

The argument is a JSON file with a list of requests. Each has the folder of a model, the name of a pipeline, the number of
steps, the shape of the images, and one array per random tensor that diffusers requests, in this order. For the name
"UNet2DModel" a request has the inputs of one forward pass instead.
"""
import json
import sys

import numpy
import torch
from diffusers import DDIMPipeline, DDPMPipeline, UNet2DModel
from diffusers.pipelines.ddim import pipeline_ddim
from diffusers.pipelines.ddpm import pipeline_ddpm
from diffusers.schedulers import scheduling_ddpm


def predict(request):
    unet = UNet2DModel.from_pretrained(request["folder"], subfolder="unet")
    x = torch.tensor(request["x"]).reshape(request["shape"])
    with torch.no_grad():
        return unet(x, torch.tensor(request["timesteps"]), class_labels=torch.tensor(request["labels"])).sample


def generate(request):
    noise = iter(request["noise"])
    for module in (pipeline_ddpm, pipeline_ddim, scheduling_ddpm):
        module.randn_tensor = lambda *_, **__: torch.tensor(next(noise)).reshape(request["shape"])
    classes = {"DDPMPipeline": DDPMPipeline, "DDIMPipeline": DDIMPipeline}
    pipeline = classes[request["pipeline"]].from_pretrained(request["folder"])
    pipeline.set_progress_bar_config(disable=True)
    count, steps = request["shape"][0], request["steps"]
    images = pipeline(batch_size=count, num_inference_steps=steps, output_type="np").images
    # [N, H, W, C] to [N, C, H, W]
    return images.transpose(0, 3, 1, 2)


with open(sys.argv[1]) as file:
    requests = json.load(file)
results = [predict(request) if request["pipeline"] == "UNet2DModel" else generate(request) for request in requests]
print(json.dumps([numpy.asarray(result, numpy.float64).ravel().tolist() for result in results]))
