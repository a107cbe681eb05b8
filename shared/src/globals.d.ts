// Shared code compiles without the globals of any platform. This one exists in Node, Workers and browsers.
declare global {
  interface AbortSignal {
    readonly aborted: boolean
    readonly reason: unknown
    throwIfAborted(): void
  }
}

export {}
