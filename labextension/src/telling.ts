import type { Notification } from '@jupyterlab/apputils';

/** A failed request and an event that say the same come about together; what comes later has happened again. */
export const SAME_MS = 5000;

/** Tells what happens once, and once more when it happens again. */
export class Teller {
  /**
   * @param _notices - Where notices are; JupyterLab keeps one in its centre after its toast has closed.
   * @param _now - Tells the time, in milliseconds.
   */
  constructor(
    private _notices: Pick<typeof Notification.manager, 'has' | 'dismiss'>,
    private _now: () => number = Date.now
  ) {}

  /**
   * Shows a notice, in place of an older one of the same; not if that was shown just now and is there still.
   *
   * @param loopId - Of the loop that it is about; empty for none.
   * @param message - What makes it the same.
   * @param show - Shows it and answers with the id of the notice.
   */
  tell(loopId: string, message: string, show: () => string): void {
    for (const [key, { id }] of this._told) {
      if (!this._notices.has(id)) {
        this._told.delete(key);
      }
    }
    const key = JSON.stringify([loopId, message]);
    const before = this._told.get(key);
    if (before !== undefined) {
      if (this._now() - before.at < SAME_MS) {
        return;
      }
      this._notices.dismiss(before.id);
    }
    this._told.set(key, { id: show(), at: this._now() });
  }

  private _told = new Map<string, { id: string; at: number }>();
}
