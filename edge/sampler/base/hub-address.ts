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
const patterns = [
  new RegExp(`^hf:(${part}/${part})(?:@(.+))?$`),
  new RegExp(
    `^https://(?:www\\.)?(?:huggingface\\.co|hf\\.co)/(${part}/${part})(?:/(?:tree|blob|resolve)/([^/]+).*)?/?$`,
  ),
]

/**
 * Parses the address of a model on the Hugging Face hub: `hf:owner/name`, `hf:owner/name@revision`, or the address of the
 * repository's page.
 * @returns null for any other text. Default revision: `main`.
 */
export function parseHubAddress(text: string): HubAddress | null {
  for (const pattern of patterns) {
    const [, name, revision = 'main'] = pattern.exec(text) ?? []
    if (name !== undefined) return { name, revision: decodeURIComponent(revision) }
  }
  return null
}
