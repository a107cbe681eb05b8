import { availableParallelism, cpus, totalmem } from 'node:os'
import { runCommand } from '@ddpm/shared/cli'
import { Command } from 'commander'
import { candidates, nameOf } from '../engines/choose.ts'
import { probe } from '../engines/probe.ts'
import { isSoftware } from '../engines/vulkan.ts'
import { defaultUNet } from '../network/unet.ts'
import type { StepSpec } from '../step/step.ts'

const command = new Command('npm run doctor --')
  .description(
    'Shows what this machine can train with: every engine on every device, with a measured training step.',
  )
  .action(main)

/** Small, so that the slowest engine is done with it in seconds; it has every kind of layer. */
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

/** Seconds until a device counts as one that does not answer. */
const patience = 90

async function main(): Promise<void> {
  const memory = (totalmem() / 2 ** 30).toFixed(0)
  console.log(
    `Node ${process.versions.node}, ${process.platform} ${process.arch}; ${availableParallelism()} threads of ` +
      `${cpus()[0]?.model.trim() ?? 'an unknown processor'}, ${memory} GiB of memory\n` +
      `A training step of a small network, ${spec.batch} pictures of ${spec.width}×${spec.height}:\n`,
  )
  for (const candidate of candidates) {
    const finding = await probe(candidate, spec, { seconds: patience })
    if (finding.works) {
      const remark = isSoftware(finding.description) ? ' (software, no graphics card)' : ''
      const rate = (1000 * spec.batch) / finding.milliseconds
      console.log(
        `  yes  ${nameOf(candidate)}: ${finding.milliseconds.toFixed(1)} ms, ${rate.toPrecision(3)} images/s\n` +
          `       ${finding.description}${remark}\n`,
      )
    } else {
      console.log(`  no   ${nameOf(candidate)}\n       ${finding.reason.replaceAll('\n', '\n       ')}\n`)
    }
  }
  console.log('npm run train takes the fastest for its network; --engine and --device choose another.')
}

await runCommand(command)
