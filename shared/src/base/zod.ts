import { config } from 'zod'

// Zod otherwise probes whether it may compile code, which pages with a strict content policy report as an attempt to.
// Who uses it imports it whole (`import * as z from 'zod'`): a bundler then leaves out what is not used, three quarters.
config({ jitless: true })
