const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']
const month = `(?<month>${months.join('|')})`
const time = '(?<hour>[01]\\d|2[0-3]):(?<minute>[0-5]\\d):(?<second>[0-5]\\d|60)'

/** The three forms of RFC 9110 section 5.6.7: IMF-fixdate, and the obsolete ones of RFC 850 and of asctime. */
const forms = [
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\\d\\d) ${month} (?<year>\\d{4}) ${time} GMT$`),
  new RegExp(
    `^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\\d\\d)-${month}-(?<year>\\d\\d) ${time} GMT$`,
  ),
  new RegExp(`^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ${month} (?<day>[\\d ]\\d) ${time} (?<year>\\d{4})$`),
]

/**
 * An HTTP date in milliseconds since 1970. Null for no header and for what is no date, which recipients ignore.
 * @param now for years of two digits: one that seems more than 50 years ahead is the latest past one
 */
export function parseHttpDate(header: string | null, now: Date = new Date()): number | null {
  for (const form of forms) {
    const found = form.exec(header?.trim() ?? '')?.groups
    if (found === undefined) continue
    let year = Number(found['year'])
    if (found['year']!.length === 2) {
      year += Math.floor(now.getUTCFullYear() / 100) * 100
      if (year > now.getUTCFullYear() + 50) year -= 100
    }
    const [day, hour, minute, second] = ['day', 'hour', 'minute', 'second'].map((part) => Number(found[part]))
    const date = new Date(Date.UTC(year, months.indexOf(found['month']!), day))
    // The 31st of June is no date.
    if (date.getUTCDate() !== day) return null
    return date.setUTCHours(hour!, minute!, second!)
  }
  return null
}
