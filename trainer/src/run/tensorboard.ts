import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import protobuf from 'protobufjs'
import { withWriteErrors } from '../support/files.ts'

/** The part of TensorBoard's event schema that is written (event.proto, summary.proto). */
const root = protobuf.Root.fromJSON({
  nested: {
    Event: {
      fields: {
        wallTime: { type: 'double', id: 1 },
        step: { type: 'int64', id: 2 },
        fileVersion: { type: 'string', id: 3 },
        summary: { type: 'Summary', id: 5 },
        sessionLog: { type: 'SessionLog', id: 7 },
      },
    },
    Summary: { fields: { value: { rule: 'repeated', type: 'Value', id: 1 } } },
    Value: {
      fields: {
        tag: { type: 'string', id: 1 },
        simpleValue: { type: 'float', id: 2 },
        image: { type: 'Image', id: 4 },
      },
    },
    Image: {
      fields: {
        height: { type: 'int32', id: 1 },
        width: { type: 'int32', id: 2 },
        colorspace: { type: 'int32', id: 3 },
        encodedImageString: { type: 'bytes', id: 4 },
      },
    },
    SessionLog: { fields: { status: { type: 'int32', id: 1 } } },
  },
})
const Event = root.lookupType('Event')
/** SessionLog.START: TensorBoard drops the events of earlier files from this step on. */
const start = 1

/** Writes a run's metrics and samples as TensorBoard event files. */
export interface TensorboardWriter {
  scalars(step: number, values: Readonly<Record<string, number>>): void
  image(step: number, tag: string, png: Uint8Array): void
  close(): void
}

/**
 * Creates an event file in a folder. Each session of a run has a file of its own.
 * @param from the last completed step. TensorBoard ignores later steps of earlier files, as a resumed run repeats them.
 * @throws WriteError
 */
export function openTensorboard(folder: string, from: number): TensorboardWriter {
  const seconds = () => Date.now() / 1000
  const path = join(folder, `events.out.tfevents.${seconds().toFixed(0)}.${hostname()}.${process.pid}`)
  const file = withWriteErrors(path, 0, () => {
    mkdirSync(folder, { recursive: true })
    return openSync(path, 'a')
  })
  const write = (event: object) => {
    const record = encodeRecord(Event.encode(Event.fromObject({ wallTime: seconds(), ...event })).finish())
    withWriteErrors(path, record.length, () => {
      for (let written = 0; written < record.length; ) written += writeSync(file, record, written)
    })
  }
  write({ fileVersion: 'brain.Event:2' })
  if (from > 0) write({ step: from + 1, sessionLog: { status: start } })
  return {
    scalars(step, values) {
      const value = Object.entries(values).map(([tag, simpleValue]) => ({ tag, simpleValue }))
      write({ step, summary: { value } })
    },
    image(step, tag, png) {
      const header = new DataView(png.buffer, png.byteOffset)
      const [width, height] = [header.getUint32(16), header.getUint32(20)]
      const image = { width, height, colorspace: 3, encodedImageString: png }
      write({ step, summary: { value: [{ tag, image }] } })
    },
    close: () => closeSync(file),
  }
}

/** Frames a message as a TFRecord: length, masked CRC of the length, message, masked CRC of the message. */
function encodeRecord(message: Uint8Array): Buffer {
  const record = Buffer.alloc(16 + message.length)
  record.writeBigUInt64LE(BigInt(message.length), 0)
  record.writeUInt32LE(maskedCrc(record.subarray(0, 8)), 8)
  record.set(message, 12)
  record.writeUInt32LE(maskedCrc(message), 12 + message.length)
  return record
}

/** Returns TFRecord's masked CRC-32C. Node's zlib has only CRC-32, which uses another polynomial. */
function maskedCrc(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (crc >>> 8) ^ castagnoli[(crc ^ byte) & 0xff]!
  crc = ~crc >>> 0
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

/** Table of CRC-32C (RFC 3720, appendix B.4), reflected polynomial 0x82f63b78. */
const castagnoli = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})
