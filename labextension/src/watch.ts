import type { IDisposable } from '@lumino/disposable';

import type { ILoopManager } from './tokens';

/** Has the loops kept while something looks at them, such as a widget that is seen. */
export class Watch implements IDisposable {
  /**
   * @param _manager - Keeps them.
   */
  constructor(private _manager: ILoopManager) {}

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  /** Whether it looks now. */
  set isLooking(value: boolean) {
    if (value && !this._isDisposed) {
      this._held ??= this._manager.watch();
    } else {
      this._held?.dispose();
      this._held = undefined;
    }
  }

  dispose(): void {
    this._isDisposed = true;
    this.isLooking = false;
  }

  private _held: IDisposable | undefined;
  private _isDisposed = false;
}
