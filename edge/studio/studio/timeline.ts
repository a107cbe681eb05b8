import type { Plan } from 'ddpm-sampler'
import { createChart } from '../ui/chart.ts'
import { byId, paint } from '../ui/dom.ts'
import type { Frame } from './frames.ts'

export interface Strip {
  /** The table of what will be drawn. */
  plan(plan: Plan, strength: number): void
  /** A drawing under way: this is its latest frame. */
  follow(frame: Frame): void
  /** A drawing that is done, to go back and forth in. */
  load(frames: readonly Frame[]): void
  /** Whose x_t and x_0 are shown. */
  pick(image: number): void
  /** Nothing drawn yet, or nothing any more. */
  clear(): void
}

/**
 * The strip below the sheet: one picture as it is now, beside what the network takes it for, and the drawing's noise
 * levels with a slider along them.
 * @param onFrame called when the slider comes to a frame
 */
export function createTimeline(onFrame: (frame: Frame) => void): Strip {
  const [now, guess] = [byId('now', HTMLCanvasElement), byId('guess', HTMLCanvasElement)]
  const slider = byId('time', HTMLInputElement)
  const text = byId('time-text', HTMLOutputElement)
  const play = byId('play', HTMLButtonElement)
  const chart = createChart()
  byId('chart', HTMLElement).append(chart.element)
  let frames: readonly Frame[] = []
  let shown: Frame | null = null
  let image = 0

  const render = (frame: Frame) => {
    shown = frame
    const words = wordsOf(frame)
    text.value = words
    slider.setAttribute('aria-valuetext', words)
    chart.at(frame.step / frame.steps)
    const [x, x0] = [frame.x[image], frame.x0?.[image]]
    if (x) paint(now, x)
    if (x0) paint(guess, x0)
    else guess.getContext('2d')!.clearRect(0, 0, guess.width, guess.height)
  }
  const seek = (index: number) => {
    const frame = frames[index]
    if (!frame) return
    slider.value = String(index)
    render(frame)
    onFrame(frame)
  }
  slider.addEventListener('input', () => {
    stop()
    seek(slider.valueAsNumber)
  })

  let playing: number | null = null
  const stop = () => {
    if (playing !== null) cancelAnimationFrame(playing)
    playing = null
    play.setAttribute('aria-pressed', 'false')
  }
  play.addEventListener('click', () => {
    if (playing !== null) return stop()
    play.setAttribute('aria-pressed', 'true')
    const began = performance.now()
    const from = slider.valueAsNumber >= frames.length - 1 ? 0 : slider.valueAsNumber
    const turn = (time: number) => {
      const index = Math.min(from + Math.floor(Math.max(time - began, 0) / frameTime), frames.length - 1)
      if (index !== slider.valueAsNumber || index === from) seek(index)
      if (index === frames.length - 1) stop()
      else playing = requestAnimationFrame(turn)
    }
    playing = requestAnimationFrame(turn)
  })
  const enable = (enabled: boolean) => {
    slider.disabled = play.disabled = !enabled
  }

  return {
    plan(plan, strength) {
      chart.show(plan, strength)
      if (shown) chart.at(shown.step / shown.steps)
    },
    follow(frame) {
      slider.max = String(frame.steps)
      slider.value = String(frame.step)
      render(frame)
    },
    load(loaded) {
      frames = loaded
      slider.max = String(loaded.length - 1)
      enable(true)
      seek(loaded.length - 1)
    },
    pick(index) {
      image = index
      if (shown) render(shown)
    },
    clear() {
      stop()
      frames = []
      shown = null
      slider.value = '0'
      text.value = ''
      enable(false)
      for (const canvas of [now, guess]) canvas.getContext('2d')!.clearRect(0, 0, canvas.width, canvas.height)
      chart.at(0)
    },
  }
}

/** Milliseconds that a frame is shown when the drawing is played. */
export const frameTime = 60

export function wordsOf({ step, steps, t }: Frame): string {
  if (t === null) return 'before the first step'
  return `step ${step} of ${steps}, t = ${Math.round(t)}`
}
