import { NotificationManager } from '@jupyterlab/apputils/lib/notification';
import { expect, it } from 'vitest';

import { SAME_MS, Teller } from '../src/telling';

/** A teller, its clock, and what is in JupyterLab's centre of notices. */
function made() {
  const clock = { now: 0 };
  const manager = new NotificationManager();
  const teller = new Teller(manager, () => clock.now);
  const tell = (loopId: string, message: string) =>
    teller.tell(loopId, message, () =>
      // Its toast closes; it stays in the centre.
      manager.notify(`${loopId}: ${message}`, 'info', { autoClose: 10_000 })
    );
  const shown = () => manager.notifications.map(({ message }) => message);
  const ids = () => manager.notifications.map(({ id }) => id);
  return { clock, manager, tell, shown, ids };
}

it('what a request and an event say at the same time is told once', () => {
  const { clock, tell, shown, ids } = made();
  tell('rain', 'No space');
  const first = ids();
  clock.now += SAME_MS - 1;
  tell('rain', 'No space');
  expect(shown()).toEqual(['rain: No space']);
  expect(ids()).toEqual(first);
});

it('what happens again is told anew, in place of the notice before', () => {
  const { clock, tell, shown, ids } = made();
  tell('rain', 'restarted');
  const first = ids();
  clock.now += SAME_MS;
  tell('rain', 'restarted');
  expect(shown()).toEqual(['rain: restarted']);
  expect(ids()).not.toEqual(first);
});

it('what somebody dismissed is told when it happens again, however soon', () => {
  const { manager, tell, shown } = made();
  tell('rain', 'No space');
  manager.dismiss();
  tell('rain', 'No space');
  expect(shown()).toEqual(['rain: No space']);
});

it('the same of another loop, and something else of this one, are told as well', () => {
  const { tell, shown } = made();
  tell('rain', 'No space');
  tell('snow', 'No space');
  tell('rain', 'No podman');
  expect(shown().sort()).toEqual([
    'rain: No podman',
    'rain: No space',
    'snow: No space'
  ]);
});
