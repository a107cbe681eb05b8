import { runCommand } from '@ddpm/shared/command'
import { Command } from 'commander'
import { likelihoodCommand } from './likelihood.ts'

const command = new Command('npm run evaluate --').description('x').addCommand(likelihoodCommand)

await runCommand(command)
