/**
 * Sends an event of this page. It never throws: what cannot be sent is said on the console.
 *
 * @param type What happened: 1 to 128 bytes.
 * @param payload Anything about it that JSON can say, at most 20,000 characters.
 */
declare function streamgauge(type: string, payload?: Record<string, unknown>): void;

interface Window {
  streamgauge: typeof streamgauge;
}
