import { availableParallelism, cpus, totalmem } from 'node:os'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { candidates, formatCandidate } from '../engines/choose.ts'
import { probe, smallStep } from '../engines/probe.ts'
import { isSoftware } from '../engines/vulkan.ts'

const command = new Command('npm run doctor --')
  .description(
    'Measures the duration of a training step for every engine on every device of this machine, and prints what to ' +
      'install for those that do not work.',
  )
  .action(main)

/** Timeout of each measurement. */
const timeoutSeconds = 90

async function main(): Promise<void> {
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  console.log(
    `Node ${process.versions.node}, ${process.platform} ${process.arch}; ${availableParallelism()} threads of ` +
      `${cpus()[0]?.model.trim() ?? 'an unknown processor'}, ${memory} GiB of memory\n` +
      `Time of a training step of a small network (batch of ${smallStep.batch} images, ${smallStep.width}×${smallStep.height}):\n`,
  )
  for (const candidate of candidates) {
    const result = await probe(candidate, smallStep, { seconds: timeoutSeconds })
    if (result.works) {
      const note = isSoftware(result.description) ? ' (software renderer, not a graphics card)' : ''
      const rate = (1000 * smallStep.batch) / result.milliseconds
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
