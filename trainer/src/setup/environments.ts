import type { PythonEnvironment } from './python.ts'

// TensorFlow 2.15 is the latest that tf2onnx 1.17 is tested with, and the first for CUDA 12.

const pinned = ['tf2onnx==1.17.0', 'keras==2.15.0', 'numpy==1.26.4', 'onnx==1.17.0', 'protobuf==4.25.9']

/** TensorFlow for the CPU, and tf2onnx. */
export const tensorflow: PythonEnvironment = {
  name: 'tensorflow',
  minorVersions: [11, 10, 9],
  requirements: [
    // The same library without CUDA. Other systems have no such package.
    'tensorflow-cpu==2.15.1; sys_platform == "linux" and platform_machine == "x86_64"',
    'tensorflow==2.15.1; sys_platform != "linux" or platform_machine != "x86_64"',
    ...pinned,
  ],
  size: { download: 330e6, disk: 1.5e9 },
}

/** TensorFlow with CUDA 12.2 and cuDNN 8.9 from NVIDIA's packages. Needs only a driver. */
export const tensorflowCuda: PythonEnvironment = {
  name: 'tensorflow-cuda',
  minorVersions: [11, 10, 9],
  requirements: ['tensorflow[and-cuda]==2.15.1', ...pinned],
  size: { download: 2.2e9, disk: 5.5e9 },
}
