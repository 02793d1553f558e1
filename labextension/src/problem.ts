import type { TranslationBundle } from '@jupyterlab/translation';
import type { Widget } from '@lumino/widgets';

import { LoopError } from './api';
import { told } from './notices';

/**
 * What a form says of its work that failed.
 *
 * @param form - Once it is closed nobody sees what it says: then a notification says it.
 * @param trans - Translates.
 * @param error - What was thrown.
 */
export function problemOf(
  form: Pick<Widget, 'isDisposed'>,
  trans: TranslationBundle,
  error: unknown
): LoopError {
  const problem =
    error instanceof LoopError
      ? error
      : new LoopError(String(error), 0, 'unknown');
  if (form.isDisposed) {
    void told(trans, () => Promise.reject(problem));
  }
  return problem;
}
