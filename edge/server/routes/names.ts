import { modelName } from '@ddpm/shared'

/** Whether the two make a model's name. */
export const hasModelName = (owner: string, name: string): boolean =>
  modelName.safeParse(`${owner}/${name}`).success
