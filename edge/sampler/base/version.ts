declare const VERSION: string

/** Version of the package. Defined by `edge/build/` when it bundles the module and its workers. */
export const version = VERSION
