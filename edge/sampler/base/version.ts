declare const VERSION: string | undefined

/** Version of the package. Defined by `edge/build/` when it bundles the module and its workers; unit tests have none. */
export const version = typeof VERSION === 'undefined' ? 'unbuilt' : VERSION
