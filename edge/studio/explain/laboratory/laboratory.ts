import { byId } from '../../ui/dom.ts'
import { formatNumber } from '../../ui/format.ts'
import { prefersReducedMotion } from '../../ui/preferences.ts'
import { createStatus } from '../../ui/status.ts'
import { createBoard } from './board.ts'
import { createScoreField } from './field.ts'
import { createTraining, type Training } from './training.ts'
import { createTrajectories } from './trajectories.ts'

/** Milliseconds of training per frame. The rest of the frame is left for input and rendering. */
const slice = 11
/** Milliseconds between updates of the score field during training. */
const fieldInterval = 200

/** Connects the laboratory: points that the visitor draws, a network that is trained on them, and its figures. */
export function createLaboratory(): void {
  const status = createStatus()
  const train = byId('train', HTMLButtonElement)
  const startOver = byId('start-over', HTMLButtonElement)
  const board = createBoard(reset)
  const field = createScoreField()
  const trajectories = createTrajectories()
  let training: Training | null = null
  /** Seed of the latest training with these points. */
  let seed = 0
  let isRunning = false
  let nextFrame = 0

  const isFinished = () => training !== null && training.step === training.steps
  const updateButtons = () => {
    const restart = isFinished() ? 'Train again' : 'Resume'
    train.textContent = isRunning ? 'Stop' : training ? restart : 'Train'
    train.disabled = board.points().length === 0
    startOver.disabled = training === null || isRunning || isFinished()
  }
  const halt = () => {
    isRunning = false
    cancelAnimationFrame(nextFrame)
  }
  const stop = () => {
    halt()
    const { step, steps, loss, network } = training!
    const state = isFinished() ? 'Trained' : 'Stopped'
    status.progress('', step / steps)
    status.announce(`${state} after ${formatNumber(step)} steps, loss ${loss.toFixed(3)}.`)
    field.show(board.points(), network)
    trajectories.show(board.points(), network)
    updateButtons()
  }
  const run = () => {
    const running = (training ??= createTraining(board.points(), ++seed))
    isRunning = true
    updateButtons()
    let lastField = 0
    const frame = () => {
      const start = performance.now()
      while (running.step < running.steps && performance.now() - start < slice) running.advance()
      if (isFinished()) return stop()
      status.progress(
        `Step ${formatNumber(running.step)} of ${formatNumber(running.steps)}, loss ${running.loss.toFixed(3)}.`,
        running.step / running.steps,
      )
      if (!prefersReducedMotion() && start - lastField > fieldInterval) {
        lastField = start
        field.show(board.points(), running.network)
      }
      nextFrame = requestAnimationFrame(frame)
    }
    nextFrame = requestAnimationFrame(frame)
  }
  /** Discards the network, because the points changed. */
  function reset() {
    halt()
    training = null
    seed = 0
    status.progress(board.description(), 0)
    field.show(board.points(), null)
    trajectories.show(board.points(), null)
    updateButtons()
  }

  train.addEventListener('click', () => {
    if (isRunning) return stop()
    if (isFinished()) training = null
    run()
  })
  startOver.addEventListener('click', () => {
    training = null
    run()
    // The button is disabled during training.
    train.focus()
  })
  reset()
}
