import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { UserError } from '@ddpm/shared'
import { type Recipe, recipeFields } from '../run/recipes.ts'
import { type Run, runName } from '../run/run.ts'
import type { StepCost } from '../training/estimate.ts'
import { buildPage } from './page.ts'
import type { RunFacts, RunState } from './protocol.ts'
import { writeReport } from './report.ts'
import type { ServerData, ServerMessage } from './server.ts'

/** A run under the eyes of people. */
export interface Watch {
  /** Where the dashboard is, or null where none was asked for. */
  readonly url: string | null
  /** Says how the run ended, closes the dashboard and writes the report. */
  end(state: RunState): Promise<void>
}

/** TensorBoard's port, where people look for curves. */
const usualPort = 6006

/**
 * Watches a run.
 * @param dashboard the port to serve on (0 is any), true for the usual one, undefined for a report alone
 * @throws UserError where the port cannot be had
 */
export async function watchRun(run: Run, cost: StepCost, dashboard?: number | true): Promise<Watch> {
  const facts = factsFor(run, cost)
  const server = dashboard === undefined ? null : await serve(run.folder, facts, dashboard)
  return {
    url: server && `http://localhost:${server.port}`,
    async end(state) {
      await server?.end(state)
      // What was trained is saved by now: a report that cannot be written is no reason to fail.
      await writeReport(run.folder, facts, state).then(
        (path) => console.log(`The curves and samples are in ${path}`),
        (error: Error) => console.error(`There is no report: ${error.message}`),
      )
    },
  }
}

function factsFor(run: Run, { parameters, flops }: StepCost): RunFacts {
  const { recipe, dataset: images } = run.config
  const { name, count, channels, height, width, classes } = images
  const kinds = classes.length === 0 ? '' : `, ${classes.length} classes`
  return {
    name: runName(run),
    images: `${count.toLocaleString('en')} pictures of ${name}, ${channels === 1 ? 'grey' : 'RGB'} ${height}×${width}${kinds}`,
    parameters,
    flops: flops.forward + flops.backward,
    steps: recipe.steps,
    batchSize: recipe.batchSize,
    sampleEvery: recipe.sampleEvery,
    recipe: inOrder(recipe),
  }
}

/** A recipe's fields in the order of the command line: the page takes facts that are written otherwise for another run. */
function inOrder(recipe: Recipe): Record<string, unknown> {
  const fields = ['recipe', ...Object.keys(recipeFields)] as (keyof Recipe)[]
  return Object.fromEntries(fields.map((field) => [field, recipe[field]]))
}

async function serve(folder: string, facts: RunFacts, dashboard: number | true) {
  const page = await buildPage()
  const start = async (port: number) => {
    const data: ServerData = { folder, port, page, facts }
    const worker = new Worker(new URL('server.ts', import.meta.url), { workerData: data })
    const [message] = (await once(worker, 'message')) as [ServerMessage]
    if ('port' in message) return { worker, port: message.port }
    await worker.terminate()
    return message
  }
  const wanted = dashboard === true ? usualPort : dashboard
  let started = await start(wanted)
  if ('error' in started && dashboard === true) started = await start(0)
  if ('error' in started) {
    throw new UserError(
      `The dashboard cannot listen on port ${wanted} (${started.error}). Name another with --dashboard PORT.`,
    )
  }
  const { worker, port } = started
  // A dashboard that fails does not take the training with it, nor does it keep the process alive.
  const gone = new Promise((resolve) => worker.once('exit', resolve))
  worker.on('error', (error) => console.error(`The dashboard has stopped: ${error.message}`))
  worker.unref()
  return {
    port,
    async end(state: RunState) {
      worker.ref()
      worker.postMessage(state)
      await gone
    },
  }
}
