import type { DocumentRegistry } from '@jupyterlab/docregistry';
import type { Contents } from '@jupyterlab/services';
import { expect, it } from 'vitest';

import { freeName, saveCopies } from '../src/copies';

it.each([
  ['draft.txt', [], 'draft.txt'],
  ['draft.txt', ['draft.txt', 'draft (1).txt'], 'draft (2).txt'],
  ['Makefile', ['Makefile'], 'Makefile (1)']
])('%s among %j is called %s', (name, taken, expected) => {
  expect(freeName(name, new Set(taken))).toBe(expected);
});

it('copies go to the folder of the server, and replace nothing', async () => {
  const saved: unknown[] = [];
  const contents = {
    localPath: (path: string) => path.split(':').pop(),
    get: () => Promise.resolve({ content: [{ name: 'a.ipynb' }] }),
    save: (...options: unknown[]) => Promise.resolve(saved.push(options))
  } as unknown as Contents.IManager;
  const document = (path: string, type: string) =>
    ({
      path,
      contentsModel: { type, format: null },
      model: { toJSON: () => ({ cells: [] }), toString: () => 'rain' }
    }) as unknown as DocumentRegistry.Context;
  const names = await saveCopies(contents, [
    document('loops:rain-0a1b2c3d/data/a.ipynb', 'notebook'),
    document('loops:rain-0a1b2c3d/b.txt', 'file'),
    document('loops:rain-0a1b2c3d/data/b.txt', 'file')
  ]);
  expect(names).toEqual(['a (1).ipynb', 'b.txt', 'b (1).txt']);
  const text = { type: 'file', format: 'text', content: 'rain' };
  const notebook = { type: 'notebook', format: 'json', content: { cells: [] } };
  expect(saved).toEqual([
    ['a (1).ipynb', notebook],
    ['b.txt', text],
    ['b (1).txt', text]
  ]);
});
