// Mutation testing of the code that decides how files are answered: each mutant is one small change to it, and the
// HTTP cases have to notice. Own and small, because the usual tools bring their own test runners and TypeScript.
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

/** What a mutant does to a line: every place where a pattern matches becomes the replacement, one at a time. */
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

function mutantsOf(file: string, text: string): Mutant[] {
  const lines = text.split('\n')
  return lines.flatMap((before, index) => {
    if (
      /^\s*(\/\/|\*|\/\*|import|export (interface|type|(async )?function)|(async )?function|\|)/.test(
        before,
      ) ||
      before.trim() === ''
    )
      return []
    const found = operators.flatMap(([pattern, replacement]) =>
      [...before.matchAll(pattern)].map(
        ({ 0: match, index: at }) => before.slice(0, at) + replacement + before.slice(at + match.length),
      ),
    )
    return [...new Set(found)]
      .filter((after) => after !== before)
      .map((after) => ({ file, line: index + 1, before, after, text: lines.with(index, after).join('\n') }))
  })
}

/** A change after which it is no program: nobody could make it and not notice. */
const stillborn = 'no program'

/** The first case that fails, or null where none does. */
function firstFailure(folder: string): Promise<string | null> {
  return new Promise((resolve) => {
    const args = ['--disable-warning=ExperimentalWarning', join(root, 'test/http/mutant.ts'), folder]
    // A mutant may loop for ever.
    const child = spawn(process.execPath, args, { timeout: 60_000 })
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (text) => (said += text))
    child.on('close', (code) => {
      if (/^SyntaxError|ERR_INVALID_TYPESCRIPT/m.test(said)) resolve(stillborn)
      else resolve(code === 0 ? null : said.trim().split('\n')[0] || 'no end')
    })
  })
}

async function main(files: readonly string[], { verbose }: { verbose?: true }): Promise<void> {
  // Within the project, so that packages are found.
  const place = join(root, 'edge/dist/mutants')
  await rm(place, { recursive: true, force: true })
  const mutants = (
    await Promise.all(files.map(async (file) => mutantsOf(file, await readFile(join(source, file), 'utf8'))))
  ).flat()
  const survivors: Mutant[] = []
  let done = 0
  const work = async (folder: string) => {
    await mkdir(dirname(folder), { recursive: true })
    await cp(source, folder, { recursive: true })
    const broken = await firstFailure(folder)
    if (broken !== null) throw new Error(`The cases fail without any mutant: ${broken}`)
    for (let next = mutants.shift(); next !== undefined; next = mutants.shift()) {
      const path = join(folder, next.file)
      const original = await readFile(path, 'utf8')
      await writeFile(path, next.text)
      const failure = await firstFailure(folder)
      await writeFile(path, original)
      if (failure === stillborn) continue
      if (failure === null) survivors.push(next)
      if (verbose)
        console.log(`${next.file}:${next.line} ${failure === null ? 'SURVIVED' : `killed by ${failure}`}`)
      done++
    }
  }
  await Promise.all(Array.from({ length: availableParallelism() }, (_, i) => work(join(place, String(i)))))
  await rm(place, { recursive: true, force: true })
  for (const { file, line, before, after } of survivors) {
    console.log(`${file}:${line} survived\n  - ${before.trim()}\n  + ${after.trim()}`)
  }
  const killed = done - survivors.length
  console.log(`${killed} of ${done} mutants noticed (${((100 * killed) / done).toFixed(1)} %).`)
}

const command = new Command('npm run mutate:edge --')
  .description(
    'Changes the code of ranges, preconditions and codings bit by bit, and looks whether the tests notice.',
  )
  .addArgument(new Argument('[files...]', 'of edge/server').choices(targets).default(targets))
  .option('--verbose', 'name the case that notices each')
  .addHelpText(
    'after',
    '\nExamples:\n  npm run mutate:edge\n  npm run mutate:edge -- http/deliver.ts --verbose',
  )
  .action(main)

await runCommand(command)
