import { readFileSync } from 'node:fs'

/** Length of a clock tick in milliseconds: sysconf(_SC_CLK_TCK) is 100 on Linux. */
const tick = 10

/** Returns the processor time of a process so far in milliseconds: user and system time in /proc. Linux only. */
export function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) * tick
}
