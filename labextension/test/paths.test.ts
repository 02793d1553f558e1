import { expect, it } from 'vitest';

import {
  consolePath,
  drivePath,
  folderOf,
  idOf,
  idOfTerminal,
  liesIn
} from '../src/paths';

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

const ID = '3f2a9c1e-6f3e-4c6f-9d5a-0d4f5b6c7d8e';

it.each([
  ['welcome.ipynb', `~/.loopat/loops/${ID}/workdir`, ID],
  ['', `/home/ada/.loopat/loops/${ID}/workdir`, ID],
  ['data/a.csv', `/srv/loops/${ID}/workdir/sub`, ID],
  [`loops/${ID}/workdir/a.ipynb`, '/srv', ID],
  ['a.ipynb', `~/.loopat/loops/${ID}/home`, undefined],
  ['a.ipynb', `~/.loopat/loops/${ID}/workdir2`, undefined],
  ['a.ipynb', '/home/ada', undefined],
  ['loops:rain-0a1b2c3d/a.ipynb', `~/.loopat/loops/${ID}/workdir`, undefined]
])('%s below %s is in %s', (path, root, id) => {
  expect(idOf(path, root)).toBe(id);
});

it.each([
  ['rain-0a1b2c3d/console-1-5e', 'loops:rain-0a1b2c3d/console-1-5e'],
  ['rain-0a1b2c3d/data/console-1-5e', 'loops:rain-0a1b2c3d/data/console-1-5e'],
  ['console-1-0a1b2c3d', 'console-1-0a1b2c3d'],
  ['data/console-1-5e', 'data/console-1-5e']
])('the console %s is at %s', (path, meant) => {
  expect(consolePath(path)).toBe(meant);
});

it.each([
  ['0a1b2c3d_2', '0a1b2c3d'],
  ['1', undefined],
  ['0a1b2c3d', undefined]
])('the terminal %s is in %s', (name, id) => {
  expect(idOfTerminal(name)).toBe(id);
});

it.each([
  ['loops:rain-3f2a9c1e/data/a.ipynb', '/home/ada', true],
  ['data/a.ipynb', `/srv/loops/${ID}/workdir`, true],
  ['loops:snow-3f2a9c1e/a.ipynb', '/home/ada', false],
  ['a.ipynb', '/home/ada', false]
])('%s below %s lies in the loop or not', (path, root, expected) => {
  expect(liesIn(path, { id: ID, folder: 'rain-3f2a9c1e' }, root)).toBe(
    expected
  );
});
