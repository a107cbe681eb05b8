import { spawnSync } from 'node:child_process'
import { UserError } from '@ddpm/shared'

/**
 * Returns the first Python executable that has PyTorch, or null.
 * @param requested the only executable to try. Default: the usual ones.
 * @throws UserError if the requested executable has no PyTorch
 */
export function findTorch(requested?: string): string | null {
  const candidates = requested === undefined ? ['python3', '/usr/bin/python3'] : [requested]
  const found = candidates.find((python) => spawnSync(python, ['-c', 'from torch import nn']).status === 0)
  if (found === undefined && requested !== undefined) {
    throw new UserError(
      `Invalid --python "${requested}": expected a Python executable that can import torch. ` +
        'Name another executable, or omit the option.',
    )
  }
  return found ?? null
}
