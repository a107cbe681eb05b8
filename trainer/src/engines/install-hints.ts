/** Error message if WebGPU finds no adapter. */
export const noWebgpuAdapter =
  'WebGPU found no graphics card. It needs a driver for Vulkan (Linux), Metal (macOS) or Direct3D 12 (Windows).\n' +
  'On Debian or Ubuntu, install the driver of the card and the Vulkan loader:\n' +
  '  sudo apt install libvulkan1 vulkan-tools\n' +
  'The command `vulkaninfo --summary` lists the cards that Vulkan finds. Without a card, use --device cpu.'

/**
 * Returns the error message if onnxruntime cannot start on CUDA.
 * @param cause error of onnxruntime
 */
export function onnxruntimeCudaHint(cause: string): string {
  return (
    `onnxruntime cannot use CUDA: ${cause}\n` +
    'Install its CUDA libraries (Linux on x64), which are not part of the npm package:\n' +
    '  node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12\n' +
    'They need CUDA 12 and cuDNN 9 in the folders of LD_LIBRARY_PATH. ' +
    'Alternative: --device webgpu needs only the graphics driver.'
  )
}
