// Checks that the documents are correct: the commands accept their command lines, links resolve, and every command is
// documented.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Command } from 'commander'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')

const documents = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' })
  .trim()
  .split('\n')
const scripts = Object.keys(JSON.parse(read('package.json')).scripts)

/** Returns the file of each command, from run.js. */
function readCommandFiles(): Map<string, string> {
  const entries = read('run.js').matchAll(/^ {2}'?([\w:]+)'?: '([^']+\.ts)',$/gm)
  return new Map([...entries].map(([, name, file]) => [name!, file!]))
}

/** Returns the command lines of a document, without comments. Inline code that only names a command is skipped. */
function commandLines(text: string): string[] {
  const blocks = [...text.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block]) =>
    block!.replaceAll(/\\\n\s*/g, ' ').split('\n'),
  )
  const inline = [...text.replaceAll(/```.*?```/gs, '').matchAll(/`([^`]+)`/g)]
    .map(([, code]) => code!)
    .filter((code) => !/^npm run \S+$/.test(code))
  return [...blocks, ...inline]
    .flatMap((line) => line.replace(/\s#.*$/, '').split('&&'))
    .map((line) => line.trim().replaceAll(/\s+/g, ' '))
    .filter((line) => /^npm (start|test|run \S)/.test(line) && !line.includes('…'))
}

/** Splits a command line as a shell does. Supports only double quotes. */
function words(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
}

/**
 * Parses arguments with the file of a command, without running its action. Throws commander's message if they are invalid.
 * @param run a different number for each call
 */
async function parse(file: string, args: string[], run: number): Promise<void> {
  const { action, outputHelp } = Command.prototype
  const { argv, exit } = process
  const write = process.stderr.write
  let message = ''
  Command.prototype.action = function () {
    return action.call(this, () => {})
  }
  Command.prototype.outputHelp = () => {}
  process.argv = [process.execPath, file, ...args]
  process.stderr.write = (text) => {
    message += text
    return true
  }
  process.exit = (code) => {
    throw new Error(code === 0 ? 'help' : message)
  }
  try {
    // A command parses its arguments when it is imported, so each call imports a new module.
    await import(`${pathToFileURL(join(root, file))}?run=${run}`)
    assert.equal(process.exitCode ?? 0, 0, message)
  } catch (error) {
    if ((error as Error).message !== 'help') throw error
  } finally {
    Object.assign(Command.prototype, { action, outputHelp })
    Object.assign(process, { argv, exit })
    process.stderr.write = write
    process.exitCode = 0
  }
}

suite('the documents', () => {
  const files = readCommandFiles()

  test('every relative link resolves', () => {
    for (const document of documents) {
      const text = read(document).replaceAll(/```.*?```/gs, '')
      for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
        if (/^(https?:|#)/.test(target!)) continue
        const path = join(root, dirname(document), target!.split('#')[0]!)
        assert.ok(existsSync(path), `${document} links to ${target}, which does not exist`)
      }
    }
  })

  test('every command line is accepted by its command', async () => {
    let count = 0
    for (const document of documents) {
      for (const line of new Set(commandLines(read(document)))) {
        const [, first, ...rest] = words(line)
        const [name, ...args] = first === 'run' ? rest : [first!, ...rest]
        const file = files.get(name!)
        assert.ok(file, `${document}: unknown command in "${line}"`)
        await assert.doesNotReject(
          parse(file, args[0] === '--' ? args.slice(1) : args, count++),
          `${document}: ${line}`,
        )
      }
    }
    assert.ok(count > 50, `only ${count} command lines were found`)
  })

  test('an invalid command line is rejected', async () => {
    await assert.rejects(parse(files.get('sample')!, ['runs/x', '--sampler', 'none'], -1), /--sampler/)
    await assert.rejects(parse(files.get('train')!, ['--no-such-flag'], -2), /--no-such-flag/)
  })

  test('every command is documented, and package.json and run.js list the same commands', () => {
    assert.deepEqual([...files.keys()].sort(), [...scripts].sort())
    const text = documents.map(read).join('\n')
    for (const name of scripts) {
      const call = ['start', 'test'].includes(name) ? `npm ${name}` : `npm run ${name}`
      assert.match(text, new RegExp(`${call}(?![\\w:])`), `no document mentions ${call}`)
    }
  })

  test('the README has at most 160 lines', () => {
    assert.ok(read('README.md').split('\n').length <= 160)
  })
})
