/** Has what is asked for again while it is under way be done once, as with a double click. */
export class Once {
  /**
   * @param keyOf - Tells what is asked for; undefined for what is done each time.
   * @param act - Does it.
   * @returns Does it, or answers with what comes of the same that is under way.
   */
  each<A, T>(
    keyOf: (asked: A) => string | undefined,
    act: (asked: A) => Promise<T>
  ): (asked: A) => Promise<T> {
    return asked => {
      const key = keyOf(asked);
      if (key === undefined) {
        return act(asked);
      }
      const known = this._underWay.get(key) as Promise<T> | undefined;
      if (known !== undefined) {
        return known;
      }
      const begun = act(asked).finally(() => this._underWay.delete(key));
      this._underWay.set(key, begun);
      return begun;
    };
  }

  private _underWay = new Map<string, Promise<unknown>>();
}
