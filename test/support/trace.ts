import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { isAbsolute, join } from 'node:path'

/** What the processes of a trace did outside this machine's loopback interface and outside the allowed folders. */
export interface Trace {
  /** Remote addresses, as `address:port`. Port 53 (DNS) counts on every address. */
  readonly connections: readonly string[]
  /** Files and folders that were created, renamed or opened for writing. */
  readonly files: readonly string[]
}

/** Returns why system calls cannot be traced on this machine, or null if they can. */
export function whyUntraceable(): string | null {
  if (process.platform !== 'linux') return 'strace needs Linux'
  const { error, status, stderr } = spawnSync('strace', ['-ff', '--seccomp-bpf', '-o', '/dev/null', 'true'], {
    encoding: 'utf8',
  })
  if (error) return 'strace is not installed: sudo apt-get install strace'
  return status === 0 ? null : `strace does not work here: ${stderr.trim().split('\n')[0]}`
}

/** System calls that connect, send to an address, or create, rename or open files. */
const calls =
  'connect,sendto,sendmsg,sendmmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat'

/**
 * Returns the command line that runs a program and all its child processes under strace.
 * @param prefix path prefix of the output, one file per thread
 */
export function traced(prefix: string, program: readonly string[]): string[] {
  return ['strace', '-ff', '--seccomp-bpf', '-qq', '-y', '-e', `trace=${calls}`, '-o', prefix, ...program]
}

/**
 * Reads what `traced` has written.
 * @param allowed absolute paths of the folders in which files may be written
 */
export function readTrace(folder: string, allowed: readonly string[]): Trace {
  const isAllowed = (path: string) =>
    ['/dev', '/proc/self', ...allowed].some((root) => path === root || path.startsWith(`${root}/`))
  const lines = readdirSync(folder).flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
  const connections = lines.flatMap(remoteAddress)
  const files = lines.flatMap(writtenPaths).filter((path) => !isAllowed(path))
  return { connections: [...new Set(connections)], files: [...new Set(files)] }
}

/** Returns the remote address in a line of strace's output, if it is not loopback. */
function remoteAddress(line: string): string[] {
  const [, port] = /sa_family=AF_INET6?, sin6?_port=htons\((\d+)\)/.exec(line) ?? []
  const [, v4, v6] = /inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"/.exec(line) ?? []
  const address = v4 ?? v6
  if (port === undefined || address === undefined) return []
  const isLoopback = /^(::ffff:)?127\.|^::1$/.test(address)
  return isLoopback && port !== '53' ? [] : [`${address}:${port}`]
}

/** Returns the absolute paths that a line of strace's output creates, renames or opens for writing. */
function writtenPaths(line: string): string[] {
  const [, call] = /^(\w+)\(/.exec(line) ?? []
  const failed = / = -1 \w+ /.test(line)
  if (call === undefined || failed || /^(connect|send)/.test(call)) return []
  if (/^open|^creat/.test(call)) {
    // With -y, strace prints the path of the returned file descriptor.
    const [, path] = / = \d+<([^>]+)>$/.exec(line) ?? []
    return path !== undefined && /O_WRONLY|O_RDWR|O_CREAT|^creat/.test(line) ? [path] : []
  }
  // A relative path is below the working directory, which the tests choose.
  return [...line.matchAll(/"([^"]+)"/g)].map(([, path]) => path!).filter(isAbsolute)
}
