import { describe, expect, it } from 'vitest';

import {
  fieldOf,
  meant,
  movedUp,
  NO_VALUES,
  vaultsOffered,
  wrong
} from '../src/form';

const titled = { ...NO_VALUES, title: 'Rain' };

describe('wrong', () => {
  it('asks for nothing but a title', () => {
    expect(wrong(titled)).toBeUndefined();
    expect(wrong({ ...NO_VALUES, title: '  ' })).toEqual({
      field: 'title',
      why: 'missing'
    });
  });

  it('asks for the repo of a ref', () => {
    expect(wrong({ ...titled, ref: 'main' })).toEqual({
      field: 'ref',
      why: 'without repo'
    });
    expect(wrong({ ...titled, ref: 'main', repo: 'site' })).toBeUndefined();
  });

  it('wants numbers', () => {
    expect(wrong({ ...titled, memory: '4GB' })).toEqual({
      field: 'memory',
      why: 'no number'
    });
    expect(wrong({ ...titled, cpus: ' 1.5 ', shm: ' ' })).toBeUndefined();
  });
});

describe('fieldOf', () => {
  it.each([
    ['title', 'title'],
    ['config.network', 'network'],
    ['config.isolation', 'isolation'],
    ['config.knowledge_rw', 'knowledge'],
    ['config.resources.memory_bytes', 'memory'],
    ['config.resources.devices[0]', 'devices'],
    ['profiles[1]', 'profiles'],
    ['metadata', undefined],
    [null, undefined],
    [undefined, undefined]
  ] as const)('finds %s', (named, field) => {
    expect(fieldOf(named)).toBe(field);
  });
});

describe('movedUp', () => {
  it('changes places with the one before', () => {
    expect(movedUp(['a', 'b', 'c'], 'c')).toEqual(['a', 'c', 'b']);
  });

  it('leaves the first and strangers alone', () => {
    expect(movedUp(['a', 'b'], 'a')).toEqual(['a', 'b']);
    expect(movedUp(['a', 'b'], 'c')).toEqual(['a', 'b']);
  });
});

describe('meant', () => {
  it.each([
    [0, 'close'],
    [1, 'work'],
    [undefined, 'work'],
    [-1, 'press']
  ] as const)('takes %s', (index, what) => {
    expect(meant(index, true)).toBe(what);
  });

  it('closes where nothing accepts', () => {
    expect(meant(undefined, false)).toBe('close');
    expect(meant(0, false)).toBe('close');
  });
});

describe('vaultsOffered', () => {
  const names = (known: string[], chosen?: string) =>
    vaultsOffered(
      known.map(name => ({ name })),
      chosen
    ).map(vault => vault.name);

  it('names each once, the default one first', () => {
    expect(names([])).toEqual(['default']);
    expect(names(['default', 'work'])).toEqual(['default', 'work']);
    expect(names(['a', 'work'], 'work')).toEqual(['default', 'work', 'a']);
    expect(names(['a'], 'gone')).toEqual(['default', 'gone', 'a']);
  });

  it('knows which are locked', () => {
    expect(vaultsOffered([{ name: 'default', locked: true }])).toEqual([
      { name: 'default', locked: true }
    ]);
  });
});
