import { expect, it } from 'vitest';

import { closeComms } from '../src/comms';

function kernel(handleComms = true) {
  const registered: string[] = [];
  const registerCommTarget = (name: string) => {
    registered.push(name);
  };
  return { handleComms, registered, registerCommTarget };
}

it('lets nothing be opened until it is let again', () => {
  const one = kernel();
  const open = closeComms(one);
  one.registerCommTarget('jupyter.widget');
  expect(one).toMatchObject({ handleComms: false, registered: [] });
  open();
  one.registerCommTarget('another');
  expect(one).toMatchObject({
    handleComms: true,
    registered: ['jupyter.widget', 'another']
  });
});

it('leaves a connection alone that opens nothing anyway', () => {
  const one = kernel(false);
  closeComms(one)();
  one.registerCommTarget('jupyter.widget');
  expect(one).toMatchObject({
    handleComms: false,
    registered: ['jupyter.widget']
  });
});
