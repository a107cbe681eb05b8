export * from './command.ts'
export * from './progress-bar.ts'
export * from './quote.ts'
export * from './suggest.ts'
