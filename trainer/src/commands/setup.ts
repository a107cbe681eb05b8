import { UserError } from '@ddpm/shared'
import { parseChoice, runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { tensorflow, tensorflowCuda } from '../setup/environments.ts'
import { isInstalled, removePart } from '../setup/parts.ts'
import { installEnvironment } from '../setup/python.ts'
import { installTfjsNode, tfjsNode, tfjsNodeGpu } from '../setup/tfjs-node.ts'

interface Options {
  cuda: boolean
  python?: string
  remove: boolean
}

const parts = ['tf2onnx', 'tfjs'] as const

const command = new Command('npm run setup --')
  .description(
    'Installs an optional part into .setup/ of the project, and changes nothing else on the machine:\n\n' +
      '  tf2onnx  TensorFlow and tf2onnx for Python, for npm run export -- RUN --via tf2onnx\n' +
      '  tfjs     @tensorflow/tfjs-node, built with TensorFlow 2.15, for npm run train -- --engine tfjs\n\n' +
      'Both need Python 3.9 to 3.11. tfjs also needs Linux and a C++ compiler.',
  )
  .argument('<part>', 'tf2onnx or tfjs', parseChoice(parts))
  .option('--cuda', 'tfjs: @tensorflow/tfjs-node-gpu with CUDA 12; needs an NVIDIA driver', false)
  .option('--python <program>', 'Python to install with (default: the first suitable one)')
  .option('--remove', 'remove the part', false)
  .addHelpText(
    'after',
    `
Examples:
  npm run setup -- tf2onnx
  npm run setup -- tfjs --cuda
  npm run setup -- tfjs --python /opt/python3.11/bin/python3
  npm run setup -- tf2onnx --remove    also removes the TensorFlow that tfjs uses`,
  )
  .action(main)

async function main(part: (typeof parts)[number], { cuda, python, remove }: Options): Promise<void> {
  if (cuda && part !== 'tfjs')
    throw new UserError(`Invalid --cuda: it is an option of tfjs, not of ${part}. Remove it.`)
  if (remove && python !== undefined)
    throw new UserError('Conflicting --python and --remove: removing needs no Python. Remove one of them.')
  const environment = cuda ? tensorflowCuda : tensorflow
  const nodePackage = cuda ? tfjsNodeGpu : tfjsNode
  const name = part === 'tfjs' ? nodePackage.part : environment.name
  if (remove) {
    // The Node package cannot be loaded without TensorFlow.
    const names = part === 'tf2onnx' || cuda ? [environment.name, nodePackage.part] : [nodePackage.part]
    const removed = names.filter(removePart)
    console.log(removed.length > 0 ? `Removed ${removed.join(' and ')}.` : `${part} is not installed.`)
  } else if (isInstalled(name)) {
    console.log(`${part} is already installed. To install it again, remove it first with --remove.`)
  } else if (part === 'tfjs') {
    await installTfjsNode(nodePackage, python)
    console.log(`Installed ${nodePackage.npmName}. Next: npm run doctor`)
  } else {
    await installEnvironment(environment, python)
    console.log('Installed TensorFlow and tf2onnx. Next: npm run export -- RUN --via tf2onnx')
  }
}

await runCommand(command)
