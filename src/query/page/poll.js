// One question to the API, asked again and again: never two at a time, less and less often while it fails, and not at
// all while nobody looks.

import { ask } from "/assets/live.js";

const SLOWEST_MS = 60000;

export class Poll {
  // `isAwake()`: whether to ask again. What was never asked is asked all the same, once.
  constructor(isAwake) {
    this.isAwake = isAwake;
    this.stop();
  }

  stop() {
    this.asking?.abort();
    [this.what, this.asking, this.nextAt, this.failures] = [null, null, 0, 0];
    [this.answer, this.error] = [null, null];
  }

  // `what` tells questions apart: another one puts an end to the one before. `then()` is called once there is something
  // new: an answer, or the error that came instead of it.
  want(what, path, everyMs, then) {
    if (what !== this.what) {
      this.stop();
      this.what = what;
    } else if (this.asking || Date.now() < this.nextAt || (this.nextAt > 0 && !this.isAwake())) {
      return;
    }
    this.ask(path, everyMs, then);
  }

  async ask(path, everyMs, then) {
    const asking = new AbortController();
    this.asking = asking;
    let answer = null, error = null;
    try {
      answer = await ask(path, asking.signal);
    } catch (failed) {
      error = failed.message;
    }
    if (asking !== this.asking) return;
    this.failures = error === null ? 0 : this.failures + 1;
    [this.asking, this.error, this.answer] = [null, error, answer ?? this.answer];
    this.nextAt = Date.now() + Math.max(everyMs, Math.min(SLOWEST_MS, everyMs * 2 ** this.failures));
    then();
  }
}
