/**
 * Returns a function that generates the same normal numbers as PyTorch on the CPU: `torch.manual_seed(seed)`, then
 * `torch.randn` of multiples of 16. Tests use it to reproduce figures that were published with this noise. The algorithm is
 * Mersenne Twister 19937 (Matsumoto & Nishimura 1998) with 24 bits per uniform number, and Box–Muller on blocks of eight
 * pairs.
 */
export function torchNormals(seed: number): (count: number) => Float32Array {
  const next = mersenneTwister(seed)
  const uniform = () => (next() & 0xffffff) / 2 ** 24
  return (count) => {
    const out = Float32Array.from({ length: count }, uniform)
    for (let block = 0; block < count; block += 16) {
      for (let i = block; i < block + 8; i++) {
        const radius = Math.sqrt(-2 * Math.log(1 - out[i]!))
        const angle = 2 * Math.PI * out[i + 8]!
        out[i] = radius * Math.cos(angle)
        out[i + 8] = radius * Math.sin(angle)
      }
    }
    return out
  }
}

function mersenneTwister(seed: number): () => number {
  const [length, distance] = [624, 397]
  const state = new Uint32Array(length)
  state[0] = seed
  for (let i = 1; i < length; i++) {
    state[i] = Math.imul(1812433253, state[i - 1]! ^ (state[i - 1]! >>> 30)) + i
  }
  let index = length
  return () => {
    if (index === length) {
      index = 0
      for (let i = 0; i < length; i++) {
        const y = (state[i]! & 0x80000000) | (state[(i + 1) % length]! & 0x7fffffff)
        state[i] = state[(i + distance) % length]! ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0)
      }
    }
    let y = state[index++]!
    y ^= y >>> 11
    y ^= (y << 7) & 0x9d2c5680
    y ^= (y << 15) & 0xefc60000
    return (y ^ (y >>> 18)) >>> 0
  }
}
