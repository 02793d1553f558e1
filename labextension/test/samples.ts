import type { TranslationBundle } from '@jupyterlab/translation';

import type { Loop } from '../src/tokens';

const fill = (text: string, args: unknown[]) =>
  text.replace(/%(\d)/g, (_, digit: string) => String(args[Number(digit) - 1]));

/** Translates nothing, as JupyterLab does in English. */
export const trans = {
  __: (text: string, ...args: unknown[]) => fill(text, args),
  _n: (one: string, many: string, count: number, ...args: unknown[]) =>
    fill(count === 1 ? one : many, [count, ...args])
} as unknown as TranslationBundle;

/** A loop with some values of its own. */
export function loop(values: Partial<Loop> = {}): Loop {
  return {
    id: 'a',
    title: 'Rain',
    archived: false,
    state: 'absent',
    build_failed: false,
    repo_missing: false,
    vault_missing: false,
    progress: null,
    in_use: { kernels: 0, terminals: 0, commands: 0, unresponsive: [] },
    last_activity: '2026-03-01T10:00:00Z',
    ...values
  } as Loop;
}
