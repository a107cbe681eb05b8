// HTTP requirements for a file server, as a list of cases. Each case names its section of RFC 9110 or another document.
// `check.ts` compares a response with its case; all cases run on every host.
import { addresses } from './addresses.ts'
import type { Case } from './case.ts'
import { codings } from './codings.ts'
import { dates } from './dates.ts'
import { methods } from './methods.ts'
import { nginx } from './nginx.ts'
import { preconditions } from './preconditions.ts'
import { ranges } from './ranges.ts'
import { security } from './security.ts'

export const cases: readonly Case[] = [
  ...methods,
  ...ranges,
  ...preconditions,
  ...dates,
  ...codings,
  ...addresses,
  ...nginx,
  ...security,
]
