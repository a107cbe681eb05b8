import { cudaDriver, hasCuda, hasDriver } from '../setup/cuda.ts'

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
 * @param present whether its CUDA files and the driver are installed
 */
export function onnxruntimeCudaHint(
  cause: string,
  present = { files: hasCuda(), driver: hasDriver() },
): string {
  const alternative = 'Alternatively, use --device webgpu, which needs only the graphics driver.'
  const problem = (text: string) => `Cannot use CUDA with onnxruntime: ${text}\n${alternative}`
  if (!present.files)
    return problem(
      'its CUDA files are not installed.\nInstall them, with CUDA 13 and cuDNN 9 (Linux x64):\n  npm run setup -- cuda',
    )
  if (!present.driver)
    return problem(
      `the NVIDIA driver is missing (libcuda.so.1).\nInstall version ${cudaDriver} or newer, for example on Ubuntu:\n` +
        `  sudo apt install nvidia-driver-${cudaDriver}`,
    )
  const [, code, reason] = /CUDA failure (\d+): ([^;\n]*)/.exec(cause) ?? []
  // Numbers of cudaError_t.
  if (code === '100') return problem('no CUDA device was detected. The command nvidia-smi must list a card.')
  if (code === '35')
    return problem(`the NVIDIA driver is too old for CUDA 13. Install version ${cudaDriver} or newer.`)
  return problem(`${(reason ?? cause.split('\n').at(-1)!).trim()}.`)
}
