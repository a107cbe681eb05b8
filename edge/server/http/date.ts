const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const month = `(?<month>${months.join('|')})`
const time = '(?<hour>[01]\\d|2[0-3]):(?<minute>[0-5]\\d):(?<second>[0-5]\\d|60)'

/** The three formats of RFC 9110 section 5.6.7: IMF-fixdate, and the obsolete ones of RFC 850 and of asctime. */
const formats = [
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\\d\\d) ${month} (?<year>\\d{4}) ${time} GMT$`),
  new RegExp(
    `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\\d\\d)-${month}-(?<year>\\d\\d) ${time} GMT$`,
  ),
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} (?<day>[\\d ]\\d) ${time} (?<year>\\d{4})$`),
]

/**
 * Parses an HTTP date.
 * @param now the current time, for two-digit years: a year that seems to be more than 50 years ahead is the most recent
 * past year with these digits
 * @returns milliseconds since 1970, or null for a missing or invalid header, which recipients must ignore
 */
export function parseHttpDate(header: string | null, now: Date = new Date()): number | null {
  for (const format of formats) {
    const groups = format.exec(header?.trim() ?? '')?.groups
    if (groups === undefined) continue
    let year = Number(groups['year'])
    if (groups['year']!.length === 2) {
      year += Math.floor(now.getUTCFullYear() / 100) * 100
      if (year > now.getUTCFullYear() + 50) year -= 100
    }
    const [day, hour, minute, second] = ['day', 'hour', 'minute', 'second'].map((part) =>
      Number(groups[part]),
    )
    const date = new Date(Date.UTC(year, months.indexOf(groups['month']!), day))
    // Date.UTC carries invalid days, such as 31 June, into the next month.
    if (date.getUTCDate() !== day) return null
    return date.setUTCHours(hour!, minute!, second!)
  }
  return null
}
