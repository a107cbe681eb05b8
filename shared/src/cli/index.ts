export * from './command.ts'
export * from './suggest.ts'
