/**
 * Returns whether a request is from `huggingface_hub`, the Python client of the Hugging Face hub. At two paths of our own
 * API it expects the hub's responses, and only its User-Agent identifies it.
 */
export function isHubClient(userAgent: string | undefined): boolean {
  return userAgent !== undefined && /\bhf_hub\//.test(userAgent)
}
