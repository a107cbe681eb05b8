import type { Plan } from 'ddpm-sampler'
import type { Frame } from '../generation/frames.ts'
import { createChart } from '../ui/chart.ts'
import { byId, paint } from '../ui/dom.ts'

export interface Timeline {
  /** Shows the noise levels of a plan. */
  showPlan(plan: Plan, strength: number): void
  /** Shows the latest frame of a running generation. */
  follow(frame: Frame): void
  /** Loads the frames of a finished generation, so that the slider and the play button work. */
  load(frames: readonly Frame[]): void
  /** Selects the image whose x_t and x̂₀ are shown. */
  select(image: number): void
  clear(): void
}

/** Duration of a frame when the timeline plays, in milliseconds. */
export const frameDuration = 60

/**
 * Connects the timeline: the selected image, its predicted x̂₀, and a slider over the frames below the chart of noise
 * levels.
 * @param onFrame called with the frame that the slider selects
 */
export function createTimeline(onFrame: (frame: Frame) => void): Timeline {
  const [xCanvas, x0Canvas] = [byId('current', HTMLCanvasElement), byId('predicted-x0', HTMLCanvasElement)]
  const slider = byId('time', HTMLInputElement)
  const text = byId('time-text', HTMLOutputElement)
  const chart = createChart()
  byId('chart', HTMLElement).append(chart.element)
  let frames: readonly Frame[] = []
  let shown: Frame | null = null
  let image = 0

  const render = (frame: Frame) => {
    shown = frame
    const description = describe(frame)
    text.value = description
    slider.setAttribute('aria-valuetext', description)
    chart.moveTo(frame.step / frame.steps)
    const [x, x0] = [frame.x[image], frame.x0?.[image]]
    if (x) paint(xCanvas, x)
    if (x0) paint(x0Canvas, x0)
    else clearCanvas(x0Canvas)
  }
  const seek = (index: number) => {
    const frame = frames[index]
    if (!frame) return
    slider.value = String(index)
    render(frame)
    onFrame(frame)
  }
  const player = createPlayer({
    position: () => slider.valueAsNumber,
    length: () => frames.length,
    seek,
  })
  slider.addEventListener('input', () => {
    player.stop()
    seek(slider.valueAsNumber)
  })
  const enable = (isEnabled: boolean) => {
    slider.disabled = !isEnabled
    player.enable(isEnabled)
  }

  return {
    showPlan(plan, strength) {
      chart.show(plan, strength)
      if (shown) chart.moveTo(shown.step / shown.steps)
    },
    follow(frame) {
      slider.max = String(frame.steps)
      slider.value = String(frame.step)
      render(frame)
    },
    load(newFrames) {
      frames = newFrames
      slider.max = String(newFrames.length - 1)
      enable(true)
      seek(newFrames.length - 1)
    },
    select(index) {
      image = index
      if (shown) render(shown)
    },
    clear() {
      player.stop()
      frames = []
      shown = null
      slider.value = '0'
      text.value = ''
      enable(false)
      for (const canvas of [xCanvas, x0Canvas]) clearCanvas(canvas)
      chart.moveTo(0)
    },
  }
}

interface Frames {
  /** Index of the current frame. */
  position(): number
  length(): number
  seek(index: number): void
}

/** Connects the play button. Playback starts at the current frame, or at the first one if the current is the last. */
function createPlayer({ position, length, seek }: Frames): {
  stop(): void
  enable(isEnabled: boolean): void
} {
  const button = byId('play', HTMLButtonElement)
  let request: number | null = null
  const stop = () => {
    if (request !== null) cancelAnimationFrame(request)
    request = null
    button.setAttribute('aria-pressed', 'false')
  }
  button.addEventListener('click', () => {
    if (request !== null) return stop()
    button.setAttribute('aria-pressed', 'true')
    const startTime = performance.now()
    const first = position() >= length() - 1 ? 0 : position()
    const last = length() - 1
    const advance = (time: number) => {
      const elapsedFrames = Math.floor(Math.max(time - startTime, 0) / frameDuration)
      const index = Math.min(first + elapsedFrames, last)
      if (index !== position() || index === first) seek(index)
      if (index === last) stop()
      else request = requestAnimationFrame(advance)
    }
    request = requestAnimationFrame(advance)
  })
  return {
    stop,
    enable(isEnabled) {
      button.disabled = !isEnabled
    },
  }
}

function clearCanvas(canvas: HTMLCanvasElement): void {
  canvas.getContext('2d')!.clearRect(0, 0, canvas.width, canvas.height)
}

function describe({ step, steps, t }: Frame): string {
  if (t === null) return 'before the first step'
  return `step ${step} of ${steps}, t = ${Math.round(t)}`
}
