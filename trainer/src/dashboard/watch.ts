import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { UserError } from '@ddpm/shared'
import { describeSplit } from '../data/dataset/dataset.ts'
import { type Recipe, recipeFields } from '../run/recipes.ts'
import { type Run, runName } from '../run/run.ts'
import type { StepCost } from '../training/estimate.ts'
import { buildPage } from './build-page.ts'
import type { RunFacts, RunState } from './protocol.ts'
import { writeReport } from './report.ts'
import type { ServerCommand, ServerData, ServerMessage } from './server.ts'

/** The dashboard and report of a run. */
export interface Watch {
  /** URL of the dashboard; null without --dashboard. */
  readonly url: string | null
  /** Starts to read the run's files. Call it when metrics.jsonl no longer contains steps that will run again. */
  begin(): void
  /** Shows the final state in the dashboard, closes it and writes the report. */
  end(state: RunState): Promise<void>
}

/** Default port, the same as TensorBoard's. */
const defaultPort = 6006

/**
 * Prepares the report of a run and, if requested, starts its dashboard.
 * @param dashboard port (0 for any free port), true for the default port, undefined to write only the report
 * @throws UserError if the dashboard cannot listen on the port
 */
export async function watchRun(run: Run, cost: StepCost, dashboard?: number | true): Promise<Watch> {
  const facts = describeRun(run, cost)
  const server = dashboard === undefined ? null : await serve(run.folder, facts, dashboard)
  return {
    url: server && `http://localhost:${server.port}`,
    begin: () => server?.begin(),
    async end(state) {
      await server?.end(state)
      // The trained weights are already saved, so the command must not fail if the report cannot be written.
      await writeReport(run.folder, facts, state).then(
        (path) => console.log(`Report with charts and samples: ${path}`),
        (error: Error) => console.error(`Cannot write the report: ${error.message}`),
      )
    },
  }
}

function describeRun(run: Run, { parameters, flops }: StepCost): RunFacts {
  const { recipe, dataset } = run.config
  const { name, count, channels, height, width, classes } = dataset
  const channelName = channels === 1 ? 'grayscale' : 'RGB'
  const classCount = classes.length === 0 ? '' : `, ${classes.length} classes`
  return {
    name: runName(run),
    images: `${name}, ${channelName} ${height}×${width}${classCount}: ${describeSplit(count, recipe.validation)}`,
    parameters,
    flops: flops.forward + flops.backward,
    steps: recipe.steps,
    batchSize: recipe.batchSize,
    sampleEvery: recipe.sampleEvery,
    recipe: sortFields(recipe),
  }
}

/**
 * Returns the recipe's fields in the order of `recipeFields`. The page compares facts as JSON text, so a resumed run must
 * return the fields in the same order.
 */
function sortFields(recipe: Recipe): Record<string, unknown> {
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
  const requestedPort = dashboard === true ? defaultPort : dashboard
  let started = await start(requestedPort)
  if ('error' in started && dashboard === true) started = await start(0)
  if ('error' in started) {
    throw new UserError(
      `Cannot start the dashboard on port ${requestedPort}: ${started.error}. ` +
        'Choose another port with --dashboard PORT.',
    )
  }
  const { worker, port } = started
  // An error in the dashboard must not stop the training, and a running dashboard must not prevent the process from exiting.
  const exited = new Promise((resolve) => worker.once('exit', resolve))
  worker.on('error', (error) =>
    console.error(`The dashboard has stopped (${error.message}). Training continues.`),
  )
  worker.unref()
  return {
    port,
    begin: () => worker.postMessage('begin' satisfies ServerCommand),
    async end(state: RunState) {
      worker.ref()
      worker.postMessage(state satisfies ServerCommand)
      await exited
    },
  }
}
