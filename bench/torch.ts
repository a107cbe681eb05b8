import { spawnSync } from 'node:child_process'
import { UserError } from '@ddpm/shared'

/** Returns the first Python with PyTorch, or null. Throws a UserError if the requested one has none. */
export function findTorch(asked?: string): string | null {
  const candidates = asked === undefined ? ['python3', '/usr/bin/python3'] : [asked]
  const found = candidates.find((python) => spawnSync(python, ['-c', 'from torch import nn']).status === 0)
  if (found === undefined && asked !== undefined) {
    throw new UserError(
      `Invalid --python "${asked}": expected a Python that can "import torch". ` +
        'Name another one, or omit the option.',
    )
  }
  return found ?? null
}
