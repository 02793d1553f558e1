import { expect, test } from 'vitest';

import { startHere } from '../src/here';

test('what is started without a place starts in the folder that is shown', async () => {
  let shown: string | undefined = 'loops:harbour-1a2b3c4d';
  const ran: unknown[] = [];
  const commands = {
    execute: (id: string, args?: object) => {
      ran.push([id, args]);
      return Promise.resolve();
    }
  };
  startHere(commands, () => shown);
  await commands.execute('terminal:create-new');
  // A launcher of the server's root says an empty one.
  await commands.execute('console:create', { cwd: '', isLauncher: true });
  const named = { kernelPreference: { name: 'python3', id: undefined } };
  await commands.execute('console:create', named);
  const told = [
    ['terminal:create-new', { cwd: 'elsewhere' }],
    ['terminal:create-new', { name: '1' }],
    ['console:create', { basePath: 'elsewhere' }],
    ['console:create', { path: 'elsewhere/console-1' }],
    // As from the list of kernels that run.
    ['console:create', { kernelPreference: { id: 'of-the-host' } }],
    ['notebook:create-new', {}]
  ] as const;
  for (const [id, args] of told) {
    await commands.execute(id, args);
  }
  shown = undefined;
  await commands.execute('terminal:create-new', {});
  expect(ran).toEqual([
    ['terminal:create-new', { cwd: 'loops:harbour-1a2b3c4d' }],
    ['console:create', { cwd: 'loops:harbour-1a2b3c4d', isLauncher: true }],
    ['console:create', { ...named, cwd: 'loops:harbour-1a2b3c4d' }],
    ...told,
    ['terminal:create-new', {}]
  ]);
});
