import { expect, it } from 'vitest';

import { drivePath, folderOf } from '../src/paths';

it.each([
  ['loops:rain-0a1b2c3d', 'rain-0a1b2c3d'],
  ['loops:rain-0a1b2c3d/data/a.ipynb', 'rain-0a1b2c3d'],
  ['loops:/rain-0a1b2c3d/a.ipynb', 'rain-0a1b2c3d'],
  ['loops:', undefined],
  ['loops:/', undefined],
  ['', undefined],
  ['loops/a.ipynb', undefined],
  ['other:rain-0a1b2c3d', undefined]
])('the loop of %s is in %s', (path, folder) => {
  expect(folderOf(path)).toBe(folder);
});

it('a folder leads back to itself', () => {
  expect(folderOf(drivePath('rain-0a1b2c3d'))).toBe('rain-0a1b2c3d');
});
