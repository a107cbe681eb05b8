/**
 * Renders the logo: a disc at six levels of noise, x_t = √ᾱ·x_0 + √(1−ᾱ)·ε (DDPM eq. 4), from pure noise to none.
 */
export function renderLogo(canvas: HTMLCanvasElement): void {
  const side = 9
  const alphaBars = [0, 0.25, 0.55, 0.8, 0.95, 1]
  canvas.width = alphaBars.length * (side + 1) - 1
  canvas.height = side
  const context = canvas.getContext('2d')!
  const noise = createNoise(20)
  for (const [i, alphaBar] of alphaBars.entries()) {
    const image = context.createImageData(side, side)
    for (let pixel = 0; pixel < side * side; pixel++) {
      const isInside = Math.hypot((pixel % side) - 4, Math.floor(pixel / side) - 4) < 3.3
      const x0 = isInside ? amber : nearBlack
      for (let c = 0; c < 3; c++) {
        const x = Math.sqrt(alphaBar) * x0[c]! + Math.sqrt(1 - alphaBar) * noise()
        image.data[pixel * 4 + c] = (x + 1) * 127.5
      }
      image.data[pixel * 4 + 3] = 255
    }
    context.putImageData(image, i * (side + 1), 0)
  }
}

/** Colours in [−1, 1]. */
const amber = [0.9, 0.28, -0.55]
const nearBlack = [-0.91, -0.9, -0.9]

/**
 * Creates a generator of approximately normal noise: the scaled sum of six uniform numbers of a linear congruential
 * generator. The quality is sufficient for a logo.
 */
function createNoise(seed: number): () => number {
  let state = seed
  const uniform = () => (state = (state * 48271) % 2147483647) / 2147483647
  return () => Array.from({ length: 6 }, uniform).reduce((sum, u) => sum + u - 0.5, 0) * Math.SQRT2
}
