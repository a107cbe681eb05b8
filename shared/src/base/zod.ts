import { config } from 'zod'

// By default Zod checks whether it may compile code. A browser with a strict Content Security Policy reports this check as
// a violation.
//
// Modules import Zod as a namespace (`import * as z from 'zod'`), so that bundlers can remove the unused parts: three
// quarters of it.
config({ jitless: true })
