/** Address of a model in a repository of the Hugging Face hub. */
export interface HubAddress {
  /** `owner/name` */
  readonly name: string
  /** Branch, tag or commit. */
  readonly revision: string
}

/** The public hub. Its clients use another one if the environment variable HF_ENDPOINT is set. */
export const publicHub = 'https://huggingface.co'

const part = '[A-Za-z0-9][A-Za-z0-9._-]*'
const short = new RegExp(`^hf:(${part}/${part})(?:@(.+))?$`)
const page = new RegExp(`^/(${part}/${part})(?:/(?:tree|blob|resolve)/([^/]+)(?:/.*)?)?/?$`)

/**
 * Parses the address of a model on the Hugging Face hub: `hf:owner/name`, `hf:owner/name@revision`, or the address of the
 * repository's page.
 * @returns null for any other text. Default revision: `main`.
 */
export function parseHubAddress(text: string): HubAddress | null {
  const [, name, revision] = short.exec(text) ?? parsePage(text) ?? []
  return name === undefined ? null : { name, revision: revision ?? 'main' }
}

function parsePage(text: string): (string | undefined)[] | null {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || !['huggingface.co', 'www.huggingface.co', 'hf.co'].includes(url.host)) return null
  const [match, name, revision] = page.exec(url.pathname) ?? []
  try {
    return match === undefined ? null : [match, name, revision && decodeURIComponent(revision)]
  } catch {
    return null
  }
}
