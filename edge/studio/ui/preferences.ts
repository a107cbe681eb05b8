/** What the visitor's system asks pages for. */

export function wantsCalm(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches
}

/** Whether downloads are to wait until somebody asks for them. */
export function savesData(): boolean {
  const { connection } = navigator as Navigator & { readonly connection?: { readonly saveData?: boolean } }
  return connection?.saveData === true || matchMedia('(prefers-reduced-data: reduce)').matches
}
