/** Error message if WebGPU finds no adapter. */
export const noWebgpuAdapter =
  'Cannot use WebGPU: no graphics card was detected. WebGPU needs a driver for Vulkan (Linux), Metal (macOS) or ' +
  'Direct3D 12 (Windows).\n' +
  'On Debian or Ubuntu, install the driver of the card and the Vulkan loader:\n' +
  '  sudo apt install libvulkan1 vulkan-tools\n' +
  'The command `vulkaninfo --summary` lists the cards that Vulkan detects. Without a card, use --device cpu.'

/**
 * Returns the error message if onnxruntime cannot start on CUDA.
 * @param cause error of onnxruntime
 */
export function onnxruntimeCudaHint(cause: string): string {
  return (
    `Cannot use CUDA with onnxruntime: ${cause}\n` +
    'Install its CUDA libraries (Linux on x64), which are not part of the npm package:\n' +
    '  node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12\n' +
    'They need CUDA 12 and cuDNN 9 in folders that are listed in LD_LIBRARY_PATH.\n' +
    'Alternatively, use --device webgpu, which needs only the graphics driver.'
  )
}
