import { modelName } from '@ddpm/shared'

/** Returns whether the two parts make a valid model name. */
export const isModelName = (owner: string, name: string): boolean =>
  modelName.safeParse(`${owner}/${name}`).success
