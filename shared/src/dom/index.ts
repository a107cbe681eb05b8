export * from './dom.ts'
export * from './preferences.ts'
