// Shared code is compiled without the types of any platform's globals. AbortSignal exists in Node, Workers and browsers.
declare global {
  interface AbortSignal {
    readonly aborted: boolean
    readonly reason: unknown
    throwIfAborted(): void
  }
}

export {}
