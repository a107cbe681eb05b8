import { config } from 'zod'

// By default Zod probes whether it may compile code. Pages with a strict content security policy report the probe as a
// violation. Modules import Zod as a namespace (`import * as z from 'zod'`), so that bundlers can drop the unused three
// quarters of it.
config({ jitless: true })
