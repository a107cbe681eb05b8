import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'
import { UserError } from '@ddpm/shared'

// onnxruntime-node from version 1.29 on uploads telemetry and stores a device id in the user's cache folder, unless this
// variable is "1" before the first session is created. The project sends no data, so it overrides any other value.
// Child processes inherit it. This is the only file that loads the package: with an `import` statement, a bundler could
// load the package before the assignment.
const variable = 'ORT_DISABLE_TELEMETRY'
if (!isMainThread && process.env[variable] !== '1') {
  // A worker thread has a copy of the environment variables, which native code does not read.
  throw new UserError(
    `Cannot use onnxruntime in this worker thread, because its telemetry is enabled: expected ${variable}=1. ` +
      `Set process.env.${variable} = '1' in the main thread before starting the worker thread.`,
  )
}
process.env[variable] = '1'

const ort: typeof import('onnxruntime-node') = createRequire(import.meta.url)('onnxruntime-node')
export default ort
