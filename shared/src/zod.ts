import * as z from 'zod'

// Zod otherwise probes whether it may compile code, which pages with a strict content policy report as an attempt to.
z.config({ jitless: true })

export { z }
