import { UserError } from '@ddpm/shared'
import { parseChoice, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { probe, smallStep } from '../engines/probe.ts'
import { installCuda, onnxruntimeCuda, unlinkCuda } from '../setup/cuda.ts'
import { tensorflow } from '../setup/environments.ts'
import { isInstalled, removePart } from '../setup/parts.ts'
import { installEnvironment } from '../setup/python.ts'
import { installTfjsNode, tfjsNode, tfjsNodeGpu } from '../setup/tfjs-node.ts'

interface Options {
  cuda: boolean
  python?: string
  remove: boolean
}

/** An optional part. */
interface Part {
  /** Names of its folders. The first one tells whether it is installed. */
  readonly names: readonly [string, ...string[]]
  install(python: string | undefined): Promise<void>
  /** Undoes what `install` changed outside of the part's folder. */
  readonly beforeRemoval?: () => void
}

const parts = ['cuda', 'tf2onnx', 'tfjs'] as const

const command = new Command('npm run setup --')
  .description(
    'Installs an optional part into .setup/ of the project. Nothing outside the project changes:\n\n' +
      '  cuda     CUDA 13 and cuDNN for onnxruntime; needs Linux x64 and an NVIDIA driver\n' +
      '  tf2onnx  TensorFlow and tf2onnx for Python, for npm run export -- RUN --via tf2onnx\n' +
      '  tfjs     @tensorflow/tfjs-node, built with TensorFlow 2.15, for npm run train -- --engine tfjs;\n' +
      '           needs Linux and a C++ compiler\n\n' +
      'All need Python 3.9 or newer, the last two at most 3.11.',
  )
  .argument('<part>', 'cuda, tf2onnx or tfjs', parseChoice(parts))
  .option('--cuda', 'tfjs: @tensorflow/tfjs-node-gpu with CUDA 12; needs an NVIDIA driver', false)
  .option('--python <program>', 'Python to install with (default: the first suitable one)')
  .option('--remove', 'remove the part', false)
  .addHelpText(
    'after',
    `
Examples:
  npm run setup -- cuda
  npm run setup -- tf2onnx
  npm run setup -- tfjs --cuda
  npm run setup -- tfjs --python /opt/python3.11/bin/python3
  npm run setup -- tf2onnx --remove    also removes tfjs, which uses the same TensorFlow`,
  )
  .action(main)

function partOf(part: (typeof parts)[number], onCuda: boolean): Part {
  switch (part) {
    case 'cuda':
      return { names: [onnxruntimeCuda.name], install: installCudaAndTry, beforeRemoval: unlinkCuda }
    case 'tf2onnx':
      return {
        names: [tensorflow.name, tfjsNode.part],
        async install(python) {
          await installEnvironment(tensorflow, python)
          console.log('Installed TensorFlow and tf2onnx. Next: npm run export -- RUN --via tf2onnx')
        },
      }
    case 'tfjs': {
      const nodePackage = onCuda ? tfjsNodeGpu : tfjsNode
      return {
        // TensorFlow for the CPU remains for tf2onnx.
        names: onCuda ? [nodePackage.part, nodePackage.environment.name] : [nodePackage.part],
        async install(python) {
          await installTfjsNode(nodePackage, python)
          console.log(`Installed ${nodePackage.npmName}. Next: npm run doctor`)
        },
      }
    }
  }
}

async function installCudaAndTry(python: string | undefined): Promise<void> {
  await installCuda(python)
  const result = await probe({ engine: 'onnxruntime', device: 'cuda' }, smallStep, { seconds: 120 })
  if (result.works) console.log(`Installed CUDA for onnxruntime. It works: ${result.description}.`)
  else console.log(`Installed CUDA for onnxruntime, but it does not work yet.\n${result.reason}`)
}

async function main(name: (typeof parts)[number], { cuda: onCuda, python, remove }: Options): Promise<void> {
  if (onCuda && name !== 'tfjs')
    throw new UserError(`Invalid --cuda: it is an option of tfjs, not of ${name}. Remove it.`)
  if (remove && python !== undefined)
    throw new UserError('Conflicting --python and --remove: removing needs no Python. Remove one of them.')
  const part = partOf(name, onCuda)
  if (remove) {
    part.beforeRemoval?.()
    const removed = part.names.filter(removePart)
    console.log(removed.length > 0 ? `Removed ${removed.join(' and ')}.` : `${name} is not installed.`)
  } else if (isInstalled(part.names[0])) {
    console.log(`${name} is already installed. To install it again, remove it first with --remove.`)
  } else await part.install(python)
}

await runCommand(command)
