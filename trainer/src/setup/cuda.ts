import { existsSync, readlinkSync, rmSync, symlinkSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { UserError } from '@ddpm/shared'
import { isInstalled, partFolder } from './parts.ts'
import { installEnvironment, type PythonEnvironment } from './python.ts'

// onnxruntime on CUDA. The npm package has no CUDA files, and its installer offers those for CUDA 12, although onnxruntime is
// built for CUDA 13 from version 1.27 on. The official Python package of the same version contains them, and NVIDIA's
// packages contain the CUDA libraries. Only the driver must be on the machine.

/** Version of onnxruntime-node, whose CUDA files must have the same one. */
export const onnxruntimeVersion = '1.30.0'

/** The packages for Linux on x64, with their SHA-256. They contain no code for Python that is used. */
const packages = [
  `onnxruntime-gpu==${onnxruntimeVersion} --hash=sha256:4fbf0c5d7b5fb99266c2e8a802e3e64af68bdc383e0f3c7349b985f1087eedaa`,
  'nvidia-cublas==13.10.0.20 --hash=sha256:dcc6d63884c53d07e267ce7e6feac17b2538cebaafec5db865736c3e28e4dc84',
  'nvidia-cuda-nvrtc==13.5.37 --hash=sha256:86b4d68058807988b7d9af5b44917a0601e9c337f35ccd657bfb3c759ff8d8bc',
  'nvidia-cuda-runtime==13.5.37 --hash=sha256:df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d',
  'nvidia-cudnn-cu13==9.28.1.4 --hash=sha256:a54f205b1db1f2895d99f398754db1369816f0569dd459731f925635cf7b65ec',
  'nvidia-curand==10.4.5.25 --hash=sha256:22bb226a857e5888fe6b54ae465fc4371296bcff13a35f79e19691bcf454f529',
]

export const onnxruntimeCuda: PythonEnvironment = {
  // A later version of the project does not use the files of an earlier one.
  name: `cuda-${onnxruntimeVersion}`,
  minorVersions: [11, 12, 13, 10, 14, 9],
  requirements: packages,
  // The files are those of Python 3.11 on every Python, because nothing is run with it.
  pipOptions: [
    ...['--no-deps', '--require-hashes', '--implementation', 'cp', '--python-version', '3.11'],
    ...['manylinux_2_28', 'manylinux_2_27', 'manylinux2014'].flatMap((tag) => [
      '--platform',
      `${tag}_x86_64`,
    ]),
  ],
  target: 'packages',
  size: { download: 1.35e9, disk: 2.2e9 },
}

/** onnxruntime's libraries for CUDA, which it loads from its own folder. */
const providers = ['libonnxruntime_providers_shared.so', 'libonnxruntime_providers_cuda.so']

/**
 * The libraries that they need, in the order of loading. They are found by name because they are loaded already, so
 * LD_LIBRARY_PATH is not needed.
 */
const libraries = [
  'cu13/lib/libcudart.so.13',
  'cu13/lib/libcublasLt.so.13',
  'cu13/lib/libcublas.so.13',
  'cu13/lib/libcurand.so.10',
  'cu13/lib/libnvrtc.so.13',
  'cudnn/lib/libcudnn.so.9',
]

const folderOfPackages = () => join(partFolder(onnxruntimeCuda.name), onnxruntimeCuda.target!)

/** Returns the folder of onnxruntime's own libraries. */
function folderOfOnnxruntime(): string {
  const description = createRequire(import.meta.url).resolve('onnxruntime-node/package.json')
  return join(dirname(description), 'bin/napi-v6/linux/x64')
}

/**
 * Installs CUDA for onnxruntime.
 * @param python as for `installEnvironment`
 * @throws UserError if the system is unsuitable or pip fails
 */
export async function installCuda(python?: string): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new UserError(
      `Cannot install CUDA on ${process.platform} ${process.arch}: this is supported on Linux x64 only. Use --device webgpu.`,
    )
  await installEnvironment(onnxruntimeCuda, python)
}

/** First version of the NVIDIA driver that supports CUDA 13. */
export const cudaDriver = 580

/** Returns whether onnxruntime's CUDA files are installed: by `npm run setup`, or by hand. */
export function hasCuda(): boolean {
  return isInstalled(onnxruntimeCuda.name) || existsSync(join(folderOfOnnxruntime(), providers[1]!))
}

/** Returns whether the library of the NVIDIA driver can be loaded. */
export function hasDriver(): boolean {
  return load('libcuda.so.1')
}

/** Removes the links in the folder of onnxruntime. */
export function unlinkCuda(): void {
  for (const name of providers) rmSync(join(folderOfOnnxruntime(), name), { force: true })
}

/**
 * Makes the installed CUDA files available to onnxruntime in this process. Does nothing if they are not installed. Must
 * precede the first session on CUDA.
 */
export function prepareCuda(): void {
  if (!isInstalled(onnxruntimeCuda.name)) return
  const target = folderOfOnnxruntime()
  for (const name of providers) {
    const link = join(target, name)
    const file = relative(target, join(folderOfPackages(), 'onnxruntime/capi', name))
    // npm removes the links when it installs onnxruntime again.
    if (linkTarget(link) === file) continue
    rmSync(link, { force: true })
    symlinkSync(file, link)
  }
  for (const library of libraries) load(join(folderOfPackages(), 'nvidia', library))
}

/**
 * Loads a library that is not a module of Node, and keeps it, so that onnxruntime finds it by its name.
 * @returns whether it could be loaded
 */
function load(path: string): boolean {
  const keepLoaded = 0x1000 // RTLD_NODELETE of Linux
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen
  try {
    process.dlopen({ exports: {} }, path, RTLD_NOW | RTLD_GLOBAL | keepLoaded)
    return true
  } catch (error) {
    // After loading it, Node complains that it is no module.
    return /did not self-register/.test((error as Error).message)
  }
}

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path)
  } catch {
    return null
  }
}
