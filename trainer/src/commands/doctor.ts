import { availableParallelism, cpus, totalmem } from 'node:os'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { candidates, formatCandidate } from '../engines/choose.ts'
import { probe } from '../engines/probe.ts'
import { isSoftware } from '../engines/vulkan.ts'
import { defaultUNet } from '../network/config.ts'
import type { StepSpec } from '../step/spec.ts'

const command = new Command('npm run doctor --')
  .description(
    'Measures the duration of a training step for every engine on every device of this machine, and prints what to ' +
      'install for those that do not work.',
  )
  .action(main)

/** A network with every kind of layer, small enough for the slowest engine to finish in seconds. */
const spec: StepSpec = {
  unet: {
    ...defaultUNet,
    baseChannels: 16,
    channelMultiples: [1, 2],
    attention: [false, true],
    numResBlocks: 1,
    dropout: 0,
  },
  height: 8,
  width: 8,
  batch: 4,
  adam: { beta1: 0.9, beta2: 0.999, eps: 1e-8 },
  clipNorm: 1,
}

/** Timeout of each measurement. */
const timeoutSeconds = 90

async function main(): Promise<void> {
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  console.log(
    `Node ${process.versions.node}, ${process.platform} ${process.arch}; ${availableParallelism()} threads of ` +
      `${cpus()[0]?.model.trim() ?? 'an unknown processor'}, ${memory} GiB of memory\n` +
      `Time of a training step of a small network (batch of ${spec.batch} images, ${spec.width}×${spec.height}):\n`,
  )
  for (const candidate of candidates) {
    const result = await probe(candidate, spec, { seconds: timeoutSeconds })
    if (result.works) {
      const note = isSoftware(result.description) ? ' (software renderer, not a graphics card)' : ''
      const rate = (1000 * spec.batch) / result.milliseconds
      console.log(
        `  yes  ${formatCandidate(candidate)}: ${result.milliseconds.toFixed(1)} ms, ${rate.toPrecision(3)} images/s\n` +
          `       ${result.description}${note}\n`,
      )
    } else {
      console.log(
        `  no   ${formatCandidate(candidate)}\n       ${result.reason.replaceAll('\n', '\n       ')}\n`,
      )
    }
  }
  console.log(
    'By default, npm run train uses the fastest engine for its network. Choose another with --engine and --device.',
  )
}

await runCommand(command)
