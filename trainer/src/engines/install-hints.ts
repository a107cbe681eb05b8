/** Error text if WebGPU finds no adapter. */
export const noWebgpuAdapter =
  'WebGPU found no graphics card. It needs a graphics driver with Vulkan (Linux), Metal (macOS) or Direct3D 12 (Windows).\n' +
  'On Debian or Ubuntu, install the driver of the card and then the Vulkan loader: sudo apt install libvulkan1 vulkan-tools\n' +
  'The command `vulkaninfo --summary` lists the graphics cards that Vulkan finds. ' +
  'To train without a graphics card, use --device cpu.'

/** Returns the error text if onnxruntime cannot start on CUDA. */
export function onnxruntimeCudaHint(error: string): string {
  return (
    `onnxruntime cannot use CUDA: ${error}\n` +
    'The npm package does not contain its CUDA libraries. Install them (Linux on x64): ' +
    'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12\n' +
    'They also need CUDA 12 and cuDNN 9; LD_LIBRARY_PATH must contain their folders. ' +
    '--device webgpu needs only the graphics driver.'
  )
}
