// What HTTP asks of a server of files, case by case, each with the section of RFC 9110 (or of the document named) that
// it comes from. `check.ts` holds a reply to a case; every host runs them all.
import { addresses } from './addresses.ts'
import type { Case } from './case.ts'
import { codings } from './codings.ts'
import { dates } from './dates.ts'
import { methods } from './methods.ts'
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
  ...security,
]
