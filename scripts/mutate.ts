// Mutation testing of the code for ranges, preconditions and content codings. Each mutant is one small change to that
// code, and at least one of the HTTP cases must fail for it.
//
// Why not StrykerJS: version 10.1 runs these cases (command runner, 396 mutants, 5 minutes on one core, November 2026),
// but fails on the project's tsconfig.json, because TypeScript 7 has no JavaScript API. It has no operators for what
// matters here: status codes, strong and weak comparison, offset and length. It would add 176 packages (61 MB) to every
// installation. Cases for the gaps that it found have been added.
import { spawn } from 'node:child_process'
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runCommand } from '@ddpm/shared/cli'
import { Argument, Command } from 'commander'

const root = fileURLToPath(new URL('..', import.meta.url))
const source = join(root, 'edge/server')
const targets = ['http/conditions.ts', 'http/date.ts', 'http/negotiation.ts', 'http/deliver.ts']

/** Mutation operators, as pattern and replacement. Each match in a line gives one mutant, in which only it is replaced. */
const operators: readonly (readonly [RegExp, string])[] = [
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ < /g, ' <= '],
  [/ < /g, ' > '],
  [/ > /g, ' >= '],
  [/ > /g, ' < '],
  [/ <= /g, ' < '],
  [/ <= /g, ' > '],
  [/ >= /g, ' > '],
  [/ >= /g, ' < '],
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/!(?=[\w(])/g, ''],
  [/ \+ 1/g, ''],
  [/ - 1/g, ''],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/ \* /g, ' / '],
  [/ \/ /g, ' * '],
  [/ \?\? /g, ' && '],
  [/Math\.min/g, 'Math.max'],
  [/Math\.floor/g, 'Math.ceil'],
  [/'strong'(?=\)|$)/g, "'weak'"],
  [/'weak'(?=\)|$)/g, "'strong'"],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/status: (206|304|412|416)/g, 'status: 200'],
  [/Problem\(\d+/g, 'Problem(400'],
  [/'unsatisfiable'/g, "'ignore'"],
  [/'ignore'/g, "'unsatisfiable'"],
  [/'[A-Z][a-z]{2}'(?=[,\]])/g, "''"],
  [/'application\/wasm'/g, "''"],
  [/\)\?(?=\)\$)/g, ')'],
  [/'GET'/g, "'HEAD'"],
  [/'HEAD'/g, "'GET'"],
  [/if \(.*?\)(?= \{?$| [a-z])/g, 'if (true)'],
  [/if \(.*?\)(?= \{?$| [a-z])/g, 'if (false)'],
  [/ \? /g, ' || true ? '],
  [/ \? /g, ' && false ? '],
  [/\bcontinue\b/g, 'break'],
  [/\.trim\(\)/g, ''],
  [/\.toLowerCase\(\)/g, ''],
  [/\/i\.exec/g, '/.exec'],
  [/\^/g, ''],
  [/\$\//g, '/'],
  [/\$`/g, '`'],
  [/\\d\*/g, '\\d+'],
  [/(?<=(get|has|header|set|append)\()'/g, "'X-"],
  [/(?<=^ .*)'(?=If-|Range')/g, "'X-"],
  [/ immutable/g, ''],
  [/`bytes /g, '`octets '],
  [/-\$\{coding\}/g, ''],
  [/^ {2,4}headers\.(set|append)\(.*\)$/g, ''],
  [/^ +'?(ETag|Last-Modified|Cache-Control|Accept-Ranges|Content-Range)'?: .*,$/g, ''],
  [/^ +\.\.\.(vary|extra),$/g, ''],
  [/, \.\.\.vary/g, ''],
  [/offset, length/g, 'offset: length, length: offset'],
]

interface Mutant {
  readonly file: string
  readonly line: number
  readonly before: string
  readonly after: string
  readonly text: string
}

function createMutants(file: string, text: string): Mutant[] {
  const lines = text.split('\n')
  return lines.flatMap((before, index) => {
    if (
      /^\s*(\/\/|\*|\/\*|import|export (interface|type|(async )?function)|(async )?function|\|)/.test(
        before,
      ) ||
      before.trim() === ''
    )
      return []
    const changed = operators.flatMap(([pattern, replacement]) =>
      [...before.matchAll(pattern)].map(
        ({ 0: match, index: start }) =>
          before.slice(0, start) + replacement + before.slice(start + match.length),
      ),
    )
    return [...new Set(changed)]
      .filter((after) => after !== before)
      .map((after) => ({ file, line: index + 1, before, after, text: lines.with(index, after).join('\n') }))
  })
}

/** Result for a mutant that does not compile. Such mutants are not counted. */
const compileError = 'compile error'

/** Runs the cases against the code in a folder. Returns the first case that fails, or null if all pass. */
function firstFailure(folder: string): Promise<string | null> {
  return new Promise((resolve) => {
    const args = ['--disable-warning=ExperimentalWarning', join(root, 'test/http/mutant.ts'), folder]
    // A mutant may never end.
    const child = spawn(process.execPath, args, { timeout: 60_000 })
    let output = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (output += text))
    child.on('close', (code) => {
      if (/^SyntaxError|ERR_INVALID_TYPESCRIPT/m.test(output)) resolve(compileError)
      else resolve(code === 0 ? null : output.trim().split('\n')[0] || 'timeout')
    })
  })
}

async function main(files: readonly string[], { verbose }: { verbose?: true }): Promise<void> {
  // Inside the project, so that imports of packages resolve.
  const workFolder = join(root, 'edge/dist/mutants')
  await rm(workFolder, { recursive: true, force: true })
  const mutants = (
    await Promise.all(
      files.map(async (file) => createMutants(file, await readFile(join(source, file), 'utf8'))),
    )
  ).flat()
  const survivors: Mutant[] = []
  let done = 0
  const work = async (folder: string) => {
    await mkdir(dirname(folder), { recursive: true })
    await cp(source, folder, { recursive: true })
    const baselineFailure = await firstFailure(folder)
    if (baselineFailure !== null)
      throw new Error(`Cannot test mutants: a case fails for the unchanged code: ${baselineFailure}`)
    for (let next = mutants.shift(); next !== undefined; next = mutants.shift()) {
      const path = join(folder, next.file)
      const original = await readFile(path, 'utf8')
      await writeFile(path, next.text)
      const failure = await firstFailure(folder)
      await writeFile(path, original)
      if (failure === compileError) continue
      if (failure === null) survivors.push(next)
      if (verbose)
        console.log(`${next.file}:${next.line} ${failure === null ? 'SURVIVED' : `killed by ${failure}`}`)
      done++
    }
  }
  await Promise.all(
    Array.from({ length: availableParallelism() }, (_, i) => work(join(workFolder, String(i)))),
  )
  await rm(workFolder, { recursive: true, force: true })
  for (const { file, line, before, after } of survivors) {
    console.log(`${file}:${line} survived\n  - ${before.trim()}\n  + ${after.trim()}`)
  }
  const killed = done - survivors.length
  console.log(`${killed} of ${done} mutants killed (${((100 * killed) / done).toFixed(1)} %).`)
}

const command = new Command('npm run mutate:edge --')
  .description(
    'Mutation testing of ranges, preconditions and content codings: reports changes that no HTTP test detects.',
  )
  .addArgument(new Argument('[files...]', 'files in edge/server').choices(targets).default(targets))
  .option('--verbose', 'print the case that kills each mutant')
  .addHelpText(
    'after',
    '\nExamples:\n  npm run mutate:edge\n  npm run mutate:edge -- http/deliver.ts --verbose',
  )
  .action(main)

await runCommand(command)
