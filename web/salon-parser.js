// The text of an event stream, taken apart.

/** The parts of `text/event-stream`, however they are cut. */
export class EventParser {
  #rest = '';

  /**
   * The events that are complete with this piece of text.
   *
   * @param {string} text
   * @returns {{type: string, data: string}[]}
   */
  feed(text) {
    // No data of ours has a carriage return in it; a proxy may have put some behind the lines.
    const lines = (this.#rest + text.replaceAll('\r', '')).split('\n');
    // What follows the last empty line is not complete.
    const end = lines.lastIndexOf('', lines.length - 2);
    this.#rest = end < 0 ? lines.join('\n') : lines.slice(end + 1).join('\n');
    const events = [];
    let type = '';
    let data = [];
    for (const line of end < 0 ? [] : lines.slice(0, end + 1)) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (field === 'event') type = value;
      if (field === 'data') data.push(value);
      if (line !== '') continue;
      if (data.length > 0) events.push({ type, data: data.join('\n') });
      type = '';
      data = [];
    }
    return events;
  }
}
