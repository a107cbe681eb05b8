export * from './command.ts'
export * from './progress-bar.ts'
export * from './suggest.ts'
