import { expect, it } from 'vitest';

import { heirOf } from '../src/kept';

it.each([
  ['b', 1, ['a', 'b', 'c'], 'b'],
  ['b', 1, ['a', 'c'], 'c'],
  ['c', 2, ['a', 'b'], 'b'],
  ['a', 0, [], undefined]
])('after %s at %i of %j the focus is at %s', (id, index, ids, heir) => {
  const loops = ids.map(each => ({ id: each }));
  expect(heirOf({ id, index }, loops)).toBe(heir);
});
