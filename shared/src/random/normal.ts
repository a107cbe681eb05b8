/**
 * Returns a quantile of the standard normal distribution with a relative accuracy of about 1e-16: Wichura's algorithm
 * AS 241, PPND16 (Applied Statistics 37, 1988). The result has the same bits in every JavaScript engine.
 * @param p a probability in (0, 1)
 */
export function inverseNormal(p: number): number {
  const q = p - 0.5
  if (Math.abs(q) <= 0.425) return q * rational(central, 0.180625 - q * q)
  const r = Math.sqrt(-exactLog(q < 0 ? p : 1 - p))
  const magnitude = r <= 5 ? rational(middle, r - 1.6) : rational(tail, r - 5)
  return q < 0 ? -magnitude : magnitude
}

/**
 * Returns Φ(x), the distribution function of the standard normal distribution, with a relative accuracy of about 1e-13
 * for x ≥ −37. Uses Hart's algorithm 5666 (Computer Approximations, 1968) for |x| < 3.5 and the continued fraction
 * of Mills' ratio beyond.
 */
export function normalCdf(x: number): number {
  const z = Math.abs(x)
  const density = Math.exp((-z * z) / 2)
  const tail = z < 3.5 ? density * rational(hart, z) : density / Math.sqrt(2 * Math.PI) / inverseMills(z)
  return x < 0 ? tail : 1 - tail
}

const ln2 = Math.LN2
const bits = new DataView(new ArrayBuffer(8))

/**
 * Computes the natural logarithm of a positive normal number with additions, multiplications and divisions only.
 * `Math.log` may differ by one ulp between JavaScript engines; these operations are exact or correctly rounded.
 */
export function exactLog(x: number): number {
  bits.setFloat64(0, x)
  const high = bits.getUint32(0)
  let exponent = ((high >>> 20) & 0x7ff) - 1023
  bits.setUint32(0, (high & 0x000fffff) | 0x3ff00000)
  let mantissa = bits.getFloat64(0)
  if (mantissa > Math.SQRT2) {
    mantissa /= 2
    exponent += 1
  }
  // log m = 2·atanh(r) = 2(r + r³/3 + r⁵/5 + …), |r| ≤ 0.1716: eleven terms reach 1e-17.
  const r = (mantissa - 1) / (mantissa + 1)
  const square = r * r
  let sum = 0
  for (let k = 21; k >= 1; k -= 2) sum = sum * square + 1 / k
  return 2 * r * sum + exponent * ln2
}

/** Returns φ(z)/Φ(−z) = z + 1/(z + 2/(z + 3/(z + …))) for z ≥ 3.5. */
function inverseMills(z: number): number {
  let fraction = z
  for (let level = 40; level >= 1; level--) fraction = z + level / fraction
  return fraction
}

/** Evaluates two polynomials of degree 7 by Horner's rule and returns their quotient. */
function rational({ a, b }: { a: number[]; b: number[] }, x: number): number {
  let numerator = 0
  let denominator = 0
  for (let i = 7; i >= 0; i--) {
    numerator = numerator * x + a[i]!
    denominator = denominator * x + b[i]!
  }
  return numerator / denominator
}

// Coefficients of AS 241 for |p − ½| ≤ 0.425, for moderate tails and for far tails.
const central = {
  a: [
    3.387132872796366608, 133.14166789178437745, 1971.5909503065514427, 13731.693765509461125,
    45921.953931549871457, 67265.770927008700853, 33430.575583588128105, 2509.0809287301226727,
  ],
  b: [
    1, 42.313330701600911252, 687.1870074920579083, 5394.1960214247511077, 21213.794301586595867,
    39307.89580009271061, 28729.085735721942674, 5226.495278852545925,
  ],
}
const middle = {
  a: [
    1.42343711074968357734, 4.6303378461565452959, 5.7694972214606914055, 3.64784832476320460504,
    1.27045825245236838258, 0.24178072517745061177, 0.0227238449892691845833, 7.7454501427834140764e-4,
  ],
  b: [
    1, 2.05319162663775882187, 1.6763848301838038494, 0.68976733498510000455, 0.14810397642748007459,
    0.0151986665636164571966, 5.475938084995344946e-4, 1.05075007164441684324e-9,
  ],
}
const tail = {
  a: [
    6.6579046435011037772, 5.4637849111641143699, 1.7848265399172913358, 0.29656057182850489123,
    0.026532189526576123093, 0.0012426609473880784386, 2.71155556874348757815e-5, 2.01033439929228813265e-7,
  ],
  b: [
    1, 0.59983220655588793769, 0.13692988092273580531, 0.0148753612908506148525, 7.868691311456132591e-4,
    1.8463183175100546818e-5, 1.4215117583164458887e-7, 2.04426310338993978564e-15,
  ],
}

// Coefficients of Hart's algorithm 5666 for |x| < 3.5.
const hart = {
  a: [
    220.2068679123761, 221.2135961699311, 112.0792914978709, 33.912866078383, 6.37396220353165,
    0.700383064443688, 0.0352624965998911, 0,
  ],
  b: [
    440.4137358247522, 793.8265125199484, 637.3336333788311, 296.5642487796737, 86.78073220294608,
    16.06417757920695, 1.755667163182642, 0.08838834764831844,
  ],
}
