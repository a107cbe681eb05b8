/** What to do where WebGPU finds nothing to compute on. */
export const noAdapter =
  'WebGPU found no graphics card. It needs a driver with Vulkan (on Linux also the package libvulkan1), Metal or ' +
  'Direct3D 12; `vulkaninfo --summary` shows what Linux has. Use --device cpu until then.'

/** What to do where onnxruntime does not come up on CUDA. */
export function cudaAdvice(found: string): string {
  return (
    `onnxruntime does not compute on CUDA here: ${found}\n` +
    'Its files for CUDA (Linux on x64) are not in the npm package. Fetch them: ' +
    'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12\n' +
    'They need CUDA 12 and cuDNN 9 where LD_LIBRARY_PATH says. --device webgpu needs nothing but the driver.'
  )
}
